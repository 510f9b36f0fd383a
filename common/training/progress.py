"""Progress: a bar with the time left on a terminal, a line a round elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    """Progress over a known number of steps; use as a context manager.

    Args:
        what: what runs, for example the run's name.
        total: steps in all.
        done: steps that an earlier attempt did.
        show: False writes nothing.
    """

    def __init__(self, what: str, total: int, *, done: int = 0, show: bool = True) -> None:
        self._what, self._total, self._done, self._first = what, max(1, total), done, done
        self._started = time.monotonic()
        self._show = show
        self._bar: Any = _bar(what, self._total, done) if show and sys.stderr.isatty() else None

    def advance(self) -> None:
        """Count one step."""
        self._done += 1
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def skip(self, steps: int) -> None:
        """Take steps out of the total that will not be done."""
        self._total = max(1, self._total - steps)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=self._total)

    def say(self, text: str) -> None:
        """Write a line, with the time left where there is no bar."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
        elif self._show:
            print(f"{text}{self._left()}", file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Write a line that must not be missed, also where progress is not shown."""
        if self._bar is not None:
            self._bar.console.print(text, style="bold", highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def _left(self) -> str:
        fresh = self._done - self._first
        if fresh == 0 or self._done >= self._total:
            return ""
        seconds = (time.monotonic() - self._started) / fresh * (self._total - self._done)
        return f"  [{self._done / self._total:.0%}, about {seconds / 60:.1f} min left]"

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(what: str, total: int, done: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
    bar.add_task(what, total=total, completed=done)
    return bar
