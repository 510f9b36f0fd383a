"""Positions of channels as short text: "0-15,17" for the first sixteen and the eighteenth."""

from __future__ import annotations

import re
from itertools import pairwise

_RUN = re.compile(r"(0|[1-9]\d{0,8})(?:-([1-9]\d{0,8}))?")


def write_positions(positions: list[int]) -> str:
    """Return ascending positions, all >= 0, as text."""
    breaks = [i for i, (a, b) in enumerate(pairwise(positions), 1) if b != a + 1]
    starts, ends = [0, *breaks], [*breaks, len(positions)]
    runs = [(positions[a], positions[b - 1]) for a, b in zip(starts, ends, strict=True) if a < b]
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def read_positions(text: object, count: int) -> list[int]:
    """Undo `write_positions`.

    Args:
        text: what it returned.
        count: number of channels that there are.

    Raises:
        ValueError: it is no such text, names no position, one twice, out of order, or one that is not there.
    """
    found: list[int] = []
    for part in text.split(",") if isinstance(text, str) else [""]:
        match = _RUN.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not last >= first or last >= count or (found and first <= found[-1]):
            raise ValueError(f"{str(text)[:60]!r} are no ascending positions below {count}")
        found.extend(range(first, last + 1))
    return found
