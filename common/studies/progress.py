"""Show how far a study is: one live line on a terminal, a plain line per finished run elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from common.studies.words import duration


class ProgressLine:
    """Done, total, failures and time left; use as a context."""

    def __init__(self, title: str, total: int, done: int) -> None:
        """Begin at `done` of `total` jobs."""
        self._title, self._total, self._done = title, total, done
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> ProgressLine:
        """Draw the line if stderr is a terminal."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(self._title, total=self._total, completed=self._done, left="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()

    def ended(self, name: str, what: str, left: float | None) -> None:
        """Count one job and say how it ended; `left` are the estimated seconds until all have."""
        self._done += 1
        remaining = _remaining(left)
        if self._bar is None:
            line = f"[{self._done}/{self._total}] {name} {what}"
            print(f"{line}, {remaining}" if remaining else line, file=sys.stderr, flush=True)
            return
        self._bar.update(self._task, completed=self._done, left=remaining)
        if not what.startswith("done"):
            self.say(f"{name} {what}")

    def waiting(self, left: float | None) -> None:
        """Bring the time left up to date on a terminal."""
        if self._bar is not None:
            self._bar.update(self._task, left=_remaining(left))

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False)


def _remaining(left: float | None) -> str:
    return f"about {duration(left)} left" if left else ""
