"""Take tickets from other systems and give them away: `python -m common.exchange import ...`.

Every command is a file of its own here, `<name>_command.py`, with `add_parser(commands)`, which adds its parser, and
`run(words) -> int`, which does the work and returns the exit code. A command's file imports nothing that costs until it runs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from common.subcommands import Parser, run

COMMANDS = ("import", "export", "cost", "compact", "push", "pull")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 2 bad input, 1 failure."""
    return run(_parser(), argv, lambda words: int(words.action(words)))


def _parser() -> Parser:
    parser = Parser(prog="common.exchange", description="Take tickets from other systems, and give them away.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    for name in COMMANDS:
        command = importlib.import_module(f"common.exchange.{name}_command")
        command.add_parser(commands)
        commands.choices[name].set_defaults(action=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
