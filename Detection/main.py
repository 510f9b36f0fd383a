"""Detection, from a ticket (`python -m Detection --ticket.file T`) or for tickets of its own (`--prune.rounds 18`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from common.cli import main as run_command
from common.training.annotated_command import annotated_command
from Detection.config import DetectionConfig

COMMAND = annotated_command(DetectionConfig, about="Transfer tickets and controls to object detection, or find tickets on it.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 1 failure."""
    return run_command(COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
