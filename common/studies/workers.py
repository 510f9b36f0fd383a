"""One worker: a process of one folder that takes runs one at a time over its standard input."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from common.errors import InputError
from common.studies.gpus import VISIBLE
from common.studies.plan import Job

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Event:
    """What a worker said: a finished run's report, or None when its output ended, that is when it died or was closed."""

    worker: Worker
    report: dict[str, Any] | None


class Worker:
    """A process `python -m FOLDER --jobs -` and what it holds.

    Attributes:
        folder: the package it runs.
        gpu: identifier of the only GPU that it sees; None: it sees what this process sees.
        job: the job that it works on, or None.
        started: when it was given the job, on the monotonic clock.
    """

    def __init__(self, folder: str, log: Path, events: queue.Queue[Event], gpu: str | None = None) -> None:
        """Start the process; what it prints beside reports is appended to `log`.

        Raises:
            InputError: the log cannot be written.
        """
        self.folder, self.gpu = folder, gpu
        self.job: Job | None = None
        self.started = 0.0
        try:
            self._log = log.open("ab")
        except OSError as error:
            raise InputError(f"cannot write {log}: {error.strerror}; choose another output folder with --out") from error
        # A session of its own: Ctrl-C reaches the scheduler alone, and stopping a worker stops its children too.
        self._process = subprocess.Popen(
            [sys.executable, "-m", folder, "--jobs", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **ONE_THREAD, **({} if gpu is None else {VISIBLE: gpu}), "PYTHONUNBUFFERED": "1"},
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout, events), daemon=True)
        self._reader.start()

    def give(self, job: Job) -> None:
        """Hand the worker a job; a worker that has died meanwhile says so by an event."""
        self.job, self.started = job, time.monotonic()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(list(job.argv)) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def is_dead(self) -> bool:
        """Say whether the process has ended."""
        return self._process.poll() is not None

    def how_it_ended(self) -> str:
        """Say how a dead process ended: by which signal, or with which exit code."""
        code = self._process.wait()
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def close(self) -> None:
        """End an idle worker by the end of its input; one that does not go is stopped."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        self._end(None)

    def ask_to_stop(self) -> None:
        """Tell the worker and its children to end; returns at once."""
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """End the worker and its children, whatever it does."""
        self._end(signal.SIGTERM)

    def _end(self, first: signal.Signals | None) -> None:
        for sign in (first, signal.SIGTERM, signal.SIGKILL):
            if sign is not None:
                self._signal(sign)
            try:
                self._process.wait(_GRACE_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        self._signal(signal.SIGKILL)  # children that outlived it
        self._reader.join(_GRACE_SECONDS)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        self._log.close()

    def _signal(self, sign: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, sign)
        except (ProcessLookupError, PermissionError):
            pass

    def _read(self, stream: IO[str], events: queue.Queue[Event]) -> None:
        for line in stream:
            try:
                report = json.loads(line)
            except ValueError:
                report = None
            if isinstance(report, dict) and "code" in report:
                events.put(Event(self, report))
            elif line.strip():
                self._log.write(line.encode("utf-8"))
                self._log.flush()
        events.put(Event(self, None))
