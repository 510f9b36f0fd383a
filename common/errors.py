"""The errors that the command line turns into an exit code and one line."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: a file, a value or a name that cannot be used (exit code 2).

    The message is one line: what was wrong, what was got, what is expected, how to mend it.
    """


class RunError(RuntimeError):
    """A run that was started properly and cannot go on, such as a loss that is not finite (exit code 1)."""


class DivergenceError(RunError):
    """A loss or a weight is not finite."""
