"""`python -m common.studies published RESULTS`: ours beside theirs, in text or JSON. Imports no torch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from common.errors import InputError
from common.studies.published.cells import WINNING_SPARSITY, Cell, Table, load_tables
from common.studies.published.collect import Refused, collect
from common.studies.published.compare import COMPARED, NOT_RUN, THEIRS, UNDECIDED, NearMiss, Row, compare
from common.studies.words import columns, counted

RULE = (
    "units: (ours - theirs) / s, s the sample standard deviation over their seeds where they published one, else over ours. "
    "It is the spread of single runs, not the error of a mean, and no test."
)


_HEAD = ("data", "whose", "density", "protocol", "metric", "theirs", "ours", "n theirs", "n ours", "difference", "units", "where")


def add_parser(commands: Any) -> None:
    """Add the command `published` to the studies' command line."""
    command = commands.add_parser("published", help="print results beside published numbers, in seed standard deviations")
    command.add_argument("results", nargs="*", metavar="RESULTS", help="folders that hold runs")
    command.add_argument(
        "--table", action="append", default=[], metavar="NAME", help="only this table (again for more); all cells"
    )
    command.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="runs below FOLDER are of what a table calls NAME, such as 'AC/DC=runs/acdc', which results cannot tell",
    )
    command.add_argument("--json", action="store_true", help="print JSON, every cell in it")


def run_published(words: argparse.Namespace) -> int:
    """Print the comparison; return 0.

    Raises:
        InputError: an unknown table or method, a folder without results, or a result that is damaged.
    """
    tables = load_tables(words.table)
    said = _said(words.method)
    if not words.results and not said:
        raise InputError("published: no RESULTS; name a folder that holds runs, such as runs")
    results, refused = collect(words.results, said)
    rows, misses, nothing = compare(tables, results)
    if words.json:
        print(json.dumps(_as_json(tables, rows, misses, refused, [str(found.file) for found in nothing]), indent=1))
        return 0
    for table in tables:
        print(
            "\n".join(_table_lines(table, [row for row in rows if row.table == table.name], every=bool(words.table))), end="\n\n"
        )
    print("\n".join([*_miss_lines(misses), *_refused_lines(refused), *_nothing_lines(len(nothing)), RULE]))
    return 0


def _said(texts: Sequence[str]) -> dict[str, str]:
    """Return folder -> method of the --method options."""
    known = sorted({cell.said for table in load_tables() for cell in table.cells if cell.said is not None})
    said: dict[str, str] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or not folder or name not in known:
            raise InputError(f"--method: got {text!r}, expected NAME=FOLDER with NAME one of {', '.join(known)}")
        if said.setdefault(folder, name) != name:
            raise InputError(f"--method: {folder} is said to be of {said[folder]} and of {name}; it is of one")
    return said


def _table_lines(table: Table, rows: Sequence[Row], *, every: bool) -> list[str]:
    lines = [f"{table.name}: {table.source}", f"  {table.about}"]
    shown = [row for row in rows if every or row.status in (COMPARED, UNDECIDED)]
    if shown:
        cells = _winning_cells if table.kind == WINNING_SPARSITY else _cells
        lines += [f"  {line}" for line in columns([_HEAD, *(cells(row) for row in shown)])]
    left = [row for row in rows if row not in shown]
    not_run = sum(row.status == NOT_RUN for row in left)
    lines += [f"  not run: {counted(not_run, 'cell')}"] if not_run else []
    reasons = dict.fromkeys(row.cell.apart for row in left if row.cell.apart is not None)
    return lines + [f"  not comparable: {counted(sum(r.cell.apart == why for r in left), 'cell')}: {why}" for why in reasons]


def _cells(row: Row) -> tuple[str, ...]:
    cell, ours = row.cell, row.ours
    read = f" (read to {cell.reading:g})" if cell.reading else ""
    theirs = _spread(cell.value, cell.deviation) + read
    density = "" if cell.density is None else f"{cell.density:.4f}"
    start = (cell.data, cell.name, density, _protocol(cell), cell.metric, theirs)
    if ours is None or row.difference is None:
        return (*start, row.note or row.status, _count(cell.n), "0", "", "", cell.place)
    units = row.note or "" if row.units is None else f"{row.units:+.1f} s of {row.deviation_of}"
    flags = f" [{', '.join(ours.flags)}]" if ours.flags else ""
    told = (_spread(ours.spread.mean, ours.spread.deviation), _count(cell.n), str(ours.spread.n), f"{row.difference:+.4f}", units)
    return (*start, *told, f"{cell.place}; {ours.configuration}{flags}")


def _winning_cells(row: Row) -> tuple[str, ...]:
    cell = row.cell
    start = (cell.data.replace("|", " + "), cell.name, "", _protocol(cell), cell.metric, _sparsity(cell.value))
    if row.level is None or row.difference is None:
        return (*start, row.note or row.status, _count(cell.n), "0", "", "", cell.place)
    ours = f"{_sparsity(row.level.sparsity)} of {counted(len(row.level.compared), 'level')}"
    return (*start, ours, _count(cell.n), "", f"{row.difference:+.0f} levels", "", cell.place)


def _protocol(cell: Cell) -> str:
    return " or ".join(cell.match.get("protocol", ()))


def _sparsity(value: float | None) -> str:
    return "no level wins" if not value else f"{100 * value:.2f}% removed"


def _spread(mean: float | None, deviation: float | None) -> str:
    """Return mean and sample standard deviation with the four decimals that publications print of percentages."""
    parts = [f"{value:.4f}" for value in (mean, deviation) if value is not None]
    return " ± ".join(parts)


def _count(n: int | None) -> str:
    return "?" if n is None else str(n)


def _miss_lines(misses: Sequence[NearMiss]) -> list[str]:
    return [
        f"near miss: {miss.recipe} ({counted(len(miss.files), 'result')}) is not of {miss.table}, {miss.cell.name} on "
        f"{miss.cell.data.replace('|', ' + ')}: {'; '.join(miss.differences)}"
        for miss in misses
    ]


def _refused_lines(refused: Sequence[Refused]) -> list[str]:
    reasons = dict.fromkeys(one.why for one in refused)
    return [f"left out: {counted(sum(one.why == why for one in refused), 'result')}: {why}" for why in reasons]


def _nothing_lines(count: int) -> list[str]:
    return [f"of no published cell: {counted(count, 'result')}"] if count else []


def _as_json(
    tables: Sequence[Table], rows: Sequence[Row], misses: Sequence[NearMiss], refused: Sequence[Refused], nothing: Sequence[str]
) -> dict[str, Any]:
    return {
        "rule": RULE,
        "tables": [
            {
                "name": table.name,
                "source": table.source,
                "about": table.about,
                "kind": table.kind,
                "cells": [_row_json(row) for row in rows if row.table == table.name],
            }
            for table in tables
        ],
        "near_misses": [
            {
                "recipe": miss.recipe,
                "files": list(miss.files),
                "table": miss.table,
                "cell": {"name": miss.cell.name, "data": miss.cell.data, "density": miss.cell.density},
                "differences": list(miss.differences),
            }
            for miss in misses
        ],
        "left_out": [{"file": str(one.file), "why": one.why} for one in refused],
        "of_no_cell": list(nothing),
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        **_cell_json(row.cell),
        "status": row.status,
        "note": row.note,
        "ours": _ours_json(row) if row.status == COMPARED else None,
        "difference": row.difference,
        "units": row.units,
        "deviation_of": row.deviation_of,
    }


def _cell_json(cell: Cell) -> dict[str, Any]:
    theirs = {"value": cell.value, "deviation": cell.deviation, "n": cell.n, "reading": cell.reading}
    return {
        "place": cell.place,
        "name": cell.name,
        "data": cell.data,
        "protocol": _protocol(cell) or None,
        "metric": cell.metric,
        "density": cell.density,
        THEIRS: theirs,
    }


def _ours_json(row: Row) -> dict[str, Any]:
    if row.level is not None:
        return {"value": row.level.sparsity, "level": row.level.level, "levels_compared": list(row.level.compared)}
    assert row.ours is not None
    return {
        "value": row.ours.spread.mean,
        "deviation": row.ours.spread.deviation,
        "n": row.ours.spread.n,
        "seeds": [list(pair) for pair in row.ours.seeds],
        "density": row.ours.density,
        "configuration": row.ours.configuration,
        "flags": list(row.ours.flags),
    }
