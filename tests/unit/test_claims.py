"""Claims are decided by their data alone: every word, every outcome, every refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from made_up.means import frame
from memdt.errors import UserError
from memdt.results.claim_tests import VERDICTS, parse_test
from memdt.results.claims import CLAIM_COLUMNS, evaluate_claims, load_claims, write_claims
from memdt.results.evidence import Evidence, Quantity

Means = Mapping[tuple[str, str, int], Sequence[float]]


def judge(test: Mapping[str, object], means: Means) -> str:
    return parse_test(test).judge(Evidence({"task": frame(means)}, "task")).verdict


P = "as_published"
SOLVED, GUESSING, MIXED = [1.0, 1.0, 1.0, 1.0], [0.5, 0.55, 0.5, 0.45], [1.0, 0.5, 1.0, 0.45]
NEAR_ONE = {"near": {"variant": "a", "segments": 1, "value": 1.0, "within": 0.05}}


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [
        (SOLVED, "holds"),
        ([0.95, 0.95, 0.95], "holds"),  # on the border of the region
        (GUESSING, "does not hold"),
        (MIXED, "undecided"),
        ([1.0, 1.0], "undecided"),  # two seeds decide nothing, however well they agree
        ([1.0], "undecided"),
        ([], "not run"),
    ],
)
def test_near(seeds, verdict):
    assert judge(NEAR_ONE, {("a", P, 1): seeds}) == verdict


@pytest.mark.parametrize(
    ("word", "value", "seeds", "verdict"),
    [
        ("at_least", 0.75, SOLVED, "holds"),
        ("at_least", 0.75, GUESSING, "does not hold"),
        ("at_least", 0.75, MIXED, "undecided"),
        ("at_most", 0.75, SOLVED, "does not hold"),
        ("at_most", 0.75, GUESSING, "holds"),
        ("at_most", 0.75, MIXED, "undecided"),
        ("at_least", 1.0, SOLVED, "holds"),
    ],
)
def test_at_least_and_at_most(word, value, seeds, verdict):
    test = {word: {"variant": "a", "segments": 1, "value": value}}
    assert judge(test, {("a", P, 1): seeds}) == verdict


def pair(**more: object) -> dict[str, object]:
    sides = {
        side: {"variant": variant, "segments": 1}
        for side, variant in [("left", "a"), ("right", "b")]
    }
    return {**sides, **more}


@pytest.mark.parametrize(
    ("left", "right", "verdict"),
    [
        (SOLVED, GUESSING, "holds"),
        (GUESSING, SOLVED, "does not hold"),
        (SOLVED, SOLVED, "does not hold"),  # equal is not greater
        (MIXED, GUESSING, "undecided"),
        ([0.6, 0.8, 0.4, 1.0], [0.5, 0.7, 0.3, 0.9], "holds"),  # 0.1 in every seed
        (SOLVED, [], "not run"),
        (SOLVED, [0.5, 0.5], "undecided"),
    ],
)
def test_greater(left, right, verdict):
    assert judge({"greater": pair()}, {("a", P, 1): left, ("b", P, 1): right}) == verdict


def test_greater_by_a_least_difference():
    means = {("a", P, 1): SOLVED, ("b", P, 1): [0.7, 0.7, 0.7, 0.7]}
    assert judge({"greater": pair(by=0.2)}, means) == "holds"
    assert judge({"greater": pair(by=0.3)}, means) == "does not hold"


@pytest.mark.parametrize(
    ("left", "verdict"),
    [
        ([0.8, 0.8, 0.8], "holds"),
        ([0.5, 0.5, 0.5], "does not hold"),
        ([1.0, 0.5, 0.9], "undecided"),
    ],
)
def test_gain(left, verdict):
    means = {("a", P, 1): left, ("b", P, 1): [0.5, 0.5, 0.5]}
    assert judge({"gain": pair(value=0.3, within=0.1)}, means) == verdict


def test_steadier_is_an_f_test_over_seeds():
    wild, calm = [0.0, 1.0, 0.1, 0.9, 0.5], [0.5, 0.55, 0.5, 0.5, 0.55]
    assert judge({"steadier": pair()}, {("a", P, 1): calm, ("b", P, 1): wild}) == "holds"
    assert judge({"steadier": pair()}, {("a", P, 1): wild, ("b", P, 1): calm}) == "does not hold"
    assert judge({"steadier": pair()}, {("a", P, 1): wild, ("b", P, 1): wild}) == "undecided"
    ratio = pd.Series(calm).var() / pd.Series(wild).var()
    assert stats.f.cdf(ratio, 4, 4) < 0.025


@pytest.mark.parametrize(
    ("levels", "slack", "verdict"),
    [
        ((1.0, 0.8, 0.6, 0.5), 0.0, "holds"),
        ((1.0, 0.6, 0.6, 0.5), 0.0, "holds"),
        ((1.0, 0.6, 0.65, 0.5), 0.0, "does not hold"),
        ((1.0, 0.6, 0.65, 0.5), 0.05, "holds"),
        ((1.0, 1.0, 1.0, 1.0), 0.05, "does not hold"),  # nothing fell
        ((0.5, 0.6, 0.8, 1.0), 0.05, "does not hold"),
    ],
)
def test_decreasing(levels, slack, verdict):
    means = {
        ("a", P, count): [level] * 3 for count, level in zip((3, 5, 9, 12), levels, strict=True)
    }
    test = {"decreasing": {"variant": "a", "segments": [3, 5, 9, 12], "slack": slack}}
    assert judge(test, means) == verdict


def test_several_segments_are_averaged_seed_by_seed():
    means = {("a", P, 1): [1.0, 0.8, 0.6], ("a", P, 2): [0.5, 0.5, 0.5, 0.5]}
    evidence = Evidence({"task": frame(means)}, "task")
    sample = evidence.sample(Quantity(variant="a", segments=(1, 2)))
    assert sample == pytest.approx({0: 0.75, 1: 0.65, 2: 0.55})  # seed 3 lacks one of the two


A, B, C, D = (  # one part for each outcome
    {"near": {"variant": name, "segments": 1, "value": 1.0, "within": 0.05}} for name in "abcd"
)
PARTS = {("a", P, 1): SOLVED, ("b", P, 1): GUESSING, ("c", P, 1): MIXED}


@pytest.mark.parametrize(
    ("parts", "every", "some"),
    [
        ([A], "holds", "holds"),
        ([A, B], "does not hold", "holds"),
        ([A, C], "undecided", "holds"),
        ([A, D], "not run", "holds"),
        ([B, C], "does not hold", "undecided"),
        ([B, D], "does not hold", "not run"),
        ([C, D], "not run", "not run"),
        ([A, B, C, D], "does not hold", "holds"),
    ],
)
def test_all_and_any_keep_what_is_open_open(parts, every, some):
    assert judge({"all": parts}, PARTS) == every
    assert judge({"any": parts}, PARTS) == some


def test_every_and_some_write_their_values_into_the_test():
    means = {
        ("m-3_x", P, 1): SOLVED,
        ("m-3_x", P, 2): SOLVED,
        ("m-7_x", P, 1): GUESSING,
        ("m-7_x", P, 2): GUESSING,
    }
    inner = {
        "near": {"variant": "m-{trained}_x", "segments": "{count}", "value": 1.0, "within": 0.05}
    }
    where = {"trained": [3, 7], "count": [1, 2]}
    assert judge({"every": {"where": where, "test": inner}}, means) == "does not hold"
    assert judge({"some": {"where": where, "test": inner}}, means) == "holds"
    assert judge({"every": {"where": {**where, "trained": [3]}, "test": inner}}, means) == "holds"
    keys = [
        (q.variant, q.segments)
        for q in parse_test({"every": {"where": where, "test": inner}}).quantities()
    ]
    assert keys == [("m-3_x", 1), ("m-3_x", 2), ("m-7_x", 1), ("m-7_x", 2)]


def test_a_star_stands_for_every_variant_with_results():
    inner = {"at_least": {"variant": "{variant}", "segments": 1, "value": 0.9}}
    test = {"some": {"where": {"variant": "*"}, "test": inner}}
    assert judge(test, {("a", P, 1): GUESSING, ("b", P, 1): SOLVED}) == "holds"
    assert judge(test, {("a", P, 1): GUESSING}) == "does not hold"
    assert judge(test, {("a", P, 1): GUESSING, ("b", P, 2): SOLVED}) == "does not hold"
    assert judge(test, {}) == "not run"
    everyone = {"every": test["some"]}
    assert judge(everyone, {("a", P, 1): SOLVED, ("b", P, 2): GUESSING}) == "holds"
    assert judge(everyone, {}) == "not run"


def test_conditions_and_other_experiments_are_kept_apart():
    frames = {
        "task": frame({("a", "noise", 1): GUESSING}),
        "other": frame({("a", P, 1): SOLVED}, "other"),
    }
    evidence = Evidence(frames, "task")
    assert parse_test(NEAR_ONE).judge(evidence).verdict == "not run"
    elsewhere = {"near": {**NEAR_ONE["near"], "experiment": "other"}}
    assert parse_test(elsewhere).judge(evidence).verdict == "holds"
    noisy = {"near": {**NEAR_ONE["near"], "condition": "noise"}}
    assert parse_test(noisy).judge(evidence).verdict == "does not hold"


@given(st.lists(st.floats(0, 1), max_size=6))
def test_opposite_claims_never_both_hold(seeds):
    means = {("a", P, 1): seeds}
    above = judge({"at_least": {"variant": "a", "segments": 1, "value": 0.6}}, means)
    below = judge({"at_most": {"variant": "a", "segments": 1, "value": 0.5}}, means)
    assert {above, below} <= set(VERDICTS)
    assert not above == below == "holds"


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"nearly": {}}, "unknown test 'nearly'"),
        ({"near": {"variant": "a", "segments": 1, "value": 1.0}}, "within"),
        ({"near": {**NEAR_ONE["near"], "segment": 1}}, "segment"),
        ({"near": {**NEAR_ONE["near"], "metric": "sucess"}}, "metric"),
        ({"greater": {"left": {"variant": "a", "segments": 1}}}, "right"),
        ({"decreasing": {"variant": "a", "segments": [3]}}, "segments"),
        ({"all": []}, "tests"),
        ({"near": {}, "all": []}, "one word"),
        ("near", "one word"),
        ({"all": [{"nearly": {}}]}, "unknown test"),
        ({"every": {"where": {"x": [1]}, "test": {"nearly": {}}}}, "unknown test"),
        (
            {
                "every": {
                    "where": {"x": [1]},
                    "test": {"near": {**NEAR_ONE["near"], "segments": "{y}"}},
                }
            },
            "segments",
        ),
    ],
)
def test_a_bad_test_is_refused_when_it_is_read(test, message):
    with pytest.raises(UserError, match=message):
        parse_test(test)


def claims_file(root: Path, text: str) -> Path:
    path = root / "data" / "published" / "claims.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return root


ENTRY = """\
- id: R1
  text: it works
  source: Section 1
  origin: paper
  experiment: task
  decided_by: in words
  test: {near: {variant: a, segments: 1, value: 1.0, within: 0.05}}
"""


def test_a_bad_claim_is_refused_by_its_name(tmp_path):
    with pytest.raises(UserError, match="claim R1.*origin"):
        load_claims(claims_file(tmp_path / "1", ENTRY.replace("paper", "theirs")))
    with pytest.raises(UserError, match="claim R1.*unknown test"):
        load_claims(claims_file(tmp_path / "2", ENTRY.replace("near", "nearly")))
    with pytest.raises(UserError, match="share an id"):
        load_claims(claims_file(tmp_path / "3", ENTRY + ENTRY))
    with pytest.raises(UserError, match="claims"):
        load_claims(tmp_path / "4")


def test_evaluated_claims_tell_the_numbers(tmp_path):
    (claim,) = load_claims(claims_file(tmp_path, ENTRY))
    found = evaluate_claims([claim], {"task": frame({("a", P, 1): [1.0, 0.9, 0.95]})})
    assert list(found.columns) == list(CLAIM_COLUMNS)
    row = found.iloc[0]
    assert (row["id"], row["test"], row["verdict"]) == ("R1", "in words", "undecided")
    assert row["evidence"] == "a at 1 segment: 0.950 [0.826, 1.000], 3 seeds: undecided"
    write_claims(found, tmp_path / "claims.csv")
    again = pd.read_csv(tmp_path / "claims.csv", keep_default_na=False)
    assert again.to_dict("list") == found.to_dict("list")
