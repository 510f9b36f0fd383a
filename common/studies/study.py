"""The study file: a grid of searches, transfers and floors, as frozen dataclasses.

```yaml
title: Tickets in pre-training on digits
question: Does a ticket keep what the representation is worth, and does it matter how it was pre-trained?
seeds: [0, 1, 2]
margin: 0.02
searches:
  simclr:     {folder: SimCLR, recipe: digits, rounds: 8}
  supervised: {folder: Supervised, recipe: digits, rounds: 8}
transfers:
  linear:
    folder: Downstream
    recipe: digits
    from: [simclr, supervised]
    arms: {ticket: [4, 8], dense: [0], random: [8]}
    more: {simclr: {ticket: [2, 6], one_shot: [8]}}
floors:    {raw_pixels: {folder: Downstream, recipe: digits_pixels}}
expected:  {simclr: {seconds: 45, megabytes: 1.6}, linear: {seconds: 0.6}}
```

A transfer `from` one search keeps its name; `from` a list it becomes one transfer per search, `linear.simclr` and
`linear.supervised`, with the same arms, which the report shows on the same axes and compares seed by seed. `more`
holds arms of one search beside these. The arm `mask_only` takes the weights that tickets of another search start from, named
by `weights: simclr`: masks of MoCo on the weights of SimCLR, seed by seed.

A search whose folder is a task's (`{folder: Downstream, recipe: digits_imp, rounds: 8}`) finds tickets on the task itself:
its rounds are a curve of the task, which the report shows, and its tickets can be transferred like others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common.errors import InputError
from common.studies.words import CONTROLS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_FILLED = ("recipe", "out", "seed.ticket", "seed.task", "ticket.file", "ticket.control", "prune.rounds")
"""Flags that the study itself writes; they cannot be set."""


@dataclass(frozen=True)
class Entry:
    """What every run of an entry shares: folder, recipe and overrides as (dotted key, text) pairs."""

    name: str
    folder: str
    recipe: str
    overrides: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Search(Entry):
    """Searches for tickets, one per seed, rounds 0 to `rounds`."""

    rounds: int


@dataclass(frozen=True)
class Transfer(Entry):
    """Tasks that start from the tickets of a search: for every control, the rounds it is run at.

    `written` is the name in the study file, which the transfers of one list of searches share; `weights` is the search whose
    weights the arm mask_only takes.
    """

    written: str
    source: str
    arms: tuple[tuple[str, tuple[int, ...]], ...]
    weights: str | None = None


@dataclass(frozen=True)
class Floor(Entry):
    """A task without a ticket, one per seed: what is had without any pre-training."""


@dataclass(frozen=True)
class Expected:
    """What the study says that a run of an entry needs: seconds of one core, and megabytes (10^6 bytes) on disk; None: unsaid."""

    seconds: float | None = None
    megabytes: float | None = None


@dataclass(frozen=True)
class Study:
    """A whole study; `margin` is the non-inferiority margin, a fraction of the metric; `expected` is what runs will need."""

    name: str
    file: Path
    title: str
    question: str
    seeds: tuple[int, ...]
    margin: float
    searches: tuple[Search, ...]
    transfers: tuple[Transfer, ...]
    floors: tuple[Floor, ...]
    expected: Mapping[str, Expected]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Searches, transfers and floors, in this order."""
        return (*self.searches, *self.transfers, *self.floors)

    @property
    def tasks(self) -> dict[str, tuple[Transfer, ...]]:
        """For every transfer of the file, the transfers that it stands for: one per search."""
        names = dict.fromkeys(transfer.written for transfer in self.transfers)
        return {name: tuple(transfer for transfer in self.transfers if transfer.written == name) for name in names}


def load_study(path: Path | str) -> Study:
    """Read and check a study file.

    Raises:
        InputError: the file is absent, no YAML, or holds an unknown key, name, control, round or value.
    """
    path = Path(path)
    tree = _table(_parse(path), str(path))
    _keys(tree, str(path), ("title", "question", "seeds", "margin"), ("searches", "transfers", "floors", "expected"))
    searches = tuple(_search(name, value, f"{path}: searches.{name}") for name, value in _named(tree, "searches", path))
    rounds = {search.name: search.rounds for search in searches}
    transfers = tuple(
        transfer
        for name, value in _named(tree, "transfers", path)
        for transfer in _transfers(name, value, f"{path}: transfers.{name}", rounds)
    )
    floors = tuple(_floor(name, value, f"{path}: floors.{name}") for name, value in _named(tree, "floors", path))
    names = [name for kind in ("searches", "transfers", "floors") for name, _ in _named(tree, kind, path)]
    twice = sorted({name for name in names if names.count(name) > 1})
    _require(not twice, f"{path}: the name {', '.join(twice)} is used twice; every search, transfer and floor needs its own")
    _require(bool(names), f"{path}: nothing to run; give searches, transfers or floors")
    return Study(
        path.stem,
        path,
        _text(tree["title"], f"{path}: title"),
        _text(tree["question"], f"{path}: question"),
        _integers(tree["seeds"], f"{path}: seeds"),
        _fraction(tree["margin"], f"{path}: margin"),
        searches,
        transfers,
        floors,
        _expected(tree, names, transfers, path),
    )


class _Loader(yaml.SafeLoader):
    """YAML without objects, and without keys that are written twice (the language would take the last one silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        for key in keys:
            if isinstance(key, str) and keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(problem=f"the key {key!r} is written twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def _parse(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise InputError(f"cannot read the study {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)


def _table(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    _require(
        isinstance(value, dict) and all(isinstance(key, str) for key in value),
        f"{where}: expected names and values, got {value!r:.60}",
    )
    return dict(value)


def _keys(table: Mapping[str, Any], where: str, needed: Iterable[str], optional: Iterable[str]) -> None:
    known = (*needed, *optional)
    for key in table:
        _require(key in known, f"{where}: unknown key {key!r}; known keys are {', '.join(known)}")
    for key in needed:
        _require(table.get(key) is not None, f"{where}: the key {key!r} is missing")


def _named(tree: Mapping[str, Any], kind: str, path: Path) -> list[tuple[str, Any]]:
    table = _table(tree.get(kind), f"{path}: {kind}")
    for name in table:
        _require(bool(_NAME.fullmatch(name)), f"{path}: {kind}: the name {name!r} must be letters, digits, _ and -")
    return list(table.items())


def _entry(name: str, table: Mapping[str, Any], where: str) -> dict[str, Any]:
    folder = _text(table["folder"], f"{where}.folder")
    _require(bool(_MODULE.fullmatch(folder)), f"{where}.folder: got {folder!r}, expected a folder such as SimCLR or Downstream")
    overrides = _overrides(_table(table.get("set"), f"{where}.set"), f"{where}.set")
    return {"name": name, "folder": folder, "recipe": _text(table["recipe"], f"{where}.recipe"), "overrides": overrides}


def _search(name: str, value: Any, where: str) -> Search:
    table = _table(value, where)
    _keys(table, where, ("folder", "recipe", "rounds"), ("set",))
    rounds = table["rounds"]
    _require(type(rounds) is int and rounds >= 0, f"{where}.rounds: got {rounds!r}, expected an integer >= 0")
    return Search(**_entry(name, table, where), rounds=rounds)


def _transfers(name: str, value: Any, where: str, rounds: Mapping[str, int]) -> list[Transfer]:
    """Return one transfer per search that it is from, named after it where a list was given."""
    table = _table(value, where)
    _keys(table, where, ("folder", "recipe", "from", "arms"), ("more", "set", "weights"))
    sources = table["from"] if isinstance(table["from"], list) else [table["from"]]
    for source in sources:
        known = f"known searches are {', '.join(rounds) or 'none'}"
        _require(isinstance(source, str) and source in rounds, f"{where}.from: unknown search {source!r}; {known}")
    _require(bool(sources) and len(set(sources)) == len(sources), f"{where}.from: got {sources}, expected different searches")
    shared, more = _arms(table["arms"], f"{where}.arms"), _table(table.get("more"), f"{where}.more")
    _require(bool(shared), f"{where}.arms: no arms; give at least ticket and dense")
    weights = _weights(table, rounds, [shared, *(_arms(arms, f"{where}.more") for arms in more.values())], where)
    for source in more:
        _require(source in sources, f"{where}.more: {source!r} is not in from; these are {', '.join(sources)}")
    transfers = []
    for source in sources:
        arms = _joined(shared, _arms(more.get(source), f"{where}.more.{source}"), f"{where}.more.{source}")
        _within(arms, source, rounds[source], f"{where}.arms")
        own = {**_entry(name, table, where), "name": f"{name}.{source}" if isinstance(table["from"], list) else name}
        transfers.append(Transfer(**own, written=name, source=source, arms=tuple(arms.items()), weights=weights))
    return transfers


def _weights(table: Mapping[str, Any], rounds: Mapping[str, int], arms: Iterable[Mapping[str, Any]], where: str) -> str | None:
    """Return the search whose weights the arm mask_only takes; it needs one, and nothing else takes any."""
    weights, used = table.get("weights"), any("mask_only" in some for some in arms)
    if weights is None:
        given = "start.weights" in _table(table.get("set"), f"{where}.set")
        _require(given or not used, f"{where}: the arm mask_only needs weights; name a search with the key weights")
        return None
    known = f"known searches are {', '.join(rounds) or 'none'}"
    _require(isinstance(weights, str) and weights in rounds, f"{where}.weights: unknown search {weights!r}; {known}")
    _require(used, f"{where}.weights: {weights} is not used; only the arm mask_only takes weights of another search")
    return str(weights)


def _arms(value: Any, where: str) -> dict[str, tuple[int, ...]]:
    arms = {}
    for control, at in _table(value, where).items():
        _require(control in CONTROLS, f"{where}: unknown control {control!r}; known controls are {', '.join(CONTROLS)}")
        arms[control] = _integers(at, f"{where}.{control}")
    return arms


def _joined(shared: Mapping[str, tuple[int, ...]], more: Mapping[str, tuple[int, ...]], where: str) -> dict[str, tuple[int, ...]]:
    """Add a search's own rounds to those of every search."""
    joined = dict(shared)
    for control, at in more.items():
        twice = sorted(set(at) & set(joined.get(control, ())))
        _require(not twice, f"{where}.{control}: round {', '.join(map(str, twice))} is in arms already")
        joined[control] = tuple(sorted((*joined.get(control, ()), *at)))
    return joined


def _within(arms: Mapping[str, tuple[int, ...]], source: str, limit: int, where: str) -> None:
    for control, at in arms.items():
        _require(max(at) <= limit, f"{where}.{control}: round {max(at)}, but the search {source} ends with round {limit}")


def _floor(name: str, value: Any, where: str) -> Floor:
    table = _table(value, where)
    _keys(table, where, ("folder", "recipe"), ("set",))
    return Floor(**_entry(name, table, where))


def _overrides(table: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    for key, value in table.items():
        _require(key not in _FILLED, f"{where}: {key} is filled in by the study itself; leave it out")
        _require(not isinstance(value, dict), f"{where}: {key} holds a table; write dotted keys, such as train.epochs: 4")
    return tuple((key, value if isinstance(value, str) else json.dumps(value, default=str)) for key, value in table.items())


def _text(value: Any, where: str) -> str:
    _require(isinstance(value, str) and bool(value.strip()), f"{where}: got {value!r}, expected text")
    return " ".join(value.split())


def _integers(value: Any, where: str) -> tuple[int, ...]:
    whole = isinstance(value, list) and bool(value) and all(type(item) is int and item >= 0 for item in value)
    _require(whole and len(set(value)) == len(value), f"{where}: got {value!r}, expected a list of different integers >= 0")
    return tuple(value)


def _fraction(value: Any, where: str) -> float:
    _require(type(value) is float and 0 < value < 1, f"{where}: got {value!r}, expected a fraction in (0, 1)")
    return float(value)


def _expected(tree: Mapping[str, Any], names: list[str], transfers: Iterable[Transfer], path: Path) -> dict[str, Expected]:
    """Return what is declared of each entry: a name that stands for several transfers is each one's."""
    table = _table(tree.get("expected"), f"{path}: expected")
    told = {name: _needs(name, value, names, path) for name, value in table.items()}
    return {**told, **{transfer.name: told[transfer.written] for transfer in transfers if transfer.written in told}}


def _needs(name: str, value: Any, names: list[str], path: Path) -> Expected:
    where, kinds = f"{path}: expected.{name}", ("seconds", "megabytes")
    _require(name in names, f"{path}: expected: unknown name {name!r}; known names are {', '.join(names)}")
    table = _table(value, where)
    _keys(table, where, (), kinds)
    _require(bool(table), f"{where}: nothing is declared; give {' or '.join(kinds)}")
    for kind, number in table.items():
        valid = type(number) in (int, float) and math.isfinite(number) and number > 0
        _require(valid, f"{where}.{kind}: got {number!r}, expected a number > 0")
    return Expected(**{kind: float(number) for kind, number in table.items()})
