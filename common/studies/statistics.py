"""The rules by which a study speaks: winning, non-inferiority, separation. Values are lists of one number per seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.errors import InputError

MIN_SEEDS = 3
ALPHA = 0.05
FEW = "not enough seeds"
WINNING, NOT_WINNING = "winning", "not winning"
ABOVE, BELOW, TOGETHER = "above", "below", "not separated"
NON_INFERIOR, NOT_SHOWN = "non-inferior", "not shown"

_ROUNDING = 1e-9
"""Means and deviations of fractions carry rounding errors of about 1e-16; without this, equality would win by chance."""


@dataclass(frozen=True)
class Spread:
    """Number of values, their mean, and their sample standard deviation (ddof 1; None for one value)."""

    n: int
    mean: float
    deviation: float | None


@dataclass(frozen=True)
class PairedTest:
    """One-sided test that a paired difference lies above -margin.

    Attributes:
        n: pairs.
        difference: mean of ticket - dense, in the direction in which larger is better.
        deviation: sample standard deviation of the differences.
        bound: one-sided 95% lower confidence bound of the difference.
        p: probability of such a difference or a larger one if the true one were -margin.
    """

    n: int
    difference: float
    deviation: float
    bound: float
    p: float


def spread(values: Sequence[float]) -> Spread:
    """Summarise the values of the seeds.

    Raises:
        InputError: no values, or one that is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise InputError(f"expected at least one finite value, got {list(values)}")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Spread(1, mean, None)
    return Spread(len(values), mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)))


def winning(ticket: Sequence[float], dense: Sequence[float], *, higher_is_better: bool = True) -> str:
    """Apply the rule of Chen et al. 2021, footnote 7: mean(ticket) >= mean(dense) - s, s of the dense seeds; equality wins.

    Returns:
        WINNING, NOT_WINNING, or FEW with fewer than 3 dense seeds.
    """
    if len(dense) < MIN_SEEDS or not ticket:
        return FEW
    reference = spread(dense)
    assert reference.deviation is not None
    sign = 1.0 if higher_is_better else -1.0
    ahead = sign * (spread(ticket).mean - reference.mean) + reference.deviation
    return WINNING if ahead >= -_ROUNDING else NOT_WINNING


def winning_levels(verdicts: Sequence[str | None]) -> tuple[int | None, int | None]:
    """Find how far a curve wins.

    Args:
        verdicts: of the levels from the densest to the sparsest; None where a level has no result.

    Returns:
        The index of the sparsest winning level, and of the sparsest one before which every level wins too; None: none.
    """
    won = [index for index, verdict in enumerate(verdicts) if verdict == WINNING]
    unbroken = next((index for index, verdict in enumerate(verdicts) if verdict != WINNING), len(verdicts))
    return (won[-1] if won else None), (unbroken - 1 if unbroken else None)


def paired_test(
    ticket: Mapping[int, float], dense: Mapping[int, float], margin: float, *, higher_is_better: bool = True
) -> PairedTest | None:
    """Test non-inferiority over the seeds that both have, by the t distribution.

    Args:
        ticket: value of every seed.
        dense: value of every seed.
        margin: what may be lost, > 0, in the unit of the values.
        higher_is_better: False flips the sign of the differences.

    Returns:
        The test, or None with fewer than 3 pairs.
    """
    from scipy.special import stdtr, stdtrit

    sign = 1.0 if higher_is_better else -1.0
    differences = [sign * (ticket[seed] - dense[seed]) for seed in sorted(ticket.keys() & dense.keys())]
    if len(differences) < MIN_SEEDS:
        return None
    told = spread(differences)
    assert told.deviation is not None
    error = told.deviation / math.sqrt(told.n)
    if error <= _ROUNDING:
        return PairedTest(told.n, told.mean, told.deviation, told.mean, 0.0 if told.mean + margin > _ROUNDING else 1.0)
    bound = told.mean - float(stdtrit(told.n - 1, 1 - ALPHA)) * error
    return PairedTest(told.n, told.mean, told.deviation, bound, float(stdtr(told.n - 1, -(told.mean + margin) / error)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down procedure (Holm 1979); compare the result with ALPHA.

    Args:
        p_values: in any order, each in [0, 1].

    Returns:
        Adjusted p-values in the same order, in [0, 1], never in another order of size than the given ones.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def separation(values: Sequence[float], others: Sequence[float]) -> str:
    """Say whether two means lie further apart than their sample standard deviations together.

    Returns:
        ABOVE or BELOW (which of them is better is the metric's affair), TOGETHER, or FEW if either has fewer than 3 seeds.
    """
    if min(len(values), len(others)) < MIN_SEEDS:
        return FEW
    one, other = spread(values), spread(others)
    assert one.deviation is not None
    assert other.deviation is not None
    difference = one.mean - other.mean
    if abs(difference) <= one.deviation + other.deviation + _ROUNDING:
        return TOGETHER
    return ABOVE if difference > 0 else BELOW
