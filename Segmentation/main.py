"""Segmentation, from a ticket (`python -m Segmentation --ticket.file T`) or for tickets of its own (`--prune.rounds 18`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from common.cli import Command, Invocation
from common.cli import main as run_command
from common.listing import list_annotated_and_backbones
from Segmentation.config import SegmentationConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 1 failure."""
    return run_command(COMMAND, argv)


def run(invocation: Invocation) -> None:
    """Transfer one ticket or control, or find tickets on the task itself; a killed run continues."""
    from common.training.annotated_run import run_annotated
    from Segmentation.task import KIND

    run_annotated(invocation, KIND)


def evaluate(invocation: Invocation, what: str) -> None:
    """Judge the network that a finished run kept; nothing is trained."""
    from common.training.annotated_evaluation import evaluate_run
    from Segmentation.task import KIND

    evaluate_run(invocation, what, KIND)


COMMAND = Command(
    folder="Segmentation",
    about="Transfer tickets and controls to semantic segmentation, or find tickets on it.",
    schema=SegmentationConfig,
    recipes=Path(__file__).parent / "recipes",
    run=run,
    evaluate=evaluate,
    listing=list_annotated_and_backbones,
)

if __name__ == "__main__":
    sys.exit(main())
