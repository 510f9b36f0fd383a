"""The scheduler: workers of one thread each, needs before what needs them, the longest chain first."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from common.files import make_folder
from common.studies.estimate import chains, estimates, wall_time
from common.studies.ledger import ATTEMPTS, Ledger, jobs_left, what_is_wrong
from common.studies.plan import Job, Plan
from common.studies.progress import ProgressLine
from common.studies.words import duration
from common.studies.workers import Event, Worker


class Stopped(KeyboardInterrupt):
    """The study was told to end by SIGTERM."""


def run_plan(plan: Plan, workers: int, gpus: Sequence[str] = ()) -> dict[str, str]:
    """Run what is not done; continue what was cut off.

    Args:
        plan: the plan.
        workers: processes at once, >= 1.
        gpus: identifiers of GPUs, of which each process sees one, the one with the fewest others; empty: all see all.

    Returns:
        For every job that did not end well, why not; an empty dictionary if everything is done.

    Raises:
        InputError: the folder of the workers' logs cannot be made or written.
        KeyboardInterrupt: by Ctrl-C or SIGTERM, after every worker has ended.
    """
    left = jobs_left(plan)
    if not left:
        return {}
    scheduler = _Scheduler(plan, left, workers, gpus)
    with terminated(), ProgressLine(plan.study.name, len(plan.jobs), len(plan.jobs) - len(left)) as progress:
        try:
            scheduler.run(progress)
        finally:
            scheduler.stop()
    return scheduler.ledger.failed


class _Scheduler:
    """What waits, what runs and what became of it."""

    def __init__(self, plan: Plan, left: list[Job], workers: int, gpus: Sequence[str]) -> None:
        self._limit, self._gpus = workers, gpus
        self._workers: list[Worker] = []
        self._events: queue.Queue[Event] = queue.Queue()
        self._logs = plan.folder / "logs"
        known = estimates(plan)
        self._seconds = {job.id: known[job.entry].seconds or 1.0 for job in left}
        self._guessed = any(known[job.entry].seconds is None for job in left)
        self.ledger = Ledger(left, chains(left, self._seconds))

    def run(self, progress: ProgressLine) -> None:
        """Work until nothing can be run any more."""
        make_folder(self._logs)
        while self.ledger.pending:
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

    def _assign(self) -> None:
        """Give every free worker a job of its folder; replace those that have none while another folder has."""
        for worker in [worker for worker in self._workers if worker.job is None]:
            own = next((job for job in self.ledger.ready() if job.folder == worker.folder), None)
            if own is not None:
                self._give(worker, own)
            elif self.ledger.ready():
                self._workers.remove(worker)
                worker.close()
        while len(self._workers) < self._limit and self.ledger.ready():
            job = self.ledger.ready()[0]
            worker = Worker(job.folder, self._log_file(job.folder), self._events, self._free_gpu())
            self._workers.append(worker)
            self._give(worker, job)

    def _log_file(self, folder: str) -> Path:
        used = sum(worker.folder == folder for worker in self._workers)
        return self._logs / f"{folder}-{used}.log"

    def _free_gpu(self) -> str | None:
        """Return the GPU that the fewest workers see, the first of several; None where workers are not bound to GPUs."""
        used = [worker.gpu for worker in self._workers]
        return min(self._gpus, key=used.count, default=None)

    def _give(self, worker: Worker, job: Job) -> None:
        self.ledger.take(job)
        worker.give(job)

    def _reported(self, worker: Worker, report: dict[str, object], progress: ProgressLine) -> None:
        job, worker.job = worker.job, None
        if job is None:
            return
        error = what_is_wrong(job, report["code"], report.get("error"))
        self._ended(job, error, time.monotonic() - worker.started, progress)

    def _died(self, worker: Worker, progress: ProgressLine) -> None:
        self._workers.remove(worker)
        how, job = worker.how_it_ended(), worker.job
        worker.stop()
        if job is None:
            return
        if self.ledger.try_again(job):
            progress.say(f"the worker of {job.id} {how}; the run is tried once more")
        else:
            self._ended(job, f"its worker {how}, {ATTEMPTS} times; see {self._logs}", time.monotonic() - worker.started, progress)

    def _ended(self, job: Job, error: str | None, seconds: float, progress: ProgressLine) -> None:
        self.ledger.pending.discard(job.id)  # for the time left
        self.ledger.ended(job, error, f"done in {duration(seconds)}", self._time_left(), progress)

    def _time_left(self) -> float | None:
        if self._guessed:
            return None
        now = time.monotonic()
        running = {worker.job.id: (worker.job, now - worker.started) for worker in self._workers if worker.job is not None}
        seconds = {job_id: max(self._seconds[job_id] - since, 0.0) for job_id, (_, since) in running.items()}
        seconds.update({job_id: self._seconds[job_id] for job_id in self.ledger.waiting})
        jobs = [replace(job, needs=()) for job, _ in running.values()] + list(self.ledger.waiting.values())
        return wall_time([job for job in jobs if job.id in self.ledger.pending], seconds, self._limit)


@contextmanager
def terminated() -> Iterator[None]:
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
