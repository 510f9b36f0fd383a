"""A finished run, read back: what it is, the request that made it, and whether the images are still its own."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.canonical import canonical
from common.cli import Invocation
from common.config import as_tree, from_tree, leaves
from common.errors import InputError
from common.files import read_json
from common.identity import run_status

_NAME = re.compile(r"(?P<folder>[A-Z]\w*)/(?P<recipe>[^/]+)-(?P<hash>[0-9a-f]{12})/seed(?P<ticket>\d+)-(?P<task>\d+)")


@dataclass(frozen=True)
class RecordedRun:
    """A finished run.

    Attributes:
        path: its directory, which may have been moved.
        name: FOLDER/RECIPE-HASH/SEEDS, as it was made.
        folder: which folder made it.
        recipe: the recipe's name.
        seeds: of the search and of the task.
        config: the configuration, as JSON values.
        result: the content of its result.json.
    """

    path: Path
    name: str
    folder: str
    recipe: str
    seeds: tuple[int, int]
    config: Mapping[str, Any]
    result: Mapping[str, Any]


def read_run(path: Path) -> RecordedRun:
    """Read a finished run.

    Raises:
        InputError: the directory is no run, the run is not finished, or a file of it is damaged.
    """
    file = path / "run.json"
    if not file.is_file():
        raise InputError(
            f"--evaluate: {path} is a directory without run.json, so it is no run; "
            f"expected a run directory (OUT/FOLDER/RECIPE-HASH/seedT-K), a ticket, or a file of weights"
        )
    record = read_json(file)
    name, config = _NAME.fullmatch(str(record.get("run"))), record.get("config")
    if name is None or not isinstance(config, dict):
        raise InputError(f"--evaluate: {file} is damaged: it does not say which run it records, or its configuration")
    status = run_status(path)
    if status != "done":
        raise InputError(f"--evaluate: {path} is not finished (status {status}); run the same command again to continue it")
    seeds = int(name["ticket"]), int(name["task"])
    return RecordedRun(path, name[0], name["folder"], name["recipe"], seeds, config, read_json(path / "result.json"))


def request_of(run: RecordedRun, invocation: Invocation) -> Invocation:
    """Return the request that made a run, with what the line says about where and how to compute.

    What a line gives that is no part of a run's identity (data.root, train.device, out ...) wins over what was recorded. What is
    given of the rest, seeds and recipe included, must be what the run was made with, in any spelling. Without --out, the root of
    runs is the one that the run lies in.

    Raises:
        InputError: the line contradicts the run, or the record is of another version.
    """
    schema = type(invocation.config)
    try:
        tree = as_tree(from_tree(schema, run.config))
    except InputError as error:
        raise InputError(f"--evaluate: {run.path}: {error}") from error
    fields = leaves(schema)
    tree["out"] = _root(run) or invocation.config.out
    for name, value in invocation.given.items():
        if name == "recipe":
            _require_same(run, name, value, run.recipe)
        elif name in ("seed.ticket", "seed.task"):
            _require_same(run, name, value, run.seeds[name == "seed.task"])
        elif name == "data.root" or not fields[name].metadata.get("identity", True):
            _put(tree, name, value)
        elif not _is_same(schema, tree, name, value):
            _require_same(run, name, value, _get(tree, name))
    return Invocation(run.folder, run.recipe, from_tree(schema, tree), invocation.given)


def check_images(run: RecordedRun, data: Mapping[str, Any]) -> None:
    """Refuse to judge a run on other images than its own.

    Args:
        run: the run.
        data: {"name", "split_hash", "fingerprint"} of the images that are there now.

    Raises:
        InputError: the images, or how they are split, differ from those of the run's result.
    """
    made = run.result.get("data")
    for key in ("fingerprint", "split_hash", "skipped"):
        was = made.get(key) if isinstance(made, dict) else None
        if was != data.get(key):
            raise InputError(
                f"--evaluate: {run.path} was made from other images of {data['name']} (their {key} is {was}, here "
                f"{data.get(key)}); name the folder of its own with --data.root"
            )


def _root(run: RecordedRun) -> str | None:
    """Return the root of runs that a run lies in; None if its directory was renamed."""
    place = run.path.resolve()
    return str(place.parents[2]) if "/".join(place.parts[-3:]) == run.name else None


def _is_same(schema: type, tree: Mapping[str, Any], name: str, value: Any) -> bool:
    """Say whether a run with another value of a field is the same run: a subset or a duration has several spellings."""
    other = copy.deepcopy(dict(tree))
    _put(other, name, value)
    try:
        return canonical(from_tree(schema, other)) == canonical(from_tree(schema, tree))
    except InputError:
        return False


def _require_same(run: RecordedRun, name: str, given: Any, made: Any) -> None:
    if given != made:
        raise InputError(
            f"--{name}: got {given!r}, but {run.path} was made with {made!r}; leave it out, a run is judged as it was made"
        )


def _get(tree: Mapping[str, Any], name: str) -> Any:
    for part in name.split("."):
        tree = tree[part]
    return tree


def _put(tree: dict[str, Any], name: str, value: Any) -> None:
    *groups, last = name.split(".")
    for group in groups:
        tree = tree[group]
    tree[last] = list(value) if isinstance(value, tuple) else value
