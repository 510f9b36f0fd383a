"""Find supervised tickets: `python -m Supervised --recipe digits --out runs`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from common.cli import Command, Invocation
from common.cli import main as run_command
from common.listing import list_data_and_backbones
from Supervised.config import SupervisedConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 1 failure."""
    return run_command(COMMAND, argv)


def run(invocation: Invocation) -> None:
    """Search for tickets; a killed run continues."""
    from Supervised.search import find_tickets

    find_tickets(invocation)


def evaluate(invocation: Invocation, what: str) -> None:
    """Judge a run's or a ticket's network on the validation images; nothing is trained."""
    from Supervised.search import evaluate_tickets

    evaluate_tickets(invocation, what)


COMMAND = Command(
    folder="Supervised",
    about="Find lottery tickets on the supervised objective by iterative magnitude pruning with rewinding.",
    schema=SupervisedConfig,
    recipes=Path(__file__).parent / "recipes",
    run=run,
    evaluate=evaluate,
    listing=list_data_and_backbones,
)

if __name__ == "__main__":
    sys.exit(main())
