"""How long a study takes and how much disk it needs, from finished runs of the same recipe, else as the study declares."""

from __future__ import annotations

import heapq
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.files import read_json
from common.studies.plan import Job, Plan, is_done
from common.studies.study import Expected


@dataclass(frozen=True)
class Estimate:
    """One run of an entry: seconds on one core and where the number is from (measured, declared, unknown), bytes on disk."""

    seconds: float | None
    basis: str
    bytes: float | None


@dataclass(frozen=True)
class Forecast:
    """What is still to run: seconds of core time, seconds on the clock with the workers asked for, bytes; None is unknown."""

    core_seconds: float | None
    wall_seconds: float | None
    bytes: float | None


def estimates(plan: Plan) -> dict[str, Estimate]:
    """Estimate one run of every entry: the median of finished runs with its very settings, else of any with its recipe."""
    return {entry.name: _estimate(plan, entry.name) for entry in plan.study.entries}


def forecast(plan: Plan, known: Mapping[str, Estimate], workers: int) -> Forecast:
    """Estimate what is left of a plan, without the seconds that workers need to start.

    Args:
        plan: the plan.
        known: `estimates(plan)`.
        workers: processes of one thread, >= 1.
    """
    first: dict[Path, Job] = {}  # a run that several entries ask for is made once
    for job in plan.jobs:
        first.setdefault(job.run, job)
    left = [job for job in first.values() if not is_done(job)]
    seconds = [known[job.entry].seconds for job in left]
    sizes = [known[job.entry].bytes for job in left]
    core = None if None in seconds else math.fsum(second for second in seconds if second is not None)
    space = None if None in sizes else math.fsum(size for size in sizes if size is not None)
    wall = None if core is None else wall_time(left, {job.id: known[job.entry].seconds or 0.0 for job in left}, workers)
    return Forecast(core, wall, space)


def chains(jobs: Iterable[Job], seconds: Mapping[str, float]) -> dict[str, float]:
    """Return for every job the seconds of the longest chain that begins with it: itself and what waits for it."""
    listed = list(jobs)
    after: dict[str, float] = {}
    for job in reversed(listed):
        own = seconds[job.id] + after.get(job.id, 0.0)
        for need in job.needs:
            after[need] = max(after.get(need, 0.0), own)
    return {job.id: seconds[job.id] + after.get(job.id, 0.0) for job in listed}


def wall_time(jobs: Iterable[Job], seconds: Mapping[str, float], workers: int) -> float:
    """Return the seconds on the clock when workers always take the ready job with the longest chain."""
    listed = list(jobs)
    order = chains(listed, seconds)
    place = {job.id: number for number, job in enumerate(listed)}
    blocking = {job.id: {need for need in job.needs if need in place} for job in listed}
    blocked: dict[str, list[str]] = {}
    for job_id, needs in blocking.items():
        for need in needs:
            blocked.setdefault(need, []).append(job_id)
    ready = [(-order[job_id], place[job_id], job_id) for job_id, needs in blocking.items() if not needs]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    clock = 0.0
    while ready or running:
        while ready and len(running) < workers:
            job_id = heapq.heappop(ready)[2]
            heapq.heappush(running, (clock + seconds[job_id], job_id))
        clock, ended = heapq.heappop(running)
        for job_id in blocked.get(ended, []):
            blocking[job_id].discard(ended)
            if not blocking[job_id]:
                heapq.heappush(ready, (-order[job_id], place[job_id], job_id))
    return clock


def run_seconds(directory: Path) -> float:
    """Return what a finished run took: the sum over its rounds where it has rounds, else what its result says.

    Raises:
        InputError: a result file is absent or damaged.
    """
    files = sorted(directory.glob("round_*/result.json")) or [directory / "result.json"]
    total = 0.0
    for file in files:
        seconds = read_json(file).get("seconds")
        if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
            raise InputError(f"{file}: seconds is {seconds!r}, expected a number >= 0")
        total += seconds
    return total


def run_bytes(directory: Path) -> int:
    """Return the bytes of all files of a run."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def _estimate(plan: Plan, entry: str) -> Estimate:
    finished = _finished(plan, entry)
    taken = []
    for directory in finished:
        try:
            taken.append(run_seconds(directory))
        except InputError:
            continue  # a damaged result says nothing of time; the report names it
    declared = plan.study.expected.get(entry, Expected())
    space = None if declared.megabytes is None else declared.megabytes * 1e6
    if finished:
        space = statistics.median(run_bytes(directory) for directory in finished)
    if taken:
        return Estimate(statistics.median(taken), "measured", space)
    return Estimate(declared.seconds, "declared" if declared.seconds is not None else "unknown", space)


def _finished(plan: Plan, entry: str) -> list[Path]:
    jobs = plan.of(entry)
    own = [job.run for job in jobs if is_done(job)]
    if own:
        return own
    recipes = {(job.run.parent.parent, job.recipe) for job in jobs}
    return sorted(file.parent for folder, recipe in recipes for file in folder.glob(f"{recipe}-*/seed*/result.json"))
