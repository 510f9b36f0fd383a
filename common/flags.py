"""The words of a folder's command line: every word is checked by name, then read by jsonargparse. Imports no torch."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.values import add_options, expand, expected, groups_of, members, new_parser, shown, suggestion, typed, types_of

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

DEFAULT_RECIPE = "digits"
_SWITCHES = {
    "print_config": "print the resolved configuration as YAML, which --config takes, and stop",
    "list": "list recipes, data sets and backbones, and stop",
    "dry_run": "print run directory, status and configuration as a line of JSON, and stop",
    "help": "show this text and stop",
}
_VALUED = {
    "recipe": ("NAME", f"recipe of this folder (default: {DEFAULT_RECIPE}; see --list)"),
    "config": ("FILE", "YAML file over the recipe; may be given several times, later files win"),
    "evaluate": ("WHAT", "a run directory, ticket or file of weights: write its result, train nothing"),
    "jobs": ("FILE", "do many runs in this process: one JSON list of words a line; - reads standard input"),
}
_ONE_OF = ("print_config", "list", "dry_run", "evaluate")


@dataclass(frozen=True)
class Line:
    """A command line that was read.

    Attributes:
        words: the same line, one word per option, as it was before environment variables were expanded.
        flags: the dotted flags, read as their types.
        recipe: name of the recipe.
        configs: files of --config, in order.
        evaluate: what --evaluate was given, or None.
        jobs: what --jobs was given, or None.
        switches: which of --print_config, --list, --dry_run and --help were given.
    """

    words: tuple[str, ...]
    flags: Mapping[str, Any]
    recipe: str
    configs: tuple[str, ...]
    evaluate: str | None
    jobs: str | None
    switches: frozenset[str]


def read_line(schema: type, words: Sequence[str]) -> Line:
    """Read a command line.

    Raises:
        InputError: a word is unknown, abbreviated or stray, or a value is missing or not of its type.
    """
    checked = list(_checked(schema, words))
    given = [(option[2:], expand(value, option)) for option, value in checked if value is not None]
    own = {name: value for name, value in given if name in _VALUED}
    switches = frozenset(option[2:] for option, value in checked if value is None)
    modes = [name for name in _ONE_OF if name in switches or name in own]
    if len(modes) > 1:
        raise InputError(f"--{modes[0]} and --{modes[1]} cannot be combined; give one of them")
    return Line(
        words=tuple(name if value is None else f"{name}={value}" for name, value in checked),
        flags=_flags(schema, [(name, value) for name, value in given if name not in _VALUED]),
        recipe=own.get("recipe", DEFAULT_RECIPE),
        configs=tuple(value for name, value in given if name == "config"),
        evaluate=own.get("evaluate"),
        jobs=own.get("jobs"),
        switches=switches,
    )


def wants_help(words: Iterable[str]) -> bool:
    """Say whether help is asked for anywhere on the line."""
    return any(word in ("--help", "-h") for word in words)


def help_text(schema: type, prog: str, about: str) -> str:
    """Return the text of --help: the common options, then one heading per group of the schema."""
    usage = f"{prog} [--recipe NAME] [--config FILE ...] [--GROUP.OPTION VALUE ...]"
    notes = "Precedence, whatever the order: defaults, recipe, each --config, flags. Exit codes: 0 done, 2 bad input, 1 failure."
    parser = new_parser(prog=prog, usage=usage, description=about, epilog=notes)
    _add_own_options(parser)
    add_options(parser, schema)
    return parser.format_help().rstrip()


def _add_own_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("what to do")
    for name, (metavar, text) in _VALUED.items():
        group.add_argument(f"--{name}", metavar=metavar, default=SUPPRESS, help=text)
    for name, text in _SWITCHES.items():
        group.add_argument(f"--{name}", action="store_true", default=SUPPRESS, help=text)


def _checked(schema: type, words: Sequence[str]) -> Iterable[tuple[str, str | None]]:
    """Yield (option, value) of every word, the value None for a switch; what is unknown or incomplete is an error."""
    rest = list(words)
    for word in rest:
        if "\0" in word:
            raise InputError(f"got the word {shown(word)}, expected text without NUL")
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        name = option[2:]
        if not option.startswith("-") or _is_number(option):
            raise InputError(f"stray word {shown(option)}; every option is written --name value (see --help)")
        if option.startswith("--") and name in _SWITCHES:
            if equals:
                raise InputError(f"{option} takes no value, got {shown(value)}; write {option}")
            yield option, None
        elif option.startswith("--") and (name in _VALUED or name in types_of(schema)):
            if not equals:
                value = _next_value(schema, option, rest)
            yield option, value
        else:
            raise _unknown(schema, option)


def _next_value(schema: type, option: str, rest: list[str]) -> str:
    what = expected(types_of(schema)[option[2:]]) if option[2:] in types_of(schema) else _VALUED[option[2:]][0]
    if not rest:
        raise InputError(f"{option} needs a value: {what}")
    if rest[0].startswith("-") and rest[0] != "-" and not _is_number(rest[0]):
        raise InputError(
            f"{option} needs a value: {what}; got {shown(rest[0])} (a value that begins with - is written {option}=VALUE)"
        )
    return rest.pop(0)


def _flags(schema: type, given: list[tuple[str, str]]) -> dict[str, Any]:
    """Read the dotted flags; of a repeated one the last wins, and the others must be values too."""
    read: dict[str, Any] = {}
    while given:
        once = dict(given)
        read = {**typed(schema, once, lambda name: f"--{name}"), **read}
        given = [pair for place, pair in enumerate(given) if pair[0] in (name for name, _ in given[place + 1 :])]
    return read


def _unknown(schema: type, option: str) -> InputError:
    name = option.lstrip("-")
    if name in groups_of(schema):
        flags = ", ".join(f"--{name}.{member}" for member in members(schema, name))
        return InputError(f"{option} is a group; give its options one by one: {flags}")
    denied = name[3:] if name.startswith(("no-", "no_")) else ""
    if types_of(schema).get(denied) is bool:
        return InputError(f"unknown option {shown(option)}; write --{denied} false")
    known = [*types_of(schema), *_VALUED, *_SWITCHES]
    near = suggestion(name, known, "--") if name else ""
    group = name.rpartition(".")[0]
    if group in groups_of(schema):
        return InputError(f"unknown option {shown(option)}{near}; options of {group}: {', '.join(members(schema, group))}")
    return InputError(f"unknown option {shown(option)}{near}; options: {', '.join((*_VALUED, *_SWITCHES, *members(schema, '')))}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
