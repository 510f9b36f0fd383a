"""Small command lines with subcommands: one-line errors, no abbreviated flags, the exit codes of the project."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from common.errors import InputError, RunError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and exit code 2, without usage noise, and that takes no abbreviations."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Raise argparse's complaint as the project's error."""
        raise InputError(" ".join(message.split()))


def run(parser: Parser, argv: Sequence[str] | None, action: Callable[[argparse.Namespace], int]) -> int:
    """Parse, act, and turn errors into one line on stderr and an exit code: 0 done, 2 bad input, 1 failure."""
    try:
        return action(parser.parse_args(argv))
    except InputError as error:
        code, text = 2, str(error)
    except (RunError, OSError) as error:
        code, text = 1, str(error)
    print(f"{parser.prog}: error: {' '.join(text.split())}", file=sys.stderr)
    return code
