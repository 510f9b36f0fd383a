"""Values of configuration fields: the type of each, and reading flags and YAML as that type. Imports no torch."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import os
import re
from argparse import ArgumentError
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from common.config import leaves
from common.errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_VARIABLE_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_FAULTY_KEY = re.compile(r'Parser key "([^"]+)"')
_LARGEST = 2**63
_SHOWN = 80


@functools.cache
def types_of(schema: type) -> dict[str, Any]:
    """Return the type of every leaf of a schema by dotted name, in order of declaration."""
    found: dict[str, Any] = {}
    hints = get_type_hints(schema)
    for item in dataclasses.fields(schema):
        group = item.default_factory
        if isinstance(group, type) and dataclasses.is_dataclass(group):
            found.update({f"{item.name}.{name}": kind for name, kind in types_of(group).items()})
        else:
            found[item.name] = hints[item.name]
    return found


@functools.cache
def groups_of(schema: type) -> frozenset[str]:
    """Return the dotted names of a schema's groups."""
    names = types_of(schema)
    return frozenset(name[:place] for name in names for place, letter in enumerate(name) if letter == ".")


def members(schema: type, group: str) -> list[str]:
    """Return what may follow `group.` (or the top-level names for an empty group), in order of declaration."""
    prefix = f"{group}." if group else ""
    return list(dict.fromkeys(name[len(prefix) :].split(".")[0] for name in types_of(schema) if name.startswith(prefix)))


def expected(kind: Any) -> str:
    """Say in words what a type takes: `a number, or null`."""
    parts = [part for part in _parts(kind) if part is not NoneType]
    return " or ".join(_words(part) for part in parts) + (", or null" if NoneType in _parts(kind) else "")


def shown(value: Any) -> str:
    """Return a value as an error message quotes it: its repr, cut after 80 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; a list in itself
        return f"a very large {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def suggestion(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return ` (did you mean a?)` for the nearest known names, or nothing where none is near."""
    names = list(known)
    near = [one for one in names if one.startswith(name)] or [one for one in names if one.rpartition(".")[2] == name]
    near = near[:3] or difflib.get_close_matches(name.replace("-", "_"), names, n=1)
    return f" (did you mean {' or '.join(prefix + one for one in near)}?)" if near else ""


def expand(text: str, source: str) -> str:
    """Replace ${VAR} and ${VAR:-default} by the environment's value; $${ stands for a plain ${.

    Raises:
        InputError: a variable is unset and has no default, or ${ is followed by no name; names `source`.
    """

    def value(match: re.Match[str]) -> str:
        if match.group() == "$${":
            return "${"
        parts = _VARIABLE_NAME.fullmatch(match[1])
        if parts is None or not match.group().endswith("}"):
            raise InputError(
                f"{source}: got {shown(match.group())}, expected ${{NAME}} or ${{NAME:-default}}; a plain ${{ is $${{"
            )
        name, default = parts.groups()
        found = os.environ.get(name)
        if default is not None:
            return found or default
        if found is None:
            raise InputError(f"{source}: the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        return found

    return _VARIABLE.sub(value, text)


def escape(text: str) -> str:
    """Return the text that `expand` turns into `text`."""
    return text.replace("${", "$${")


def acceptable(value: Any, kind: Any) -> bool:
    """Say whether jsonargparse may see a value: it would take null anywhere, and texts such as 1:30, 010 or 1_0 for numbers."""
    parts = _parts(kind)
    if value is None:
        return NoneType in parts
    if isinstance(value, str):
        if "\0" in value or _has_surrogate(value):
            return False
        if int in parts or float in parts:
            pattern = _NUMBER if float in parts else _INTEGER
            return bool(pattern.fullmatch(value) and len(value) < 40) or (value == "null" and NoneType in parts)
    if isinstance(value, int):
        return abs(value) < _LARGEST
    if isinstance(value, (list, tuple)):
        items = next((get_args(part) for part in parts if get_origin(part) is tuple), ())
        return bool(items) and all(acceptable(item, items[0]) for item in value)
    return True


def finite(value: Any) -> bool:
    """Say whether a value holds no NaN and no infinity."""
    if isinstance(value, tuple):
        return all(finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def typed(schema: type, values: Mapping[str, Any], label: Callable[[str], str]) -> dict[str, Any]:
    """Read values as the types of a schema, with jsonargparse.

    Args:
        schema: dataclass of groups.
        values: texts of flags, or values of a YAML file, by dotted name; all names known.
        label: how an error calls a name: a flag, or a file and a key.

    Raises:
        InputError: a value is not of its field's type.
    """
    kinds = types_of(schema)
    for name, value in values.items():
        if not acceptable(value, kinds[name]):
            raise _mismatch(label(name), value, kinds[name])
    try:
        read = dict(_parser(schema).parse_object(dict(values), defaults=False).items())
    except (ArgumentError, TypeError, ValueError, RecursionError) as error:
        match = _FAULTY_KEY.search(str(error))
        if match is None or match[1] not in values:
            raise InputError(f"{', '.join(map(label, values))}: {' '.join(str(error).split())}") from error
        raise _mismatch(label(match[1]), values[match[1]], kinds[match[1]]) from error
    for name, value in read.items():
        if not finite(value):
            raise _mismatch(label(name), values[name], kinds[name])
    return read | {name: value for name, value in values.items() if _is_plain_text(value, kinds[name])}


def _is_plain_text(value: Any, kind: Any) -> bool:
    """Say whether a value is a text that stands for itself: jsonargparse would read # or ~ as null, which only null is."""
    return isinstance(value, str) and set(_parts(kind)) <= {str, NoneType} and not (value == "null" and NoneType in _parts(kind))


def add_options(parser: ArgumentParser, schema: type) -> None:
    """Give a parser one option per leaf of a schema, under one heading per group."""
    headings: dict[str, Any] = {}
    for name, item in leaves(schema).items():
        group = name.rpartition(".")[0]
        if group not in headings:
            headings[group] = parser.add_argument_group(_heading(schema, group))
        headings[group].add_argument(
            f"--{name}",
            type=types_of(schema)[name],
            default=_default(item),
            help=item.metadata.get("help", "").replace("%", "%%"),
        )


def new_parser(**settings: Any) -> ArgumentParser:
    """Return jsonargparse's parser without what it would take from the environment, from abbreviations, or to exit."""
    from jsonargparse import ArgumentParser

    return ArgumentParser(exit_on_error=False, allow_abbrev=False, default_env=False, add_help=False, **settings)


@functools.cache
def _parser(schema: type) -> ArgumentParser:
    parser = new_parser()
    add_options(parser, schema)
    return parser


def _mismatch(label: str, value: Any, kind: Any) -> InputError:
    quotes = " (in quotes)" if str in _parts(kind) and isinstance(value, (bool, int, float)) else ""
    return InputError(f"{label}: got {shown(value)}, expected {expected(kind)}{quotes}")


def _heading(schema: type, group: str) -> str:
    kind = schema
    about = "the run"
    for part in filter(None, group.split(".")):
        item = next(item for item in dataclasses.fields(kind) if item.name == part)
        kind, about = item.default_factory, item.metadata.get("help", "")  # type: ignore[assignment]
    return f"{group} ({about})" if group else about


def _default(item: dataclasses.Field[Any]) -> Any:
    return item.default_factory() if callable(item.default_factory) else item.default


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return _list_words(get_args(kind))
    return {str: "text", int: "an integer", float: "a number", bool: "true or false"}.get(kind, str(kind))


def _list_words(items: tuple[Any, ...]) -> str:
    plural = {str: "texts", int: "integers", float: "numbers"}.get(items[0], "values")
    example = {str: '["a", "b"]', int: "[1, 2]", float: "[0.1, 0.2]"}.get(items[0], "[...]")
    count = "" if Ellipsis in items else f"{len(items)} "
    return f"a list of {count}{plural} such as {example}"


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)
