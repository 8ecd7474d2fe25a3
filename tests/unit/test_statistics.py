"""Intervals over seeds, held against scipy and against examples worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memdt.results.bounded_mean import fewest_equal_values, p_mean_above, p_mean_below
from memdt.results.statistics import (
    Interval,
    difference_interval,
    differences,
    holm,
    interquartile_mean,
    interval,
    performance_profile,
    share_interval,
    stratified_interquartile_interval,
    variances_of_pairs,
)

SCORES = [0.91, 0.88, 0.97, 0.79, 0.93]


def test_interval_is_students_t_by_hand():
    # mean 2, standard deviation 1, three seeds: 4.30265 / sqrt(3) on either side
    estimate = interval([1.0, 2.0, 3.0])
    assert estimate.mean == 2.0
    assert estimate.seeds == 3
    assert estimate.high - estimate.mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert estimate.mean - estimate.low == pytest.approx(estimate.reach)


@given(
    values=st.lists(st.floats(-5, 5), min_size=2, max_size=5).filter(
        lambda seen: np.std(seen) > 1e-3
    ),
    confidence=st.sampled_from([0.95, 0.99]),
)
def test_interval_without_bounds_agrees_with_scipy(values, confidence):
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    estimate = interval(values, confidence)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_from_six_seeds_on_the_order_statistics_widen_it():
    values = [0.0, *[1.0] * 8, 1.01]  # Student's upper border lies below the largest value but one
    student = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    estimate = interval(values)
    assert estimate.low == pytest.approx(student.low)
    assert interval([0.0, 1.0, 1.0, 1.0, 1.0, 1.0]).low == pytest.approx(
        min(0.0, stats.ttest_1samp([0, 1, 1, 1, 1, 1], 0).confidence_interval(0.95).low)
    )
    skewed = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, -9.0]
    assert interval(skewed, 0.5).high >= 1.5  # the median's, for Student's border is below


def test_three_equal_successes_say_at_least_029():
    """Clopper and Pearson: 0.025 to the power of a third."""
    estimate = interval([1.0, 1.0, 1.0], bounds=(0.0, 1.0))
    assert (estimate.mean, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.025 ** (1 / 3))


@pytest.mark.parametrize(("solved", "seeds"), [(0, 4), (1, 3), (3, 5), (9, 10), (10, 10)])
def test_seeds_that_solve_all_or_nothing_have_the_exact_binomial_interval(solved, seeds):
    values = [1.0] * solved + [0.0] * (seeds - solved)
    expected = stats.binomtest(solved, seeds).proportion_ci(0.95, method="exact")
    estimate = interval(values, bounds=(0.0, 1.0))
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-8)


@pytest.mark.parametrize("values", [[0.3, 0.3, 0.9, 0.1], [0.5] * 10, [0.2, 0.9, 1.0]])
def test_the_p_value_is_a_mean_under_random_weights(values):
    weights = np.random.default_rng(0).dirichlet(np.ones(len(values) + 1), 100_000)
    means = weights @ np.append(values, 0.0)
    for value in (0.1, 0.3, 0.5):
        expected = (means <= value).mean()
        assert p_mean_above(np.array(values), value, (0.0, 1.0)) == pytest.approx(
            expected, abs=0.01
        )


def test_the_two_p_values_mirror_each_other():
    values = np.array([0.2, 0.7, 0.9])
    assert p_mean_below(values, 0.8, (0.0, 1.0)) == pytest.approx(
        p_mean_above(1 - values, 0.2, (0.0, 1.0))
    )


def test_a_quantity_bounded_on_one_side_uses_it_there():
    values = [1.0, 2.0, 6.0]
    estimate = interval(values, bounds=(0.0, math.inf))
    student = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert 0 < estimate.low < 1
    assert estimate.high == pytest.approx(student.high)


@pytest.mark.parametrize(
    ("value", "border", "low", "fewest"),
    [
        (1.0, 0.95, 0.0, 72),  # 0.95 ** 72 is the first below 0.025
        (1.0, 0.5, 0.0, 6),
        (0.5, 0.0, -1.0, 10),
        (1.0, 0.0, -math.inf, 6),
        (0.4, 0.5, 0.0, math.inf),
        (0.4, -0.1, 0.0, 0),
    ],
)
def test_fewest_equal_values(value, border, low, fewest):
    assert fewest_equal_values(value, border, low, 0.025) == fewest
    if math.isfinite(low) and 0 < fewest < math.inf:
        p_values = [
            p_mean_above(np.full(n, value), border, (low, 1.0)) for n in (fewest - 1, fewest)
        ]
        assert p_values[1] <= 0.025 < p_values[0]


def test_no_seed_and_one_seed_have_no_borders():
    nothing, single = interval([]), interval([0.7])
    assert nothing.seeds == 0
    assert math.isnan(nothing.mean)
    assert (single.mean, single.seeds) == (0.7, 1)
    assert math.isnan(single.low)
    assert math.isnan(single.high)
    assert not single.contains(0.7)
    assert not single.overlaps(Interval(0.7, 0.0, 1.0, 5))


def test_seeds_that_agree_never_give_zero_width_within_bounds():
    estimate = interval([0.1, 0.1, 0.1], bounds=(0.0, 1.0))  # their mean is not exactly 0.1
    assert estimate.low < 0.05
    assert estimate.high > 0.5


def test_a_nan_among_the_seeds_is_not_hidden():
    estimate = interval([0.5, math.nan, 0.6])
    assert math.isnan(estimate.mean)
    assert not estimate.contains(0.5)


def test_runs_of_the_same_seed_are_compared():
    left, right = {0: 0.9, 1: 0.5, 2: 0.7}, {2: 0.6, 0: 0.8, 1: 0.4}
    assert differences(left, right) == pytest.approx([0.1, 0.1, 0.1])
    estimate = difference_interval(left, right, bounds=(0.0, 1.0))
    assert estimate.mean == pytest.approx(0.1)
    assert estimate.seeds == 3
    assert estimate.low < -0.6  # three runs that agree do not exclude a fourth that does not


def test_other_seeds_are_paired_in_their_order_and_the_rest_is_left():
    left, right = {0: 0.9, 1: 0.5, 5: 0.7, 6: 0.8}, {0: 0.5, 10: 0.2, 9: 0.1}
    assert differences(left, right) == pytest.approx([0.9 - 0.5, 0.5 - 0.1, 0.7 - 0.2])


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
    estimate = difference_interval(left, right)
    assert estimate.seeds == seeds
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_half_squared_differences_of_disjoint_pairs():
    assert variances_of_pairs([1.0, 0.0, 0.5, 0.7, 9.0]).tolist() == pytest.approx([0.5, 0.02])
    sample = np.random.default_rng(0).normal(0, 2, 40_000)
    assert variances_of_pairs(sample).mean() == pytest.approx(4.0, rel=0.03)


def test_shares_are_exact():
    estimate = share_interval(3, 3)
    assert (estimate.mean, estimate.seeds) == (1.0, 3)
    assert estimate.low == pytest.approx(0.2924, abs=1e-4)
    assert math.isnan(share_interval(0, 0).low)


def test_holm_by_hand():
    """0.01 is tripled, 0.02 doubled, 0.04 kept, and none may be smaller than one before."""
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_interquartile_mean_drops_the_outer_quarters_of_all_tasks():
    # 8 scores: two fall away at either end
    tasks = np.array([0.0, 0.1, 0.2, 0.3]), np.array([0.4, 0.5, 0.9, 1.0])
    assert interquartile_mean(*tasks) == pytest.approx((0.2 + 0.3 + 0.4 + 0.5) / 4)


def test_stratified_interval_resamples_within_each_task():
    """Two tasks without spread: drawing across tasks would vary, drawing within them cannot."""
    tasks = [np.full(4, 0.2), np.full(6, 0.8)]
    estimate = stratified_interquartile_interval(tasks, np.random.default_rng(0), resamples=500)
    assert estimate.low == estimate.mean == estimate.high
    assert estimate.seeds == 4


def test_stratified_interval_agrees_with_a_naive_bootstrap():
    tasks = [np.array([0.1, 0.4, 0.5, 0.7, 0.9]), np.array([0.3, 0.35, 0.8])]
    estimate = stratified_interquartile_interval(tasks, np.random.default_rng(1), resamples=4_000)
    rng = np.random.default_rng(2)
    draws = [
        interquartile_mean(*(rng.choice(task, task.size) for task in tasks)) for _ in range(4_000)
    ]
    assert (estimate.low, estimate.high) == pytest.approx(
        np.quantile(draws, [0.025, 0.975]), abs=0.02
    )


def test_stratified_interval_is_the_same_for_the_same_stream():
    tasks = [np.array([0.1, 0.4, 0.5]), np.array([0.3, 0.35, 0.8])]
    first, second = (
        stratified_interquartile_interval(tasks, np.random.default_rng(7), resamples=300)
        for _ in range(2)
    )
    assert first == second


def test_stratified_interval_of_a_single_seed_has_no_borders():
    tasks = [np.array([0.1]), np.array([0.3, 0.35, 0.8])]
    estimate = stratified_interquartile_interval(tasks, np.random.default_rng(0))
    assert math.isnan(estimate.low)
    assert not math.isnan(estimate.mean)
    assert estimate.seeds == 1
    assert stratified_interquartile_interval([], np.random.default_rng(0)).seeds == 0


def test_a_performance_profile_counts_tasks_alike():
    tasks = [np.array([0.1, 0.9]), np.array([0.6, 0.6, 0.6, 0.2])]
    profile = performance_profile(tasks, [0.0, 0.5, 1.0], np.random.default_rng(0), resamples=500)
    assert [one.mean for one in profile] == pytest.approx([1.0, (0.5 + 0.75) / 2, 0.0])
    assert profile[1].low < profile[1].mean < profile[1].high
    assert (profile[0].low, profile[0].high) == (1.0, 1.0)
