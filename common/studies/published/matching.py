"""Which results are of a published cell: every match column holds, or it is said in what they differ."""

from __future__ import annotations

from collections.abc import Sequence

from common.studies.published.cells import Cell
from common.studies.published.collect import Found
from common.studies.published.levels import KEPT, level_of

NEAR = 2
"""A result that differs from a cell in so many fields at most is a near miss."""


def differences(cell: Cell, found: Found) -> list[str]:
    """Say in what a result is not of a cell; an empty list: it is.

    A cell without a density is matched at every level of the search. What a result says counts, and nothing is inferred.
    """
    told = [
        f"{path} is {found.text(path)}, expected {' or '.join(texts)}"
        for path, texts in cell.match.items()
        if found.text(path) not in texts
    ]
    if cell.density is not None and abs(found.density - cell.density) > cell.tolerance:
        told.append(f"density is {found.density:.4f}, expected {cell.density:.4f} within {cell.tolerance:g}")
    if cell.density is None and level_of(found.density) is None:
        told.append(f"density is {found.density:.4f}, expected a level {KEPT}^k")
    if cell.said is not None and found.said != cell.said:
        told.append(f"--method says {found.said or 'nothing'}, expected {cell.said}")
    if found.measured(cell.metric) is None:
        told.append(f"test/{cell.metric} was not measured")
    return told


def matching(cell: Cell, results: Sequence[Found]) -> list[Found]:
    """Return the results of a cell; none for one that no result stands beside."""
    return [] if cell.apart is not None else [found for found in results if not differences(cell, found)]


def nearest(found: Found, cells: Sequence[Cell]) -> tuple[Cell, list[str]] | None:
    """Return the cell of the same data that a result misses by the fewest fields, and these; None: by more than `NEAR`.

    Of several, it is the one whose density is the nearest.
    """
    near = [
        (cell, told)
        for cell in cells
        if cell.apart is None and found.text("data.name") in cell.match.get("data.name", ())
        for told in [differences(cell, found)]
        if 0 < len(told) <= NEAR
    ]
    return min(near, key=lambda one: (len(one[1]), abs((one[0].density or 0.0) - found.density)), default=None)
