"""The scheduler: workers of one thread each, needs before what needs them, the longest chain first."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from common.files import make_folder
from common.studies.estimate import chains, estimates, wall_time
from common.studies.plan import Job, Plan, is_done
from common.studies.progress import ProgressLine
from common.studies.words import duration
from common.studies.workers import Event, Worker

ATTEMPTS = 2
"""A job is given up when this many workers died of it."""


class Stopped(KeyboardInterrupt):
    """The study was told to end by SIGTERM."""


def run_plan(plan: Plan, workers: int) -> dict[str, str]:
    """Run what is not done; continue what was cut off.

    Args:
        plan: the plan.
        workers: processes at once, >= 1.

    Returns:
        For every job that did not end well, why not; an empty dictionary if everything is done.

    Raises:
        InputError: the folder of the workers' logs cannot be made or written.
        KeyboardInterrupt: by Ctrl-C or SIGTERM, after every worker has ended.
    """
    left: list[Job] = []
    for job in plan.jobs:  # searches come first; what a search feeds is asked again, since its tickets may become others
        if not is_done(job) or {other.id for other in left}.intersection(job.needs):
            left.append(job)
    if not left:
        return {}
    scheduler = _Scheduler(plan, left, workers)
    with _terminated(), ProgressLine(plan.study.name, len(plan.jobs), len(plan.jobs) - len(left)) as progress:
        try:
            scheduler.run(progress)
        finally:
            scheduler.stop()
    return scheduler.failed


class _Scheduler:
    """What waits, what runs and what became of it."""

    def __init__(self, plan: Plan, left: list[Job], workers: int) -> None:
        self.failed: dict[str, str] = {}
        self._waiting = {job.id: job for job in left}
        self._pending = set(self._waiting)
        self._limit = workers
        self._workers: list[Worker] = []
        self._attempts: dict[str, int] = {}
        self._events: queue.Queue[Event] = queue.Queue()
        self._logs = plan.folder / "logs"
        known = estimates(plan)
        self._seconds = {job.id: known[job.entry].seconds or 1.0 for job in left}
        self._guessed = any(known[job.entry].seconds is None for job in left)
        self._chain = chains(left, self._seconds)

    def run(self, progress: ProgressLine) -> None:
        """Work until nothing can be run any more."""
        make_folder(self._logs)
        while self._pending:
            self._assign()
            if not any(worker.job for worker in self._workers):
                break
            event = self._next_event(progress)
            if event.worker not in self._workers:
                continue  # the end of one that was closed on purpose
            if event.report is None:
                self._died(event.worker, progress)
            else:
                self._reported(event.worker, event.report, progress)

    def stop(self) -> None:
        """End every worker, all at once."""
        for worker in self._workers:
            if worker.job is not None:
                worker.ask_to_stop()
        for worker in self._workers:
            if worker.job is None:
                worker.close()
            else:
                worker.stop()
        self._workers.clear()

    def _next_event(self, progress: ProgressLine) -> Event:
        while True:
            try:
                return self._events.get(timeout=1.0)  # with a timeout, so that signals are answered
            except queue.Empty:
                progress.waiting(self._time_left())
                for worker in self._workers:
                    if worker.is_dead():  # its children may keep its output open
                        return Event(worker, None)

    def _ready(self) -> list[Job]:
        ready = [job for job in self._waiting.values() if not self._pending.intersection(job.needs)]
        return sorted(ready, key=lambda job: -self._chain[job.id])

    def _assign(self) -> None:
        """Give every free worker a job of its folder; replace those that have none while another folder has."""
        for worker in [worker for worker in self._workers if worker.job is None]:
            own = next((job for job in self._ready() if job.folder == worker.folder), None)
            if own is not None:
                self._give(worker, own)
            elif self._ready():
                self._workers.remove(worker)
                worker.close()
        while len(self._workers) < self._limit and self._ready():
            job = self._ready()[0]
            worker = Worker(job.folder, self._log_file(job.folder), self._events)
            self._workers.append(worker)
            self._give(worker, job)

    def _log_file(self, folder: str) -> Path:
        used = sum(worker.folder == folder for worker in self._workers)
        return self._logs / f"{folder}-{used}.log"

    def _give(self, worker: Worker, job: Job) -> None:
        del self._waiting[job.id]
        self._attempts[job.id] = self._attempts.get(job.id, 0) + 1
        worker.give(job)

    def _reported(self, worker: Worker, report: dict[str, object], progress: ProgressLine) -> None:
        job, worker.job = worker.job, None
        if job is None:
            return
        error = None
        if report["code"] != 0:
            error = " ".join(str(report.get("error") or f"exit code {report['code']}").split())
        elif not (job.run / "result.json").is_file():
            error = f"ended without an error and without {job.run / 'result.json'}"
        self._ended(job, error, time.monotonic() - worker.started, progress)

    def _died(self, worker: Worker, progress: ProgressLine) -> None:
        self._workers.remove(worker)
        how, job = worker.how_it_ended(), worker.job
        worker.stop()
        if job is None:
            return
        if self._attempts[job.id] < ATTEMPTS:
            progress.say(f"the worker of {job.id} {how}; the run is tried once more")
            self._waiting[job.id] = job
        else:
            self._ended(job, f"its worker {how}, {ATTEMPTS} times; see {self._logs}", time.monotonic() - worker.started, progress)

    def _ended(self, job: Job, error: str | None, seconds: float, progress: ProgressLine) -> None:
        self._pending.discard(job.id)
        if error is None:
            progress.ended(job.id, f"done in {duration(seconds)}", self._time_left())
            return
        self.failed[job.id] = error
        progress.ended(job.id, f"failed: {error}", self._time_left())
        self._give_up_what_needs(job, progress)

    def _give_up_what_needs(self, job: Job, progress: ProgressLine) -> None:
        for other in [other for other in self._waiting.values() if job.id in other.needs]:
            self._waiting.pop(other.id, None)
            self._pending.discard(other.id)
            self.failed[other.id] = f"not run: it needs {job.id}, which failed"
            progress.ended(other.id, self.failed[other.id], None)
            self._give_up_what_needs(other, progress)

    def _time_left(self) -> float | None:
        if self._guessed:
            return None
        now = time.monotonic()
        running = {worker.job.id: (worker.job, now - worker.started) for worker in self._workers if worker.job is not None}
        seconds = {job_id: max(self._seconds[job_id] - since, 0.0) for job_id, (_, since) in running.items()}
        seconds.update({job_id: self._seconds[job_id] for job_id in self._waiting})
        jobs = [replace(job, needs=()) for job, _ in running.values()] + list(self._waiting.values())
        return wall_time([job for job in jobs if job.id in self._pending], seconds, self._limit)


@contextmanager
def _terminated() -> Iterator[None]:
    """Answer SIGTERM as Ctrl-C while the block runs."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
