"""Classification, from a ticket (`python -m Downstream --ticket.file T`) or for tickets of its own (`--prune.rounds 18`)."""

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
    """Transfer one ticket or control, or find tickets on the task itself; a killed run continues."""
    if invocation.config.searches:
        from Downstream.search import find_tickets

        find_tickets(invocation)
    else:
        from Downstream.transfer import transfer

        transfer(invocation)


def evaluate(invocation: Invocation, what: str) -> None:
    """Judge a finished run, a ticket or a file of weights on the target; nothing is trained."""
    from Downstream.evaluate import evaluate_on_target

    evaluate_on_target(invocation, what)


COMMAND = Command(
    folder="Downstream",
    about="Transfer tickets and controls to classification, frozen (linear) or fine-tuned (full), or find tickets on it.",
    schema=DownstreamConfig,
    recipes=Path(__file__).parent / "recipes",
    run=run,
    evaluate=evaluate,
    listing=list_data_and_backbones,
)

if __name__ == "__main__":
    sys.exit(main())
