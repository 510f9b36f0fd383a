"""Find MoCo tickets: `python -m MoCo --recipe digits --out runs`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from common.cli import Command, Invocation
from common.cli import main as run_command
from common.listing import list_data_and_backbones
from MoCo.config import MoCoConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 1 failure."""
    return run_command(COMMAND, argv)


def run(invocation: Invocation) -> None:
    """Search for tickets; a killed run continues."""
    from MoCo.search import find_tickets

    find_tickets(invocation)


def evaluate(invocation: Invocation, what: str) -> None:
    """Judge a run's or a ticket's backbone on the validation images; nothing is trained."""
    from MoCo.search import evaluate_tickets

    evaluate_tickets(invocation, what)


COMMAND = Command(
    folder="MoCo",
    about="Find lottery tickets with MoCo by iterative magnitude pruning with rewinding.",
    schema=MoCoConfig,
    recipes=Path(__file__).parent / "recipes",
    run=run,
    evaluate=evaluate,
    listing=list_data_and_backbones,
)

if __name__ == "__main__":
    sys.exit(main())
