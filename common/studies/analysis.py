"""From results to findings: groups of seeds, winning levels, comparisons with controls and floors, non-inferiority."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.studies import statistics
from common.studies.plan import Plan
from common.studies.results import Results, Row
from common.studies.study import Transfer
from common.studies.words import UNPRUNED, WHOLE

NO_VERDICT = "no verdict"
"""The source saw the target's labels, or dense had less training: numbers are shown, nothing is concluded."""
NO_RESULT = "no result"


@dataclass(frozen=True)
class Group:
    """The seeds of one arm at one round, or of one floor.

    Attributes:
        control: the arm, or the floor's name.
        round: of the ticket; None for a floor.
        density: kept fraction, mean over seeds.
        values: value of every seed.
        mean: of the values.
        deviation: sample standard deviation; None for one seed.
        flags: of any of the runs.
        winning: verdict against dense of the same transfer; None where the question has no meaning.
    """

    control: str
    round: int | None
    density: float
    values: Mapping[int, float]
    mean: float
    deviation: float | None
    flags: tuple[str, ...]
    winning: str | None = None

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def spread(self) -> statistics.Spread:
        """Number, mean and deviation of the values."""
        return statistics.Spread(self.n, self.mean, self.deviation)

    @property
    def saw_target(self) -> bool:
        """Whether a source saw the target's labels."""
        return "source_saw_target" in self.flags

    @property
    def saw_images(self) -> bool:
        """Whether a source saw images of the target's classes, without labels."""
        return "source_saw_images" in self.flags

    @property
    def dense_less_trained(self) -> bool:
        """Whether a round of a search on a task had more training behind it than its round 0."""
        return "dense_less_trained" in self.flags


@dataclass(frozen=True)
class Curve:
    """How far an arm wins: the density of its sparsest winning level, and of the sparsest without a gap before it; None: nowhere.

    `verdict` is empty, or says why there is none. `levels` counts levels with a result, `planned` those asked for.
    """

    control: str
    largest: float | None
    without_gap: float | None
    levels: int
    planned: int
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """The ticket against another arm or a floor at one round.

    Attributes:
        round: of the ticket.
        ticket: its results.
        other: those of the arm or floor.
        is_floor: it is a floor.
        relation: by their means and standard deviations, in words.
        difference: mean of the ticket minus mean of the other.
        interval: 95% confidence interval of the difference paired over the seeds, not adjusted; None with fewer than 3 pairs.
    """

    round: int
    ticket: Group
    other: Group
    is_floor: bool
    relation: str
    difference: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class NonInferiority:
    """The paired test of one level.

    `p_holm` is adjusted for the levels of the transfer that were tested. Without a test, bound and both p are None: with fewer
    than 3 pairs, where the source saw the target's labels (the difference is None too), or where all differences are equal.
    """

    round: int
    density: float
    n: int
    difference: float | None
    bound: float | None
    p: float | None
    p_holm: float | None
    verdict: str


@dataclass(frozen=True)
class Finding:
    """All that one transfer shows; `first` is a result that stands for what its runs share."""

    transfer: Transfer
    first: Row | None
    groups: tuple[Group, ...]
    floors: tuple[Group, ...]
    curves: tuple[Curve, ...]
    comparisons: tuple[Comparison, ...]
    non_inferiority: tuple[NonInferiority, ...]

    @property
    def higher_is_better(self) -> bool:
        """The direction of the metric."""
        return self.first is None or bool(self.first.result["higher_is_better"])

    def arm(self, control: str) -> list[Group]:
        """Groups of one arm, by round."""
        return sorted((group for group in self.groups if group.control == control), key=lambda group: group.round or 0)

    @property
    def dense(self) -> Group | None:
        """The dense runs, if there are any."""
        return next(iter(self.arm("dense")), None)


def findings(plan: Plan, results: Results) -> list[Finding]:
    """Analyse every transfer of a study."""
    return [_finding(plan, transfer, results) for transfer in plan.study.transfers]


def group_rows(rows: Sequence[Row], control: str, round_: int | None) -> Group:
    """Bring the seeds of one arm and round together."""
    values = {row.job.seed: row.value for row in rows}
    told = statistics.spread(list(values.values()))
    density = math.fsum(row.density for row in rows) / len(rows)
    flags = sorted({str(flag) for row in rows for flag in row.result["flags"]})
    return Group(control, round_, density, values, told.mean, told.deviation, tuple(flags))


def _finding(plan: Plan, transfer: Transfer, results: Results) -> Finding:
    rows = results.of(transfer.name)
    groups = _with_winning(_groups(transfer, rows), higher=not rows or bool(rows[0].result["higher_is_better"]))
    first = rows[0] if rows else None
    floors = [
        group_rows(found, floor.name, None)
        for floor in plan.study.floors
        if (found := _comparable(results.of(floor.name), first))
    ]
    higher = first is None or bool(first.result["higher_is_better"])
    return Finding(
        transfer,
        first,
        tuple(groups),
        tuple(floors),
        tuple(_curve(transfer, control, groups) for control, _ in transfer.arms if control not in UNPRUNED),
        tuple(_comparisons(groups, floors)),
        tuple(_non_inferiority(groups, plan.study.margin, higher=higher)),
    )


def _groups(transfer: Transfer, rows: Sequence[Row]) -> list[Group]:
    asked = [(control, round_) for control, rounds in transfer.arms for round_ in sorted(rounds)]
    found = {key: [row for row in rows if (row.job.control, row.round) == key] for key in asked}
    return [group_rows(seeds, *key) for key, seeds in found.items() if seeds]


def _comparable(rows: Sequence[Row], first: Row | None) -> list[Row]:
    """A floor belongs to a transfer if both were measured on the same images with the same labels; the protocol may differ."""
    keys = ("data", "split", "metric", "labels", "higher_is_better")
    return [row for row in rows if first is not None and all(row.alike(key) == first.alike(key) for key in keys)]


def _with_winning(groups: Sequence[Group], *, higher: bool) -> list[Group]:
    dense = next((group for group in groups if group.control == "dense"), None)
    return [_judged(group, dense, higher) for group in groups]


def _judged(group: Group, dense: Group | None, higher: bool) -> Group:
    if group.control in UNPRUNED or group.round == 0:
        return group
    if dense is None:
        verdict = statistics.FEW
    elif group.saw_target or dense.saw_target:
        verdict = NO_VERDICT
    else:
        verdict = statistics.winning(list(group.values.values()), list(dense.values.values()), higher_is_better=higher)
    return Group(**{**group.__dict__, "winning": verdict})


def _curve(transfer: Transfer, control: str, groups: Sequence[Group]) -> Curve:
    """Find how far an arm wins; a planned level without a result is a gap."""
    planned = [round_ for round_ in sorted(dict(transfer.arms)[control]) if round_ > 0]
    if control == "reversed":
        planned.reverse()  # the denser the ticket, the sparser what it throws away
    found = {group.round: group for group in groups if group.control == control and group.round}
    verdicts = [found[round_].winning if round_ in found else None for round_ in planned]
    last, unbroken = statistics.winning_levels(verdicts)
    density = lambda index: None if index is None else found[planned[index]].density
    told = {verdict for verdict in verdicts if verdict is not None}
    why = next((verdict for verdict in (NO_VERDICT, statistics.FEW) if verdict in told), "" if told else NO_RESULT)
    return Curve(control, density(last), density(unbroken), len(found), len(planned), why)


def _comparisons(groups: Sequence[Group], floors: Sequence[Group]) -> list[Comparison]:
    tickets = [group for group in groups if group.control == "ticket" and group.round]
    made = []
    for ticket in tickets:
        others = [
            group for group in groups if group.control != "ticket" and (group.round == ticket.round or group.control in WHOLE)
        ]
        made += [_comparison(ticket, other, False) for other in others]
        made += [_comparison(ticket, floor, True) for floor in floors]
    return made


def _comparison(ticket: Group, other: Group, is_floor: bool) -> Comparison:
    assert ticket.round is not None
    if ticket.saw_target or other.saw_target:
        relation = NO_VERDICT
    else:
        relation = statistics.separation(list(ticket.values.values()), list(other.values.values()))
    paired = statistics.paired_difference(ticket.values, other.values)
    interval = paired.interval if paired is not None else None
    return Comparison(ticket.round, ticket, other, is_floor, relation, ticket.mean - other.mean, interval)


def _non_inferiority(groups: Sequence[Group], margin: float, *, higher: bool) -> list[NonInferiority]:
    dense = next((group for group in groups if group.control == "dense"), None)
    tickets = [group for group in groups if group.control == "ticket" and group.round]
    if dense is None:
        return []
    tests = {
        ticket.round: None if ticket.saw_target or dense.saw_target
        else statistics.paired_test(ticket.values, dense.values, margin, higher_is_better=higher)
        for ticket in tickets
    }  # fmt: skip
    chances = {round_: test.p for round_, test in tests.items() if test is not None and test.p is not None}
    adjusted = dict(zip(chances, statistics.holm(list(chances.values())), strict=True))
    return [_level(ticket, dense, tests[ticket.round], adjusted.get(ticket.round)) for ticket in tickets]


def _level(ticket: Group, dense: Group, test: statistics.PairedTest | None, adjusted: float | None) -> NonInferiority:
    assert ticket.round is not None
    if test is None:
        verdict = NO_VERDICT if ticket.saw_target or dense.saw_target else statistics.FEW
        pairs = len(ticket.values.keys() & dense.values.keys())
        return NonInferiority(ticket.round, ticket.density, pairs, None, None, None, None, verdict)
    if adjusted is None:
        verdict = statistics.NO_SPREAD
    else:
        verdict = statistics.NON_INFERIOR if adjusted < statistics.ALPHA else statistics.NOT_SHOWN
    return NonInferiority(ticket.round, ticket.density, test.n, test.difference, test.bound, test.p, adjusted, verdict)
