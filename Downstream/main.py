"""Transfer tickets to classification: `python -m Downstream --ticket.file T --ticket.control random_layerwise`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from common.cli import Command, Invocation
from common.cli import main as run_command
from common.listing import list_data_and_backbones
from Downstream.config import DownstreamConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 1 failure."""
    return run_command(COMMAND, argv)


def run(invocation: Invocation) -> None:
    """Transfer one ticket or control; a killed run continues."""
    from Downstream.transfer import transfer

    transfer(invocation)


def evaluate(invocation: Invocation, what: str) -> None:
    """Judge a finished run, a ticket or a file of weights on the target; nothing is trained."""
    from Downstream.evaluate import evaluate_on_target

    evaluate_on_target(invocation, what)


COMMAND = Command(
    folder="Downstream",
    about="Transfer tickets and their controls to classification, frozen (linear) or fine-tuned (full).",
    schema=DownstreamConfig,
    recipes=Path(__file__).parent / "recipes",
    run=run,
    evaluate=evaluate,
    listing=list_data_and_backbones,
)

if __name__ == "__main__":
    sys.exit(main())
