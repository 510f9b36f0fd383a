"""All that a report says, gathered from the plan and its files, before it is written in any form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from common.errors import InputError
from common.studies.analysis import Finding, Group, findings, group_rows
from common.studies.estimate import run_seconds
from common.studies.overlaps import MaskPair, OverlapCurve, mask_pairs, overlap_curves
from common.studies.plan import Plan, is_done
from common.studies.results import Note, Results, Row, read_results
from common.studies.searches import SearchFinding, search_findings
from common.studies.sources import SourceTask, source_notes, source_tasks
from common.studies.task_searches import TaskSearch, task_searches


@dataclass(frozen=True)
class Contents:
    """A report's content.

    Attributes:
        plan: the study and its jobs.
        results: what the jobs have left.
        findings: of every transfer.
        floors: of every floor with results.
        searches: of every search.
        tasks: tasks with several sources.
        task_searches: of every search on a task.
        pairs: every two masks of one round.
        overlaps: the pairs brought together.
        notes: what is missing, failed, damaged or flagged.
        seconds: what each finished run took, by job.
    """

    plan: Plan
    results: Results
    findings: tuple[Finding, ...]
    floors: tuple[Group, ...]
    searches: tuple[SearchFinding, ...]
    tasks: tuple[SourceTask, ...]
    task_searches: tuple[TaskSearch, ...]
    pairs: tuple[MaskPair, ...]
    overlaps: tuple[OverlapCurve, ...]
    notes: tuple[Note, ...]
    seconds: dict[str, float]

    @property
    def done(self) -> int:
        """Number of finished runs."""
        return sum(is_done(job) for job in self.plan.jobs)

    @property
    def every_row(self) -> tuple[Row, ...]:
        """Results of transfers, floors and rounds."""
        return (*self.results.rows, *self.results.rounds)


def gather(plan: Plan) -> Contents:
    """Read and analyse everything that a plan has left.

    Raises:
        InputError: see `common.studies.results.read_results`.
    """
    results = read_results(plan)
    searches, damaged = search_findings(plan, results)
    floors = [group_rows(rows, floor.name, None) for floor in plan.study.floors if (rows := results.of(floor.name))]
    pairs, incomparable = mask_pairs(plan, results)
    found = findings(plan, results)
    notes = (
        *results.notes, *damaged, *source_notes(plan, results), *incomparable, *_mixed((*results.rows, *results.rounds))
    )  # fmt: skip
    return Contents(
        plan,
        results,
        tuple(found),
        tuple(floors),
        tuple(searches),
        tuple(source_tasks(found)),
        tuple(task_searches(plan, results)),
        tuple(pairs),
        tuple(overlap_curves(pairs)),
        notes,
        _seconds(plan),
    )


def distinct(rows: Iterable[Row], key: str) -> list[Any]:
    """Return the different values of a field of results, in order of their text."""
    texts = {json.dumps(row.result.get(key), sort_keys=True) for row in rows}
    return [json.loads(text) for text in sorted(texts)]


def _mixed(rows: Iterable[Row]) -> list[Note]:
    """Name what should be one for all runs and is not; the numbers stand, a reader must know."""
    listed, notes = list(rows), []
    for key, words in (
        ("commit", "commits"),
        ("versions", "sets of package versions"),
        ("device", "devices"),
        ("threads", "thread counts"),
    ):
        found = distinct(listed, key)
        if len(found) > 1:
            notes.append(Note("flagged", "all runs", f"results come from {len(found)} different {words}"))
    return notes


def _seconds(plan: Plan) -> dict[str, float]:
    taken: dict[str, float] = {}
    seen = set()
    for job in plan.jobs:
        if is_done(job) and job.run not in seen:
            seen.add(job.run)
            try:
                taken[job.id] = run_seconds(job.run)
            except InputError:
                continue  # named among the notes as damaged
    return taken
