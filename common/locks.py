"""One process at a time: a lock on a file, which the system frees when its holder dies."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.errors import InputError


@contextmanager
def locked(file: Path, what: str, mend: str) -> Iterator[None]:
    """Hold the lock of `file`, made where it is absent; wait, and say so, while another process holds it.

    Args:
        file: the lock's; its folder is made.
        what: what is worked on, for the message of who waits.
        mend: how to mend a folder that cannot be written.

    Raises:
        InputError: the folder cannot be made or written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        opened = open(file, "a+", encoding="utf-8")  # noqa: SIM115  (closed below, after the lock)
    except OSError as error:
        raise InputError(f"cannot write {file.parent}: {error.strerror}; {mend}") from error
    with opened:
        _acquire(opened, what)
        try:
            yield
        finally:
            fcntl.flock(opened, fcntl.LOCK_UN)


def _acquire(opened: IO[str], what: str) -> None:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{what} is being worked on by another process; waiting for it", file=sys.stderr)
        fcntl.flock(opened, fcntl.LOCK_EX)
