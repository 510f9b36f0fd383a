"""Time cases against one another: interleaved runs and medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def interleaved(cases: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Time every case once per repeat, in turn, so that whatever else the machine does falls on all of them alike.

    Each case runs once before, untimed.

    Returns:
        case -> seconds of every repeat.
    """
    for case in cases.values():
        case()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            started = time.perf_counter()
            case()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def median_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the ratio of the medians of two cases' seconds."""
    return statistics.median(over) / statistics.median(under)
