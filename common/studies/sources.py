"""Several sources on one task: their levels side by side, and the differences between sources, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from common.files import canonical_json
from common.studies import statistics
from common.studies.analysis import NO_VERDICT, Finding, Group
from common.studies.plan import Plan
from common.studies.results import Note, Results

DENSITY_TOLERANCE = 0.01
"""Levels whose densities differ by less than this part of the larger one are the same level."""


@dataclass(frozen=True)
class SourceDifference:
    """One source against another at one level; `difference` is one minus other over the seeds that both have.

    Attributes:
        one: the search whose tickets the first arm starts from.
        other: the search of the second arm.
        control: ticket, or dense at density 1.
        density: kept fraction.
        n: pairs.
        difference: mean of the differences; None with fewer than 3 pairs, or where a source saw the target.
        interval: its 95% confidence interval, not adjusted; None without a test.
        p: two-sided; None without a test.
        p_holm: adjusted for all comparisons of the task that were tested.
        verdict: ABOVE, BELOW, NOT_SHOWN, NO_SPREAD, FEW or NO_VERDICT.
    """

    one: str
    other: str
    control: str
    density: float
    n: int
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None
    p_holm: float | None
    verdict: str


@dataclass(frozen=True)
class SourceTask:
    """One task from several sources: a finding for each of them, and the differences of every two."""

    name: str
    findings: tuple[Finding, ...]
    differences: tuple[SourceDifference, ...]

    @property
    def tests(self) -> int:
        """How many comparisons were tested, for which Holm adjusts."""
        return sum(difference.p is not None for difference in self.differences)


def source_tasks(findings: Sequence[Finding]) -> list[SourceTask]:
    """Bring the findings of every task that has several sources together."""
    tasks: dict[str, list[Finding]] = {}
    for finding in findings:
        tasks.setdefault(finding.transfer.written, []).append(finding)
    return [SourceTask(name, tuple(found), tuple(_differences(found))) for name, found in tasks.items() if len(found) > 1]


def is_same_level(one: float, other: float) -> bool:
    """Say whether two densities, each in (0, 1], are the same level."""
    return abs(one - other) <= DENSITY_TOLERANCE * max(one, other)


def levels(groups: Sequence[Group]) -> list[float]:
    """Return the densities of groups, one for each level, the densest first."""
    found: list[float] = []
    for density in sorted((group.density for group in groups), reverse=True):
        if not found or not is_same_level(found[-1], density):
            found.append(density)
    return found


def at_level(groups: Sequence[Group], density: float) -> Group | None:
    """Return the group of one arm at a level: the nearest in density; None where there is none."""
    near = [group for group in groups if is_same_level(group.density, density)]
    return min(near, key=lambda group: abs(group.density - density), default=None)


def source_notes(plan: Plan, results: Results) -> list[Note]:
    """Name tasks whose sources were found on different data: differences between them are not of the method alone."""
    notes = []
    for name, transfers in plan.study.tasks.items():
        used: dict[str, list[str]] = {}
        for transfer in transfers:
            for data in {canonical_json(row.result["data"]) for row in results.of(transfer.source)}:
                used.setdefault(data, []).append(transfer.source)
        if len(used) > 1:
            said = "; ".join(f"{', '.join(sources)} on {data}" for data, sources in used.items())
            notes.append(
                Note("flagged", name, f"its sources were found on different data, which may explain differences: {said}")
            )
    return notes


@dataclass(frozen=True)
class _Pair:
    """The same arm of two sources at the same level."""

    one: Finding
    other: Finding
    first: Group
    second: Group

    @property
    def saw_target(self) -> bool:
        """Whether a source saw the target's classes, with their labels or without."""
        return any(group.saw_target or group.saw_images for group in (self.first, self.second))


def _differences(findings: Sequence[Finding]) -> list[SourceDifference]:
    pairs = [
        _Pair(one, other, first, second)
        for one, other in combinations(findings, 2)
        for control in ("dense", "ticket")
        for first in one.arm(control)
        if (second := at_level(other.arm(control), first.density)) is not None
    ]
    tests = [None if pair.saw_target else statistics.paired_difference(pair.first.values, pair.second.values) for pair in pairs]
    chances = {place: test.p for place, test in enumerate(tests) if test is not None and test.p is not None}
    adjusted = dict(zip(chances, statistics.holm(list(chances.values())), strict=True))
    return [_difference(pair, tests[place], adjusted.get(place)) for place, pair in enumerate(pairs)]


def _difference(pair: _Pair, test: statistics.PairedDifference | None, p_holm: float | None) -> SourceDifference:
    return SourceDifference(
        pair.one.transfer.source,
        pair.other.transfer.source,
        pair.first.control,
        pair.first.density,
        len(pair.first.values.keys() & pair.second.values.keys()),
        test.difference if test is not None else None,
        test.interval if test is not None else None,
        test.p if test is not None else None,
        p_holm,
        _verdict(pair, test, p_holm),
    )


def _verdict(pair: _Pair, test: statistics.PairedDifference | None, p_holm: float | None) -> str:
    if pair.saw_target:
        return NO_VERDICT
    if test is None:
        return statistics.FEW
    if p_holm is None:
        return statistics.NO_SPREAD
    if p_holm >= statistics.ALPHA:
        return statistics.NOT_SHOWN
    return statistics.ABOVE if test.difference > 0 else statistics.BELOW
