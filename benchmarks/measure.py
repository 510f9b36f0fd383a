"""Measure: interleaved runs, medians, the machine on top, JSON."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.files import write_json
from common.provenance import commit, versions
from common.subcommands import Parser


def arguments(name: str, about: str, argv: Sequence[str] | None, *, repeats: int) -> argparse.Namespace:
    """Parse what every benchmark takes: --json FILE and --repeats N."""
    parser = Parser(prog=f"benchmarks.{name}", description=about)
    parser.add_argument("--json", help="write the figures to FILE")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"interleaved repeats (default: {repeats})")
    return parser.parse_args(argv)


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


def machine() -> dict[str, Any]:
    """Describe the machine and the software that the figures belong to."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": _processor(), "threads": torch.get_num_threads(), "gpu": gpu, "commit": commit(), **versions()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def report(ratios: Mapping[str, float], other: Mapping[str, float], json_file: str | None) -> None:
    """Print the table, the machine on top, and write the JSON where asked.

    Args:
        ratios: what a bound is set for.
        other: further figures.
        json_file: file to write.
    """
    found = machine()
    print("machine: " + ", ".join(f"{key} {value}" for key, value in found.items() if value is not None))
    for name, value in {**ratios, **other}.items():
        print(f"{name:<32}{value:>14,.4g}")
    if json_file is not None:
        write_json(json_file, {"machine": found, "ratios": dict(ratios), "other": dict(other)})
