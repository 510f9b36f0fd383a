"""What the searches themselves show: their metrics round by round, and where in the network the kept weights lie."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.errors import InputError
from common.studies import statistics
from common.studies.plan import Plan
from common.studies.results import Note, Results, Row
from common.tickets.header import read_header


@dataclass(frozen=True)
class RoundValue:
    """One metric of one round over the seeds."""

    round: int
    density: float
    spread: statistics.Spread


@dataclass(frozen=True)
class Alarm:
    """A flag that rounds of a search carry, with the seeds concerned."""

    round: int
    flag: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class SearchFinding:
    """One search: for every metric ("<split>/<name>") its rounds, for every round the density of every tensor (mean of seeds)."""

    name: str
    metrics: Mapping[str, Sequence[RoundValue]]
    layers: Mapping[int, Mapping[str, float]]
    densities: Mapping[int, float]
    alarms: Sequence[Alarm] = ()


def search_findings(plan: Plan, results: Results) -> tuple[list[SearchFinding], list[Note]]:
    """Analyse every search; the notes name tickets that cannot be read."""
    found, notes = [], []
    for search in plan.study.searches:
        rows = results.of(search.name)
        layers, damaged = _layers(rows)
        notes += damaged
        rounds = sorted({row.round for row in rows if row.round is not None})
        densities = {round_: _mean([row.density for row in rows if row.round == round_]) for round_ in rounds}
        found.append(SearchFinding(search.name, _metrics(rows, densities), layers, densities, _alarms(rows)))
    return found, notes


def _alarms(rows: Sequence[Row]) -> tuple[Alarm, ...]:
    seeds: dict[tuple[int, str], list[int]] = {}
    for row in rows:
        for flag in row.result["flags"]:
            seeds.setdefault((row.round or 0, str(flag)), []).append(row.job.seed)
    return tuple(Alarm(*key, tuple(sorted(found))) for key, found in sorted(seeds.items()))


def _metrics(rows: Sequence[Row], densities: Mapping[int, float]) -> dict[str, list[RoundValue]]:
    names = sorted({str(name) for row in rows for name in row.result["metrics"]})
    metrics: dict[str, list[RoundValue]] = {name: [] for name in names}
    for name, values in metrics.items():
        for round_, density in densities.items():
            told = [row.result["metrics"].get(name) for row in rows if row.round == round_]
            numbers = [float(value) for value in told if isinstance(value, int | float) and math.isfinite(value)]
            if numbers:
                values.append(RoundValue(round_, density, statistics.spread(numbers)))
    return {name: values for name, values in metrics.items() if values}


def _layers(rows: Sequence[Row]) -> tuple[dict[int, dict[str, float]], list[Note]]:
    seen: dict[int, dict[str, list[float]]] = {}
    notes = []
    for row in rows:
        if not row.round:
            continue  # round 0 keeps everything
        try:
            header = read_header(row.file.with_name("ticket.safetensors"))
        except InputError as error:
            notes.append(Note("damaged", f"{row.job.id}/round_{row.round:02d}", str(error)))
            continue
        for name, shape in header["shapes"].items():
            seen.setdefault(row.round, {}).setdefault(name, []).append(header["kept"][name] / math.prod(shape))
    layers = {round_: {name: _mean(tensors[name]) for name in sorted(tensors, key=_natural)} for round_, tensors in seen.items()}
    return layers, notes


def _natural(name: str) -> list[tuple[int, str]]:
    """Order layer10 behind layer9, as the network has them."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
