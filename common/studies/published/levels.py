"""The largest winning level of a curve, by the paper's rule, from the results at its levels (Chen et al. 2021, footnote 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from common.studies import statistics
from common.studies.published.cells import Cell
from common.studies.published.collect import Found

KEPT = 0.8
"""What a round of the paper's search keeps; level k has density .8^k."""
_TOLERANCE = 2e-4


@dataclass(frozen=True)
class Level:
    """How far a curve wins: the largest winning level (0: none but dense), and the levels that were compared."""

    level: int
    compared: tuple[int, ...]

    @property
    def sparsity(self) -> float:
        """Removed fraction at the level."""
        return 1 - KEPT**self.level


def level_of(density: float) -> int | None:
    """Return the level of a density, or None where it is of none."""
    level = round(math.log(density) / math.log(KEPT))
    return level if level >= 0 and abs(density - KEPT**level) <= _TOLERANCE else None


def largest_winning(cell: Cell, of_cell: Sequence[Found]) -> tuple[Level | None, str | None]:
    """Find the largest level at which a ticket wins on every data set of a cell.

    Args:
        cell: its data sets and metric.
        of_cell: the results that match it, dense (density 1) and tickets.

    Returns:
        The level and None, or None and why the results do not give it.
    """
    verdicts: dict[str, dict[int, str]] = {}
    for data in cell.match["data.name"]:
        of_data = [found for found in of_cell if found.text("data.name") == data]
        if not of_data:
            return None, f"nothing was run on {data}"
        behind = sum("dense_less_trained" in found.result["flags"] for found in of_data)
        if behind:
            return (
                None,
                f"{data}: {behind} of {len(of_data)} results had more training behind them than dense (dense_less_trained)",
            )
        values, why = _by_level(cell, of_data)
        if why is not None:
            return None, f"{data}: {why}"
        if 0 not in values or len(values) == 1:
            return None, f"{data}: {'a ticket' if 0 in values else 'dense'} was not run"
        verdicts[data] = {level: statistics.winning(at, values[0]) for level, at in values.items() if level}
        if statistics.FEW in verdicts[data].values():
            return None, f"{data}: {statistics.FEW} of dense ({len(values[0])}, expected {statistics.MIN_SEEDS})"
    shared = sorted(set.intersection(*(set(told) for told in verdicts.values())))
    if not shared:
        return None, "no level was run on every data set"
    won = [level for level in shared if all(told[level] == statistics.WINNING for told in verdicts.values())]
    return Level(won[-1] if won else 0, tuple(shared)), None


def _by_level(cell: Cell, found: Sequence[Found]) -> tuple[dict[int, list[float]], str | None]:
    """Return the values of every level, or why they cannot be told apart."""
    values: dict[int, list[float]] = {}
    runs: dict[int, set[str]] = {}
    for one in found:
        level, value = level_of(one.density), one.measured(cell.metric)
        assert level is not None  # a result without a level or a value is of no cell
        assert value is not None
        runs.setdefault(level, set()).add(one.configuration)
        values.setdefault(level, []).append(value)
    several = next((level for level, names in runs.items() if len(names) > 1), None)
    if several is not None:
        return {}, f"{len(runs[several])} configurations match at density {KEPT**several:.4f}; give one's folder"
    return values, None
