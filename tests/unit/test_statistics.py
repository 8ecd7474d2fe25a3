"""Intervals over seeds, held against scipy and against examples worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memdt.results.statistics import (
    Interval,
    difference_interval,
    interval,
    variance_ratio_interval,
)

SCORES = [0.91, 0.88, 0.97, 0.79, 0.93]


def test_interval_is_students_t_by_hand():
    # mean 2, standard deviation 1, three seeds: 4.30265 / sqrt(3) on either side
    found = interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.seeds == 3
    assert found.high - found.mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.mean - found.low == pytest.approx(found.reach)


@given(
    values=st.lists(st.floats(-5, 5), min_size=2, max_size=12).filter(
        lambda seen: np.std(seen) > 1e-3
    ),
    confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_interval_agrees_with_scipy(values, confidence):
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    found = interval(values, confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_borders_are_clipped_only_when_bounds_are_told():
    free, clipped = interval(SCORES), interval(SCORES, bounds=(0.0, 0.95))
    assert free.high > 0.95
    assert clipped.high == 0.95
    assert clipped.low == free.low
    assert clipped.reach == free.reach  # the unclipped side still tells how wide it is


def test_no_seed_and_one_seed_have_no_borders():
    nothing, single = interval([]), interval([0.7])
    assert nothing.seeds == 0
    assert math.isnan(nothing.mean)
    assert (single.mean, single.seeds) == (0.7, 1)
    assert math.isnan(single.low)
    assert math.isnan(single.high)
    assert not single.contains(0.7)
    assert not single.overlaps(Interval(0.7, 0.0, 1.0, 5))


def test_seeds_that_agree_give_zero_width():
    found = interval([0.1, 0.1, 0.1])  # their floating-point mean is not exactly 0.1
    assert found.high - found.low == 0.0
    assert interval([1.0, 1.0, 1.0]) == Interval(1.0, 1.0, 1.0, 3)


def test_a_nan_among_the_seeds_is_not_hidden():
    found = interval([0.5, math.nan, 0.6])
    assert math.isnan(found.mean)
    assert not found.contains(0.5)


def test_same_seeds_are_compared_pairwise():
    left, right = {0: 0.9, 1: 0.5, 2: 0.7}, {2: 0.6, 0: 0.8, 1: 0.4}
    found = difference_interval(left, right)
    assert found.mean == pytest.approx(0.1)
    assert found.reach == pytest.approx(0.0, abs=1e-12)  # Welch would reach farther than 0.5
    assert found.seeds == 3


def test_other_seeds_are_compared_by_welch():
    left = dict(enumerate([0.9, 0.5, 0.7, 0.8]))
    right = {10: 0.2, 11: 0.6, 12: 0.35}
    welch = stats.ttest_ind(list(left.values()), list(right.values()), equal_var=False)
    expected = welch.confidence_interval()
    found = difference_interval(left, right)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.seeds == 3


def test_welch_without_any_spread_has_zero_width():
    found = difference_interval({0: 1.0, 1: 1.0, 2: 1.0}, {3: 0.5, 4: 0.5, 5: 0.5})
    assert (found.low, found.high) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("left", "right", "seeds"),
    [
        ({}, {0: 1.0, 1: 0.5}, 0),
        ({5: 1.0}, {0: 1.0, 1: 0.5}, 1),
        ({}, {}, 0),
        ({0: 1.0}, {0: 0.0}, 1),
    ],
)
def test_too_few_seeds_leave_a_difference_open(left, right, seeds):
    found = difference_interval(left, right)
    assert found.seeds == seeds
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_variance_ratio_inverts_the_f_test():
    left, right = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 5.0, 1.0, 9.0, 4.0])
    found = variance_ratio_interval(left, right)
    assert found.mean == pytest.approx(left.var(ddof=1) / right.var(ddof=1))
    # a true ratio at the upper border would show a sample ratio this small in 2.5 % of all cases
    assert stats.f.cdf(found.mean / found.high, 3, 4) == pytest.approx(0.025)
    assert stats.f.cdf(found.mean / found.low, 3, 4) == pytest.approx(0.975)


def test_variance_ratio_of_constant_seeds():
    varied = [0.1, 0.5, 0.4]
    assert variance_ratio_interval([1.0, 1.0, 1.0], varied).high == 0.0
    assert math.isnan(variance_ratio_interval(varied, [1.0, 1.0, 1.0]).mean)
    assert math.isnan(variance_ratio_interval([0.3], varied).low)
