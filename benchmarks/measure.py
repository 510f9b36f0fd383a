"""What every benchmark takes and prints: repeats, a table with the machine on top, JSON."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from common.files import write_json
from common.provenance import machine
from common.subcommands import Parser
from common.timing import interleaved, median_ratio

__all__ = ["arguments", "interleaved", "machine", "median_ratio", "report"]


def arguments(
    name: str, about: str, argv: Sequence[str] | None, *, repeats: int, counts: Mapping[str, tuple[int, str]] | None = None
) -> argparse.Namespace:
    """Parse what every benchmark takes: --json FILE and --repeats N.

    Args:
        name: of the benchmark.
        about: what it measures.
        argv: the command line; None: the process's own.
        repeats: the default of --repeats.
        counts: further flags that take a whole number: name -> (default, what it counts).
    """
    parser = Parser(prog=f"benchmarks.{name}", description=about)
    parser.add_argument("--json", help="write the figures to FILE")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"interleaved repeats (default: {repeats})")
    for flag, (default, what) in (counts or {}).items():
        parser.add_argument(f"--{flag}", type=int, default=default, help=f"{what} (default: {default})")
    return parser.parse_args(argv)


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
