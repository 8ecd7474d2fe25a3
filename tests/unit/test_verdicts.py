"""The verdicts, as a truth table: every rule, its border, and which of two rules wins."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memdt.errors import UserError
from memdt.results.published import Cell
from memdt.results.statistics import interval
from memdt.results.verdicts import RULES, metric_settings, verdict

NAN = math.nan
NONE = "not distinguished"
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


COIN, SOLVED = [0.5, 0.48, 0.52], [1.0]
WIDE = cell(16.0, 6.9, 3).model_copy(update={"metric": "return", "margin": 1.0})

TRUTH_TABLE = [
    # what, published, per seed, verdict
    ("nothing printed, nothing run", None, None, "no published number"),
    ("nothing printed, but run", None, COIN, "no published number"),
    ("no run", cell(0.5), None, "not run"),
    ("no seed", cell(0.5), [], "not run"),
    ("a mean that is no number", cell(0.5), [0.5, NAN, 0.5], "not run"),
    ("one seed that agrees", cell(0.5), [0.5], "too few seeds"),
    ("two seeds that agree", cell(1.0), [1.0] * 2, "too few seeds"),
    ("three seeds that agree", cell(1.0, 0.0), SOLVED * 3, "not distinguished"),
    ("three that do not reach it", cell(1.0, 0.0), [0.735, 0.815, 0.895], "lower"),
    ("six seeds that agree", cell(1.0, 0.0), SOLVED * 6, "most seeds agree"),
    ("nine of ten agree", cell(1.0, 0.0), [*SOLVED * 9, 0.5], "most seeds agree"),
    ("eight of ten do not suffice", cell(1.0, 0.0), [*SOLVED * 8, 0.5, 0.5], NONE),
    ("within the margin, on its border", cell(0.95), SOLVED * 6, "most seeds agree"),
    ("past the margin", cell(0.94), SOLVED * 6, NONE),
    ("59 seeds that agree are equivalent", cell(1.0, 0.0), SOLVED * 59, "reproduced"),
    ("58 are not", cell(1.0, 0.0), SOLVED * 58, "most seeds agree"),
    ("runs that learn or guess, as printed", cell(0.75, 0.079), [1.0, 0.5] * 5, NONE),
    ("far above", cell(0.2, 0.01), SOLVED * 3, "higher"),
    ("far below", cell(1.0, 0.0), [0.1, 0.2, 0.1], "lower"),
    ("a coin below 1, by three seeds", cell(1.0, 0.0), COIN, "lower"),
    ("above the mean, but not the printed interval", cell(0.15, 0.07), SOLVED * 3, NONE),
    ("a print that says nothing", cell(0.6, 0.12, 4), SOLVED * 10, "print too wide"),
    ("sixteen and seven over three runs", WIDE, [27.0, 28.0, 26.0, 27.5], "print too wide"),
    ("a spread without its number of runs", cell(0.2, 0.2, None), SOLVED * 3, "higher"),
]


@pytest.mark.parametrize(("what", "published", "per_seed", "word"), TRUTH_TABLE)
def test_truth_table(what, published, per_seed, word):
    assert verdict(published, per_seed).word == word, what


def test_every_rule_is_reached_and_every_verdict_is_a_rule():
    assert {word for *_, word in TRUTH_TABLE} == set(WORDS)
    assert len(set(WORDS)) == len(WORDS)


def test_the_printed_interval_is_students_t_over_the_papers_runs():
    interval = cell(0.895, 0.063).interval()
    assert interval.high - 0.895 == pytest.approx(stats.t.ppf(0.975, 9) * 0.063)
    assert cell(0.895).interval() is None


def test_the_difference_is_reproduced_minus_published():
    assert verdict(cell(0.9), [0.6, 0.55, 0.65]).difference == pytest.approx(-0.3)
    assert math.isnan(verdict(None, [0.6, 0.55, 0.65]).difference)
    assert math.isnan(verdict(cell(0.9), None).difference)


@given(values=st.lists(st.floats(0, 1), max_size=12), published=st.floats(0, 1))
def test_a_dozen_seeds_never_show_equality_within_005(values, published):
    """Whatever they are: unseen runs weigh too much."""
    word = verdict(cell(published, 0.01), values).word
    assert word in WORDS
    assert word != "reproduced"


@given(values=st.lists(st.floats(0, 1), min_size=3, max_size=12), published=st.floats(0, 1))
def test_higher_and_lower_lie_outside_the_margin_and_the_printed_interval(values, published):
    printed = cell(published, 0.02)
    word = verdict(printed, values).word
    ours = interval(values, bounds=(0.0, 1.0))
    if word == "higher":
        assert ours.low >= max(printed.interval().high, published + 0.05) - 1e-6
    elif word == "lower":
        assert ours.high <= min(printed.interval().low, published - 0.05) + 1e-6
    elif word == "most seeds agree":
        inside = sum(abs(value - published) <= 0.05 + 1e-9 for value in values)
        assert inside > len(values) / 2


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
