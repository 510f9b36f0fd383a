"""What a command costs before it does anything: `python -m benchmarks.startup`.

`python -m SimCLR --help` and `python -m common.tickets --help` against `python -c "import torch"`, whole processes, in turn.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

from benchmarks.measure import arguments, interleaved, median_ratio, report


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("startup", __doc__ or "", argv, repeats=15)
    cases = {
        "torch": _process("-c", "import torch"),
        "simclr": _process("-m", "SimCLR", "--help"),
        "tickets": _process("-m", "common.tickets", "--help"),
    }
    seconds = interleaved(cases, options.repeats)
    ratios = {f"startup_{name}_help": median_ratio(seconds[name], seconds["torch"]) for name in ("simclr", "tickets")}
    report(ratios, {}, options.json)
    return 0


def _process(*words: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
