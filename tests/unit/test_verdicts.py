"""The verdicts, as a truth table: every rule, its border, and which of two rules wins."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memdt.errors import UserError
from memdt.results.published import Cell
from memdt.results.statistics import Interval
from memdt.results.verdicts import MINIMUM_SEEDS, RULES, metric_settings, verdict

NAN = math.nan
WORDS = [rule.verdict for rule in RULES]


def cell(
    mean: float, spread: float | None = None, seeds: int | None = 10, margin: float = 0.05
) -> Cell:
    """A published success rate."""
    return Cell(
        paper="rate",
        version="v",
        item="Table 2",
        page="",
        experiment="e",
        variant="v",
        condition="c",
        segments=1,
        metric="success",
        unit="share",
        mean=mean,
        spread=spread,
        spread_kind="none" if spread is None else "sem",
        seeds=seeds,
        episodes=100,
        margin=margin,
        in_scope=True,
        note="",
    )


def ours(mean: float, low: float, high: float, seeds: int = 5) -> Interval:
    return Interval(mean, low, high, seeds)


TRUTH_TABLE = [
    # what, published, reproduced, verdict
    ("nothing printed, nothing run", None, None, "no published number"),
    ("nothing printed, but run", None, ours(0.5, 0.4, 0.6), "no published number"),
    ("no run", cell(0.5), None, "not run"),
    ("a mean that is no number", cell(0.5), ours(NAN, NAN, NAN), "not run"),
    ("no seed", cell(0.5), ours(NAN, NAN, NAN, 0), "not run"),
    ("one seed that agrees", cell(0.5), ours(0.5, NAN, NAN, 1), "too few seeds"),
    ("two seeds that agree", cell(1.0), ours(1.0, 1.0, 1.0, 2), "too few seeds"),
    ("two seeds that differ", cell(1.0), ours(0.1, 0.0, 0.2, 2), "too few seeds"),
    ("borders that are no numbers", cell(0.5), ours(0.5, NAN, NAN, 5), "imprecise"),
    ("one border that is no number", cell(0.5), ours(0.5, 0.4, NAN, 5), "imprecise"),
    ("an interval that holds everything", cell(0.9), ours(0.5, 0.0, 1.0), "imprecise"),
    ("wide, though the means are equal", cell(0.5), ours(0.5, 0.2, 0.8), "imprecise"),
    ("wide on the side that is not clipped", cell(1.0), ours(0.96, 0.7, 1.0), "imprecise"),
    ("wide, touching only the printed interval", cell(0.2, 0.05), ours(0.6, 0.3, 0.9), "imprecise"),
    ("just narrow enough", cell(0.5), ours(0.6, 0.4, 0.8), "reproduced"),
    ("wide, but the number is excluded", cell(0.1), ours(0.6, 0.3, 0.9), "higher"),
    ("wide, and the number is above", cell(1.0), ours(0.6, 0.3, 0.9), "lower"),
    ("the printed mean on the border", cell(0.6), ours(0.5, 0.4, 0.6), "reproduced"),
    ("all seeds perfect, as printed", cell(1.0, 0.0), ours(1.0, 1.0, 1.0), "reproduced"),
    ("zero width, within the margin", cell(0.993, 0.006), ours(1.0, 1.0, 1.0), "reproduced"),
    ("zero width, on the margin", cell(0.95), ours(1.0, 1.0, 1.0), "reproduced"),
    ("zero width, past the margin", cell(0.94), ours(1.0, 1.0, 1.0), "higher"),
    ("a coin against a coin", cell(0.49, 0.006), ours(0.5, 0.5, 0.5), "reproduced"),
    ("printed interval overlaps", cell(0.895, 0.063), ours(0.98, 0.96, 1.0), "close"),
    ("printed interval ends before ours", cell(0.75, 0.079), ours(1.0, 0.99, 1.0), "higher"),
    ("no spread printed, so none overlaps", cell(0.895), ours(0.98, 0.96, 1.0), "higher"),
    (
        "a spread without its number of runs",
        cell(0.895, 0.063, None),
        ours(0.98, 0.96, 1.0),
        "higher",
    ),
    ("clearly below", cell(1.0, 0.0), ours(0.5, 0.45, 0.55), "lower"),
]


@pytest.mark.parametrize(("what", "published", "reproduced", "word"), TRUTH_TABLE)
def test_truth_table(what, published, reproduced, word):
    assert verdict(published, reproduced).word == word, what


def test_every_rule_is_reached_and_every_verdict_is_a_rule():
    assert {word for *_, word in TRUTH_TABLE} == set(WORDS)
    assert len(set(WORDS)) == len(WORDS)


def test_the_printed_interval_is_students_t_over_the_papers_runs():
    found = cell(0.895, 0.063).interval()
    assert found.high - 0.895 == pytest.approx(stats.t.ppf(0.975, 9) * 0.063)
    assert cell(0.895).interval() is None


def test_the_difference_is_reproduced_minus_published():
    assert verdict(cell(0.9), ours(0.6, 0.55, 0.65)).difference == pytest.approx(-0.3)
    assert math.isnan(verdict(None, ours(0.6, 0.55, 0.65)).difference)
    assert math.isnan(verdict(cell(0.9), None).difference)


anything = st.floats(-0.5, 1.5) | st.just(NAN) | st.just(math.inf)


@given(
    mean=anything, low=anything, high=anything, published=st.floats(0, 1), seeds=st.integers(0, 12)
)
def test_nothing_broken_wide_or_far_is_ever_reproduced(mean, low, high, published, seeds):
    word = verdict(cell(published, 0.05), Interval(mean, low, high, seeds)).word
    assert word in WORDS
    if word == "reproduced":
        assert seeds >= MINIMUM_SEEDS
        assert not math.isnan(mean + low + high)
        assert low - 1e-9 <= published <= high + 1e-9 or abs(mean - published) <= 0.05 + 1e-8
        overlaps = cell(published, 0.05).interval().overlaps(Interval(mean, low, high, seeds))
        limit = metric_settings("success").limit
        assert not (overlaps and max(high - mean, mean - low) > limit + 1e-8)


def test_the_limit_admits_the_papers_own_precision_but_not_chance_and_solved_at_once():
    widest = cell(0.453, 0.082).interval()  # RATE-3 at 12 segments, Table 2
    limit = metric_settings("success").limit_for(0.453)
    assert widest.reach < limit
    assert 2 * limit < 1.0 - 0.5


def test_relative_limits_scale_with_the_published_number():
    assert metric_settings("return").limit_for(-50.0) == pytest.approx(10.0)
    assert metric_settings("success").limit_for(0.0) == metric_settings("success").limit


@pytest.mark.parametrize(
    ("metric", "bounds"),
    [
        ("success (red)", (0.0, 1.0)),
        ("share of right_items against wrong_items imbalance", (0.0, 1.0)),
        ("return imbalance", (0.0, math.inf)),
        ("tics (red)", None),
    ],
)
def test_a_metric_cannot_leave_what_it_is(metric, bounds):
    judged = metric_settings(metric)
    assert judged.bounds == bounds
    precise = 0.20 if bounds == (0.0, 1.0) else 10.0  # of a published 50: a fifth of it
    assert judged.limit_for(50.0) == pytest.approx(precise)


def test_an_undeclared_metric_is_refused_with_the_closest():
    with pytest.raises(UserError, match="'success'"):
        metric_settings("succes")
