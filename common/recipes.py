"""Recipes: YAML files that fill a configuration, composed with `extends`. Imports no torch.

```yaml
about: |
  CIFAR-10, ResNet-18: first line for --list; more lines for the reader. Not configuration.
extends: digits            # a recipe beside this file, a path relative to it, or a list of them; what comes later wins
data.root: ${DATA:-/data}  # the environment; dotted keys and nested mappings mean the same
prune:
  rate: 0.3
```
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from common.errors import InputError
from common.values import expand, groups_of, members, shown, suggestion, typed, types_of

SUFFIX = ".yaml"
_OWN_KEYS = ("about", "extends")


def recipe_names(folder: Path) -> list[str]:
    """Return the names of the recipes in a folder, sorted; none where the folder is absent."""
    return sorted(path.stem for path in folder.glob(f"*{SUFFIX}"))


def find_recipe(folder: Path, name: str) -> Path:
    """Return the file of a recipe.

    Raises:
        InputError: there is no such recipe; lists the known ones.
    """
    known = recipe_names(folder)
    if name in known:
        return folder / f"{name}{SUFFIX}"
    path = "; a file of your own is given with --config" if "/" in name or name.endswith((".yaml", ".yml")) else ""
    listed = ", ".join(known) or f"none (no {SUFFIX} files in {folder})"
    raise InputError(f"unknown recipe {shown(name)}{suggestion(name, known)}{path}; known recipes: {listed}")


def recipe_about(path: Path | str) -> str:
    """Return the text under `about`, without surrounding white space; empty where there is none.

    Raises:
        InputError: the file is absent, no YAML, or its `about` is not text.
    """
    about = read_yaml(path).get("about", "")
    if not isinstance(about, str):
        raise InputError(f"{path}: about: got {shown(about)}, expected text")
    return about.strip()


def load_recipe(path: Path | str, schema: type) -> dict[str, Any]:
    """Read a recipe and what it extends.

    Args:
        path: YAML file.
        schema: dataclass of groups; the file need not set every field.

    Returns:
        Values by dotted name, read as the types of the schema.

    Raises:
        InputError: a file is absent or no YAML, a key is unknown or written twice, a value is not of its type, an
            environment variable is unset, or files extend each other in a circle; names file and key.
    """
    return _load(Path(path), schema, ())


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; the result is cached while the file does not change and must not be modified.

    Raises:
        InputError: the file is absent, not UTF-8, no YAML, not a mapping, or writes a key twice.
    """
    path = Path(path)
    try:
        facts = path.stat()
        return _parsed(path, facts.st_mtime_ns, facts.st_size)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; expected a YAML file") from error


class _Loader(yaml.SafeLoader):
    """YAML without objects, without keys that are written twice, and without 1:30 as 90, 010 as 8 or dates."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is written twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _plain_resolvers() -> dict[Any, list[tuple[str, re.Pattern[str]]]]:
    removed = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp")}
    standard = yaml.SafeLoader.yaml_implicit_resolvers.items()
    return {first: [pair for pair in pairs if pair[0] not in removed] for first, pairs in standard}


_Loader.yaml_implicit_resolvers = _plain_resolvers()
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^([-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$"),
    list("-+0123456789."),
)


@functools.lru_cache(maxsize=256)
def _parsed(path: Path, _mtime_ns: int, _size: int) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not a valid YAML file: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a valid YAML file: {' '.join(str(error).split())}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InputError(f"{path}: got {shown(tree)}, expected a mapping such as prune: {{rate: 0.3}}")
    return tree


def _load(path: Path, schema: type, above: tuple[Path, ...]) -> dict[str, Any]:
    here = Path(os.path.realpath(path))
    if here in above:
        circle = " -> ".join(file.name for file in (*above[above.index(here) :], here))
        raise InputError(f"{path}: recipes extend each other in a circle: {circle}; take one `extends` out")
    tree = read_yaml(path)
    values: dict[str, Any] = {}
    for parent in _parents(path, tree.get("extends")):
        values.update(_load(parent, schema, (*above, here)))
    own = _flat({key: value for key, value in tree.items() if key not in _OWN_KEYS}, schema, path)
    values.update(typed(schema, own, lambda name: f"{path}: {name}"))
    return values


def _parents(path: Path, extends: Any) -> Iterator[Path]:
    names = extends if isinstance(extends, list) else [] if extends is None else [extends]
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"{path}: extends: got {shown(name)}, expected the name or the path of a recipe, or a list of them")
        name = expand(name, f"{path}: extends")
        if "\0" in name:
            raise InputError(f"{path}: extends: got {shown(name)}, expected a path without NUL")
        if "/" in name or name.endswith((SUFFIX, ".yml")):
            yield path.parent / name
        else:
            try:
                yield find_recipe(path.parent, name)
            except InputError as error:
                raise InputError(f"{path}: extends: {error}") from error


def _flat(tree: dict[Any, Any], schema: type, path: Path, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings and dotted keys as one flat mapping; environment variables are expanded on the way."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        found: dict[str, Any]
        if isinstance(key, str) and name in types_of(schema):
            found = {name: _expanded(value, f"{path}: {name}")}
        elif isinstance(key, str) and name in groups_of(schema):
            if not isinstance(value, dict | None):
                keys = ", ".join(members(schema, name))
                raise InputError(f"{path}: {name}: got {shown(value)}, expected a group of keys: {keys}")
            found = _flat(value or {}, schema, path, f"{name}.")
        else:
            raise _unknown(name, schema, path)
        twice = next((one for one in found if one in values), None)
        if twice is not None:
            raise InputError(f"{path}: {twice} is written twice, dotted and nested; keep one")
        values.update(found)
    return values


def _unknown(name: str, schema: type, path: Path) -> InputError:
    group = name.rpartition(".")[0]
    while group and group not in groups_of(schema):
        group = group.rpartition(".")[0]
    near = suggestion(name, types_of(schema)) or suggestion(name, groups_of(schema))
    listed = ", ".join(members(schema, group) if group else (*_OWN_KEYS, *members(schema, "")))
    return InputError(f"{path}: unknown key {shown(name)}{near}; known keys{f' of {group}' if group else ''}: {listed}")


def _expanded(value: Any, source: str) -> Any:
    if isinstance(value, str):
        return expand(value, source)
    if isinstance(value, list):
        return [expand(item, source) if isinstance(item, str) else item for item in value]
    return value
