"""Find SimCLR tickets: `python -m SimCLR --recipe digits --out runs`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from common.cli import main as run_command
from common.training.pretraining_command import pretraining_command
from SimCLR.config import SimCLRConfig

COMMAND = pretraining_command(
    SimCLRConfig,
    objective="simclr",
    about="Find lottery tickets on the SimCLR objective by iterative magnitude pruning with rewinding.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 1 failure."""
    return run_command(COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
