"""Find MoCo tickets: `python -m MoCo --recipe digits --out runs`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from common.cli import main as run_command
from common.training.pretraining_command import pretraining_command
from MoCo.config import MoCoConfig

COMMAND = pretraining_command(
    MoCoConfig,
    objective="moco",
    about="Find lottery tickets on the MoCo v2 objective by iterative magnitude pruning with rewinding.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 1 failure."""
    return run_command(COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
