"""Standard output of a command line: text that is really written, and prints that are kept off it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


def say(text: str, *, needed: bool = False) -> None:
    """Print a text on standard output and flush it.

    A reader that left early (`--list | head`) is no error, unless every word is `needed`.

    Raises:
        OSError: the output cannot be written, such as a full disk.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        _forget_output()
        if needed or not isinstance(error, BrokenPipeError):
            raise


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send standard output to standard error meanwhile, also what libraries and child processes write to the file itself."""
    output = sys.stdout
    output.flush()
    handle, errors = _handle(output), _handle(sys.stderr)
    kept = os.dup(handle) if handle is not None and errors is not None else None
    try:
        if handle is not None and errors is not None:
            os.dup2(errors, handle)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        # Code that kept the old sys.stdout may have left text in its buffer.
        output.flush()
        sys.stderr.flush()
        if handle is not None and kept is not None:
            os.dup2(kept, handle)
            os.close(kept)


def _handle(stream: object) -> int | None:
    """Return a stream's file descriptor; None for one in memory."""
    try:
        return stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, io.UnsupportedOperation, ValueError):
        return None


def _forget_output() -> None:
    """Give up a standard output that takes nothing, or the interpreter would complain about it again when it exits."""
    handle = _handle(sys.stdout)
    if handle is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, handle)
        os.close(nowhere)
