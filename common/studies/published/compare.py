"""Ours beside theirs: the difference in units of a standard deviation over seeds, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import InputError
from common.studies import statistics
from common.studies.published.cells import VALUE, Cell, Table
from common.studies.published.collect import Found
from common.studies.published.levels import Level, largest_winning, level_of
from common.studies.published.matching import matching, nearest

COMPARED, NOT_RUN, APART, UNDECIDED = "compared", "not run", "not comparable", "undecided"
THEIRS, OURS = "theirs", "ours"


@dataclass(frozen=True)
class Ours:
    """What our results of one configuration show beside a cell; seeds are (search, task) pairs."""

    configuration: str
    spread: statistics.Spread
    seeds: tuple[tuple[int, int], ...]
    density: float
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One cell with what there is of ours.

    Attributes:
        status: compared, not run, not comparable (the cell says why), or undecided (our results do not give a winning level).
        ours: our mean and deviation; None for tables of winning levels.
        level: our largest winning level; None elsewhere.
        difference: ours - theirs, a fraction; for winning levels, in levels (factors of .8 in density).
        units: the difference divided by the standard deviation; None where neither side has one.
        deviation_of: whose deviation that is: theirs where it was published, else ours.
        note: why a cell is not comparable or undecided.
    """

    table: str
    cell: Cell
    status: str
    ours: Ours | None = None
    level: Level | None = None
    difference: float | None = None
    units: float | None = None
    deviation_of: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class NearMiss:
    """Results of one recipe, "Downstream/cvpr2021_svhn", that are of no cell: their nearest one, and in what they differ."""

    recipe: str
    files: tuple[str, ...]
    table: str
    cell: Cell
    differences: tuple[str, ...]


def compare(tables: Sequence[Table], results: Sequence[Found]) -> tuple[list[Row], list[NearMiss], list[Found]]:
    """Put results beside published cells.

    Returns:
        A row for every cell, and one more for every further configuration that matches it; near misses; results near nothing.

    Raises:
        InputError: two results of one configuration have the same seeds.
    """
    rows: list[Row] = []
    used: set[str] = set()
    for table in tables:
        for cell in table.cells:
            of_cell = matching(cell, results)
            used |= {str(found.file) for found in of_cell}
            rows += _rows(table, cell, of_cell)
    misses, nothing = _missed(tables, [found for found in results if str(found.file) not in used])
    return rows, misses, nothing


def _missed(tables: Sequence[Table], left: Sequence[Found]) -> tuple[list[NearMiss], list[Found]]:
    """Return near misses, those that miss alike together, and results that are near nothing."""
    misses: dict[tuple[str, str, str, str, tuple[str, ...]], NearMiss] = {}
    nothing: list[Found] = []
    for found in left:
        near = [(table.name, *miss) for table in tables for miss in [nearest(found, table.cells)] if miss is not None]
        if not near:
            nothing.append(found)
            continue
        name, cell, told = min(near, key=lambda one: len(one[2]))
        recipe = found.configuration.rpartition("-")[0]
        key = (recipe, name, cell.name, cell.data, tuple(told))
        files = (*(misses[key].files if key in misses else ()), str(found.file))
        misses[key] = NearMiss(recipe, files, name, cell, tuple(told))
    return list(misses.values()), nothing


def _rows(table: Table, cell: Cell, of_cell: Sequence[Found]) -> list[Row]:
    if cell.apart is not None:
        return [Row(table.name, cell, APART, note=cell.apart)]
    if not of_cell:
        return [Row(table.name, cell, NOT_RUN)]
    if table.kind != VALUE:
        return [_winning_row(table, cell, of_cell)]
    configurations = sorted({found.configuration for found in of_cell})
    return [_row(table, cell, [one for one in of_cell if one.configuration == name]) for name in configurations]


def _row(table: Table, cell: Cell, of_one: Sequence[Found]) -> Row:
    ours = _ours(cell, of_one)
    assert cell.value is not None
    difference = ours.spread.mean - cell.value
    deviation, whose = cell.deviation, THEIRS
    if deviation is None:
        deviation, whose = ours.spread.deviation, OURS
    if not deviation:
        return Row(table.name, cell, COMPARED, ours, difference=difference, note="no deviation over seeds on either side")
    return Row(table.name, cell, COMPARED, ours, difference=difference, units=difference / deviation, deviation_of=whose)


def _ours(cell: Cell, of_one: Sequence[Found]) -> Ours:
    """Summarise the seeds of one configuration at one cell.

    Raises:
        InputError: two of them have the same seeds.
    """
    by_seed: dict[tuple[int, int], Found] = {}
    for found in of_one:
        other = by_seed.setdefault(found.seeds, found)
        if other is not found:
            raise InputError(f"{found.file} and {other.file} are the same run; name only one of their folders")
    values = [value for found in by_seed.values() if (value := found.measured(cell.metric)) is not None]
    flags = sorted({str(flag) for found in of_one for flag in found.result["flags"]})
    mean_density = statistics.spread([found.density for found in of_one]).mean
    return Ours(of_one[0].configuration, statistics.spread(values), tuple(sorted(by_seed)), mean_density, tuple(flags))


def _winning_row(table: Table, cell: Cell, of_cell: Sequence[Found]) -> Row:
    level, why = largest_winning(cell, of_cell)
    if why is not None:
        return Row(table.name, cell, UNDECIDED, note=why)
    theirs = 0 if cell.value is None else level_of(1 - cell.value)
    assert theirs is not None
    assert level is not None
    return Row(table.name, cell, COMPARED, level=level, difference=float(level.level - theirs))
