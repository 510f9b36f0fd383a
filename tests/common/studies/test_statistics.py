"""Rules against hand-worked cases and scipy."""

from __future__ import annotations

import math
import statistics as standard

import numpy as np
import pytest
from scipy import stats

from common.errors import InputError
from common.studies import statistics
from common.studies.statistics import (
    FEW,
    NOT_WINNING,
    WINNING,
    holm,
    paired_difference,
    paired_test,
    separation,
    spread,
    winning,
    winning_levels,
)


def test_the_spread_is_that_of_the_standard_library_with_ddof_1():
    values = [0.61, 0.58, 0.66, 0.6]
    told = spread(values)
    assert told.n == 4
    assert told.mean == pytest.approx(standard.mean(values), abs=1e-15)
    assert told.deviation == pytest.approx(standard.stdev(values), abs=1e-15)
    assert told.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-15)


def test_one_value_has_no_deviation_and_nothing_or_nan_has_no_spread():
    assert spread([0.5]).deviation is None
    for bad in ([], [math.nan], [math.inf]):
        with pytest.raises(InputError):
            spread(bad)


def test_equality_wins_whatever_the_rounding():
    # mean(dense) = .7, s = .1: the threshold is .6, in floating point 0.6000000000000001.
    assert winning([0.6], [0.6, 0.7, 0.8]) == WINNING
    assert winning([0.599999], [0.6, 0.7, 0.8]) == NOT_WINNING


def test_the_deviation_is_of_the_sample():
    # s with ddof 1 is 1/sqrt(2) = .7071 of s0 = .1 less with ddof 0: a ticket at .7 - .09 tells them apart.
    assert winning([0.61], [0.6, 0.7, 0.8]) == WINNING
    assert np.std([0.6, 0.7, 0.8]) < 0.7 - 0.61


def test_fewer_than_three_dense_seeds_are_not_enough_however_good_the_ticket():
    assert winning([1.0, 1.0, 1.0], [0.1, 0.2]) == FEW
    assert winning([], [0.1, 0.2, 0.3]) == FEW


def test_where_lower_is_better_the_sign_flips():
    dense = [0.2, 0.3, 0.4]
    assert winning([0.4], dense, higher_is_better=False) == WINNING
    assert winning([0.41], dense, higher_is_better=False) == NOT_WINNING
    assert winning([0.01], dense, higher_is_better=False) == WINNING


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([WINNING, WINNING, NOT_WINNING], (1, 1)),
        ([WINNING, NOT_WINNING, WINNING], (2, 0)),
        ([NOT_WINNING, WINNING], (1, None)),
        ([NOT_WINNING, NOT_WINNING], (None, None)),
        ([WINNING, None, WINNING], (2, 0)),
        ([WINNING, WINNING], (1, 1)),
        ([FEW, FEW], (None, None)),
        ([], (None, None)),
    ],
)
def test_the_largest_winning_level_and_the_largest_without_a_gap(verdicts, expected):
    assert winning_levels(verdicts) == expected


def test_holm_on_a_published_example():
    # Wikipedia, "Holm-Bonferroni method": .01, .04, .03, .005 at .05 rejects the fourth and the first only.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-12)
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("higher", [True, False])
def test_non_inferiority_is_scipys_one_sided_t_test(higher):
    ticket, dense = {0: 0.61, 1: 0.55, 2: 0.60, 3: 0.58}, {0: 0.60, 1: 0.57, 2: 0.59, 3: 0.60, 7: 0.1}
    test = paired_test(ticket, dense, 0.02, higher_is_better=higher)
    differences = [(1 if higher else -1) * (ticket[seed] - dense[seed]) for seed in range(4)]
    oracle = stats.ttest_1samp(differences, -0.02, alternative="greater")
    assert test is not None
    assert test.n == 4
    assert test.p == pytest.approx(oracle.pvalue, rel=1e-9)
    assert test.bound == pytest.approx(oracle.confidence_interval(0.95).low, rel=1e-9)
    assert (test.bound > -0.02) == (test.p < statistics.ALPHA)


def test_non_inferiority_by_hand():
    # Differences .01, .02, .03: mean .02, s .01, t(.95, 2) = 2.919986; bound .02 - 2.919986 * .01 / sqrt(3).
    test = paired_test({0: 0.51, 1: 0.52, 2: 0.53}, {0: 0.5, 1: 0.5, 2: 0.5}, 0.02)
    assert test is not None
    assert test.bound == pytest.approx(0.02 - 2.919986 * 0.01 / math.sqrt(3), abs=1e-7)


def test_too_few_pairs_are_no_test():
    assert paired_test({0: 0.5, 1: 0.6, 5: 0.1}, {0: 0.5, 1: 0.6, 2: 0.7}, 0.02) is None
    assert paired_difference({0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6, 2: 0.7}) is None


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.02, -0.3])
def test_equal_differences_say_nothing_of_their_spread(shift):
    # Without spread the t statistic is a division by zero: neither certainty nor its opposite follows from it.
    dense = {0: 0.5, 1: 0.6, 2: 0.7}
    ticket = {seed: value + shift for seed, value in dense.items()}
    test = paired_test(ticket, dense, 0.02)
    assert test is not None
    assert (test.n, test.bound, test.p) == (3, None, None)
    assert test.difference == pytest.approx(shift)
    both_ways = paired_difference(ticket, dense)
    assert both_ways is not None
    assert (both_ways.n, both_ways.interval, both_ways.p) == (3, None, None)
    assert both_ways.difference == pytest.approx(shift)


def test_the_paired_difference_is_scipys_paired_t_test():
    one, other = {0: 0.61, 1: 0.55, 2: 0.60, 3: 0.68}, {0: 0.60, 1: 0.57, 2: 0.50, 3: 0.60, 7: 0.1}
    test = paired_difference(one, other)
    oracle = stats.ttest_rel([one[seed] for seed in range(4)], [other[seed] for seed in range(4)])
    interval = oracle.confidence_interval(0.95)
    assert test is not None
    assert test.interval is not None
    assert test.n == 4
    assert test.p == pytest.approx(oracle.pvalue, rel=1e-9)
    assert test.interval == pytest.approx((interval.low, interval.high), rel=1e-9)
    turned = paired_difference(other, one)
    assert turned is not None
    assert turned.p == pytest.approx(test.p, rel=1e-12)
    assert turned.interval == pytest.approx((-test.interval[1], -test.interval[0]), rel=1e-12)


def test_the_paired_difference_by_hand():
    # Differences .01, .02, .03: mean .02, s .01, t(.975, 2) = 4.302653: .02 +- 4.302653 * .01 / sqrt(3); t = 3.4641.
    test = paired_difference({0: 0.51, 1: 0.52, 2: 0.53}, {0: 0.5, 1: 0.5, 2: 0.5})
    assert test is not None
    reach = 4.302653 * 0.01 / math.sqrt(3)
    assert test.interval == pytest.approx((0.02 - reach, 0.02 + reach), abs=1e-8)
    # Two degrees of freedom have a closed form: the two-sided p is 1 - t / sqrt(2 + t^2).
    t = 0.02 / (0.01 / math.sqrt(3))
    assert test.p == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-9)


def test_separation_by_hand():
    # The specification's ticket .568 +- .028 and random .411 +- .038: .157 apart, deviations together .066.
    ticket, random = [0.540, 0.568, 0.596], [0.373, 0.411, 0.449]
    assert spread(ticket).deviation == pytest.approx(0.028)
    assert separation(ticket, random) == statistics.ABOVE
    assert separation(random, ticket) == statistics.BELOW
    assert separation([0.5, 0.6, 0.7], [0.3, 0.4, 0.5]) == statistics.TOGETHER  # .2 apart, deviations together .2
    assert separation([0.5, 0.6], [0.1, 0.1, 0.1]) == FEW
