"""Searches on a task itself: their rounds are levels of the task's own curve, each against round 0 and against other searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from common.studies import statistics
from common.studies.analysis import NO_VERDICT, Group, group_rows
from common.studies.plan import Plan
from common.studies.results import Results, Row
from common.studies.statistics import PairedDifference

PROTOCOL = "imp"


@dataclass(frozen=True)
class TaskSearch:
    """A search on a task.

    Attributes:
        name: of the search in the study file.
        first: a result that stands for what its runs share.
        groups: the seeds of every round, by round; `winning` is the verdict against round 0, which is dense; none
            where a round had more training behind it.
        against: for every other search on the same task with the same labels, the paired difference at each round that both have
            (this one minus the other); None with fewer than 3 pairs, or where a source saw the target's labels.
    """

    name: str
    first: Row
    groups: tuple[Group, ...]
    against: Mapping[str, Mapping[int, PairedDifference | None]]


def task_searches(plan: Plan, results: Results) -> list[TaskSearch]:
    """Analyse the searches whose rounds were measured on a task."""
    found: dict[str, tuple[Row, tuple[Group, ...]]] = {}
    for search in plan.study.searches:
        rows = [row for row in results.of(search.name) if row.result["protocol"] == PROTOCOL]
        if rows:
            found[search.name] = rows[0], _judged(_groups(rows), higher=bool(rows[0].result["higher_is_better"]))
    return [
        TaskSearch(name, first, groups, {other: _against(groups, found[other][1]) for other in _rivals(name, found)})
        for name, (first, groups) in found.items()
    ]


def _groups(rows: Sequence[Row]) -> list[Group]:
    rounds = sorted({row.round for row in rows if row.round is not None})
    of = {number: [row for row in rows if row.round == number] for number in rounds}
    return [group_rows(seeds, str(seeds[0].result["control"]), number) for number, seeds in of.items()]


def _judged(groups: Sequence[Group], *, higher: bool) -> tuple[Group, ...]:
    dense = next((group for group in groups if group.round == 0), None)

    def verdict(group: Group) -> str | None:
        if group.round == 0:
            return None
        if dense is None:
            return statistics.FEW
        if group.saw_target or group.dense_less_trained:
            return NO_VERDICT
        return statistics.winning(list(group.values.values()), list(dense.values.values()), higher_is_better=higher)

    return tuple(replace(group, winning=verdict(group)) for group in groups)


def _rivals(name: str, found: Mapping[str, tuple[Row, tuple[Group, ...]]]) -> list[str]:
    """Return the other searches that were measured on the same images by the same metric, with as many labels."""
    own, keys = found[name][0], ("data", "split", "metric", "labels", "higher_is_better")
    return [other for other, (row, _) in found.items() if other != name and all(row.alike(key) == own.alike(key) for key in keys)]


def _against(own: Sequence[Group], others: Sequence[Group]) -> dict[int, PairedDifference | None]:
    """Compare round by round: rounds of equal number keep equally much where the searches have one rate, and are named by it."""
    by_round = {group.round: group for group in others}
    pairs = {group.round: (group, by_round[group.round]) for group in own if group.round is not None and group.round in by_round}
    alike = {number: pair for number, pair in pairs.items() if abs(pair[0].density - pair[1].density) <= 0.01 * pair[0].density}
    return {
        number: None if one.saw_target or other.saw_target else statistics.paired_difference(one.values, other.values)
        for number, (one, other) in alike.items()
        if number is not None
    }
