"""Run a study as jobs of a SLURM cluster, through submitit. A run directory is the unit: a job that was killed is started again.

Jobs leave their reports in files beside their command lines; nothing that submitit pickles is read back here.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import make_folder, read_json, write_text
from common.studies.chunk import Chunk
from common.studies.cluster_config import ClusterConfig
from common.studies.estimate import chains, estimates
from common.studies.ledger import ATTEMPTS, Ledger, jobs_left, what_is_wrong
from common.studies.plan import Job, Plan
from common.studies.progress import ProgressLine
from common.studies.run import terminated


@dataclass(frozen=True)
class _Submitted:
    """A job of the cluster: what it runs, where its reports will be, and submitit's handle."""

    jobs: tuple[Job, ...]
    reports: Path
    handle: Any


def run_on_cluster(plan: Plan, config: ClusterConfig) -> dict[str, str]:
    """Run what is not done as jobs of a cluster, and wait for them; continue what was cut off.

    Args:
        plan: the plan; its output folder must be one that the cluster's nodes see.
        config: what to ask the cluster for.

    Returns:
        For every run that did not end well, why not; an empty dictionary if everything is done.

    Raises:
        InputError: submitit is not installed, there is no SLURM, or it does not take what it is asked for.
        KeyboardInterrupt: by Ctrl-C or SIGTERM, after every job was cancelled.
    """
    left = jobs_left(plan)
    if not left:
        return {}
    cluster = _Cluster(plan, config, left)
    with terminated(), ProgressLine(plan.study.name, len(plan.jobs), len(plan.jobs) - len(left)) as progress:
        try:
            cluster.run(progress)
        finally:
            cluster.cancel()
    return cluster.ledger.failed


class _Cluster:
    """What waits, what is in the queue or running, and what became of it."""

    def __init__(self, plan: Plan, config: ClusterConfig, left: Sequence[Job]) -> None:
        known = estimates(plan)
        self.ledger = Ledger(left, chains(left, {job.id: known[job.entry].seconds or 1.0 for job in left}))
        self._plan, self._config = plan, config
        self._folder = plan.folder / "cluster"
        self._submitted: list[_Submitted] = []
        self._count = 0
        # Before anything is submitted: what one entry asks for may be refused.
        self._executors = {entry: self._executor(entry) for entry in dict.fromkeys(job.entry for job in left)}

    def run(self, progress: ProgressLine) -> None:
        """Submit and wait until nothing can be run any more."""
        make_folder(self._folder)
        while self.ledger.pending:
            while len(self._submitted) < self._config.jobs_at_once and self.ledger.ready():
                self._submit(self._next_chunk())
            if not self._submitted:
                break
            ended = [one for one in self._submitted if one.handle.done()]
            for one in ended:
                self._submitted.remove(one)
                self._ended(one, progress)
            if not ended:
                time.sleep(self._config.poll_seconds)

    def cancel(self) -> None:
        """Take back every job that has not ended."""
        for one in self._submitted:
            one.handle.cancel(check=False)
        self._submitted.clear()

    def _next_chunk(self) -> tuple[Job, ...]:
        """Return the ready run with the longest chain, and others of its entry beside it; a search is alone."""
        first, *others = self.ledger.ready()
        count = 1 if first.kind == "search" else self._config.runs_per_job
        return (first, *[job for job in others if job.entry == first.entry][: count - 1])

    def _submit(self, jobs: tuple[Job, ...]) -> None:
        # A number that no earlier start of the study used: a job that outlived it still writes to its own files.
        while (self._folder / f"{self._count:05d}.jobs.jsonl").exists():
            self._count += 1
        lines = self._folder / f"{self._count:05d}.jobs.jsonl"
        reports = self._folder / f"{self._count:05d}.reports.jsonl"
        write_text(lines, "".join(json.dumps(list(job.argv)) + "\n" for job in jobs))
        processes, executor = self._executors[jobs[0].entry]
        handle = executor.submit(Chunk(jobs[0].folder, processes, str(lines), str(reports), os.getcwd()))
        for job in jobs:
            self.ledger.take(job)
        self._submitted.append(_Submitted(jobs, reports, handle))

    def _executor(self, entry: str) -> tuple[int, Any]:
        """Return the processes of a run of an entry, and the executor of its jobs."""
        processes, asked = self._config.asked_for(self._plan.study, entry)
        return processes, _make_executor(self._config, self._folder, f"{self._plan.study.name}-{entry}", asked)

    def _ended(self, one: _Submitted, progress: ProgressLine) -> None:
        told = _reports(one.reports, len(one.jobs))
        for number, job in enumerate(one.jobs):
            report = told.get(number)
            if report is not None:
                error = what_is_wrong(job, report["code"], report.get("error") or _recorded(job))
                self.ledger.ended(job, error, f"done in job {one.handle.job_id}", None, progress)
            elif self.ledger.try_again(job):
                progress.say(f"job {one.handle.job_id} ended without a word of {job.id}; the run is tried once more")
            else:
                error = f"its job ended without a word of it, {ATTEMPTS} times; see {self._folder}"
                self.ledger.ended(job, error, "", None, progress)


def _reports(file: Path, count: int) -> dict[int, dict[str, Any]]:
    """Return the reports of a job's runs, by their number in it; those that are missing or cut off are left out."""
    reports: dict[int, dict[str, Any]] = {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []:
        try:
            report = json.loads(line)
        except ValueError:
            continue  # what a run printed, or a line that was being written when the job was killed
        if isinstance(report, dict) and isinstance(report.get("job"), int) and "code" in report and 0 <= report["job"] < count:
            reports[report["job"]] = report
    return reports


def _recorded(job: Job) -> str | None:
    """Return the error that a run's own record holds, if any."""
    try:
        error = read_json(job.run / "run.json").get("error")
    except InputError:
        return None
    return str(error) if error else None


def _make_executor(config: ClusterConfig, folder: Path, name: str, asked: dict[str, Any]) -> Any:
    """Return submitit's executor for jobs of one entry.

    Raises:
        InputError: submitit is not installed, there is no SLURM, or it does not take what it is asked for.
    """
    try:
        import submitit
    except ImportError as error:
        raise InputError("--slurm needs submitit: pip install submitit, or install the project with its extra `slurm`") from error
    timeouts = {f"{config.executor}_max_num_timeout": config.restarts}
    try:
        executor = submitit.AutoExecutor(folder=folder / "submitit", cluster=config.executor, **timeouts)
        executor.update_parameters(name=name, **asked)
    except (RuntimeError, ValueError, TypeError, NameError) as error:
        raise InputError(f"--slurm: submitit: {' '.join(str(error).split())}") from error
    return executor
