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
NO_SPREAD = "no test"
"""The differences of all pairs are equal: they carry no information about their spread, so there is nothing to test with."""

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
        bound: one-sided 95% lower confidence bound of the difference; None where all differences are equal.
        p: probability of such a difference or a larger one if the true one were -margin; None where all are equal.
    """

    n: int
    difference: float
    deviation: float
    bound: float | None
    p: float | None


@dataclass(frozen=True)
class PairedDifference:
    """Two-sided test that a paired difference is not 0.

    Attributes:
        n: pairs.
        difference: mean of one - other, in the unit of the values.
        deviation: sample standard deviation of the differences.
        interval: 95% confidence interval of the difference, not adjusted for others; None where all differences are equal.
        p: probability of a difference as far from 0 or further if the true one were 0; None where all are equal.
    """

    n: int
    difference: float
    deviation: float
    interval: tuple[float, float] | None
    p: float | None


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
    """Test non-inferiority by the t distribution, over the seeds that both have.

    Args:
        ticket: value of every seed.
        dense: value of every seed.
        margin: what may be lost, > 0, in the unit of the values.
        higher_is_better: False flips the sign of the differences.

    Returns:
        The test, or None with fewer than 3 pairs. Differences that are all equal say nothing of their spread: bound and p are
        None.
    """
    from scipy.special import stdtr, stdtrit

    told = _differences(ticket, dense, 1.0 if higher_is_better else -1.0)
    if told is None or told.deviation is None:
        return None
    error = _standard_error(told)
    if error is None:
        return PairedTest(told.n, told.mean, told.deviation, None, None)
    bound = told.mean - float(stdtrit(told.n - 1, 1 - ALPHA)) * error
    return PairedTest(told.n, told.mean, told.deviation, bound, float(stdtr(told.n - 1, -(told.mean + margin) / error)))


def paired_difference(one: Mapping[int, float], other: Mapping[int, float]) -> PairedDifference | None:
    """Test by the t distribution, over the seeds that both have, whether two means differ.

    Returns:
        The test, or None with fewer than 3 pairs. Differences that are all equal say nothing of their spread: interval and p
        are None.
    """
    from scipy.special import stdtr, stdtrit

    told = _differences(one, other, 1.0)
    if told is None or told.deviation is None:
        return None
    error = _standard_error(told)
    if error is None:
        return PairedDifference(told.n, told.mean, told.deviation, None, None)
    reach = float(stdtrit(told.n - 1, 1 - ALPHA / 2)) * error
    p = 2 * float(stdtr(told.n - 1, -abs(told.mean) / error))
    return PairedDifference(told.n, told.mean, told.deviation, (told.mean - reach, told.mean + reach), p)


def _differences(one: Mapping[int, float], other: Mapping[int, float], sign: float) -> Spread | None:
    """Summarise the differences over the seeds that both have; None with fewer than 3."""
    pairs = sorted(one.keys() & other.keys())
    return spread([sign * (one[seed] - other[seed]) for seed in pairs]) if len(pairs) >= MIN_SEEDS else None


def _standard_error(differences: Spread) -> float | None:
    """Return the standard error of the mean; None where all differences are equal but for rounding."""
    assert differences.deviation is not None
    error = differences.deviation / math.sqrt(differences.n)
    return error if error > _ROUNDING else None


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
