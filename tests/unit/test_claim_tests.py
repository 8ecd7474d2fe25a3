"""Claims are decided by their data alone: every word, every outcome, every refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up.means import frame
from memdt.errors import UserError
from memdt.results.claim_tests import parse_test
from memdt.results.evidence import Evidence, Quantity
from memdt.results.outcomes import VERDICTS

Means = Mapping[tuple[str, str, int], Sequence[float]]


def judge(test: Mapping[str, object], means: Means) -> str:
    return parse_test(test).judge(Evidence({"task": frame(means)}, "task")).verdict


P = "as_published"
SOLVED, GUESSING, MIXED = [1.0] * 10, [0.5, 0.55, 0.5, 0.45, 0.5] * 2, [1.0, 0.5] * 5
NEAR_ONE = {"near": {"variant": "a", "segments": 1, "value": 1.0, "within": 0.05}}
LEARNT = {"most_seeds": {"variant": "a", "segments": 1, "low": 0.95}}


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [
        ([1.0] * 72, "holds"),  # 0.95 ** 72 is below 0.025: a mean below 0.95 is ruled out
        ([1.0] * 71, "cannot be decided"),
        (SOLVED, "cannot be decided"),
        ([1.0] * 3, "cannot be decided"),
        (GUESSING, "does not hold"),
        ([*MIXED * 8], "does not hold"),  # the mean is 0.75
        ([0.95, 1.0, 0.85], "cannot be decided"),
        ([1.0, 1.0], "cannot be decided"),
        ([], "not run"),
    ],
)
def test_near(seeds, verdict):
    assert judge(NEAR_ONE, {("a", P, 1): seeds}) == verdict


@pytest.mark.parametrize(
    ("word", "value", "seeds", "verdict"),
    [
        ("at_least", 0.65, SOLVED, "holds"),
        ("at_least", 0.75, SOLVED, "cannot be decided"),  # 13 seeds could
        ("at_least", 0.75, GUESSING, "does not hold"),
        ("at_least", 0.75, MIXED, "cannot be decided"),
        ("at_least", 0.65, MIXED, "undecided"),
        ("at_most", 0.65, SOLVED, "does not hold"),
        ("at_most", 0.75, GUESSING, "holds"),
        ("at_most", 0.75, MIXED, "undecided"),
    ],
)
def test_at_least_and_at_most(word, value, seeds, verdict):
    test = {word: {"variant": "a", "segments": 1, "value": value}}
    assert judge(test, {("a", P, 1): seeds}) == verdict


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [
        (SOLVED, "holds"),
        ([*[1.0] * 9, 0.5], "holds"),  # 9 of 10: at least 0.555 of all
        ([*[1.0] * 8, 0.5, 0.5], "undecided"),
        ([0.95] * 6, "holds"),  # on the border
        ([1.0] * 6, "holds"),
        ([1.0] * 5, "cannot be decided"),
        ([1.0] * 3, "cannot be decided"),
        (GUESSING, "does not hold"),
        (MIXED, "undecided"),
        ([1.0], "cannot be decided"),
        ([], "not run"),
    ],
)
def test_most_seeds(seeds, verdict):
    assert judge(LEARNT, {("a", P, 1): seeds}) == verdict


def test_most_seeds_between_two_values_and_by_another_share():
    guess = {"most_seeds": {"variant": "a", "segments": 1, "low": 0.4, "high": 0.6}}
    assert judge(guess, {("a", P, 1): GUESSING}) == "holds"
    assert judge(guess, {("a", P, 1): SOLVED}) == "does not hold"
    nearly_all = {"most_seeds": {**LEARNT["most_seeds"], "share": 0.8}}
    assert judge(nearly_all, {("a", P, 1): SOLVED}) == "cannot be decided"  # 17 seeds could
    assert judge(nearly_all, {("a", P, 1): [1.0] * 17}) == "holds"


def pair(**more: object) -> dict[str, object]:
    sides = {
        side: {"variant": variant, "segments": 1}
        for side, variant in [("left", "a"), ("right", "b")]
    }
    return {**sides, **more}


RISING = [0.6, 0.8, 0.4, 0.9, 0.7], [0.5, 0.7, 0.3, 0.8, 0.6]


@pytest.mark.parametrize(
    ("left", "right", "greater", "beats"),
    [
        (SOLVED, [0.5] * 10, "holds", "holds"),
        ([0.5] * 10, [0.9] * 10, "undecided", "does not hold"),
        ([1.0] * 3, [1.0] * 3, "at the ceiling", "at the ceiling"),
        (SOLVED, SOLVED, "at the ceiling", "at the ceiling"),
        ([0.9] * 10, SOLVED, "at the ceiling", "does not hold"),  # it does not merely fail to rise
        ([0.95] * 10, SOLVED, "at the ceiling", "at the ceiling"),
        ([0.55] * 3, [0.5] * 3, "cannot be decided", "cannot be decided"),
        (RISING[0], RISING[1], "cannot be decided", "cannot be decided"),
        (RISING[0] * 2, RISING[1] * 2, "undecided", "holds"),  # 0.1 in every seed
        ([0.0] * 10, [0.0] * 10, "at the floor", "at the floor"),
        (MIXED, [0.5] * 10, "undecided", "undecided"),
        (SOLVED, [], "not run", "not run"),
        (SOLVED, [0.5, 0.5], "cannot be decided", "cannot be decided"),
    ],
)
def test_greater_and_beats(left, right, greater, beats):
    means = {("a", P, 1): left, ("b", P, 1): right}
    assert judge({"greater": pair()}, means) == greater
    assert judge({"beats": pair()}, means) == beats


def test_an_advantage_of_one_episode_in_three_seeds_decides_nothing():
    evidence = Evidence({"task": two_variants([0.51] * 3, [0.50] * 3)}, "task")
    for word in ("greater", "beats"):
        assert parse_test({word: pair()}).judge(evidence).verdict == "cannot be decided"


def two_variants(left: Sequence[float], right: Sequence[float]) -> pd.DataFrame:
    """A hundred episodes a seed."""
    rows = [
        ("task", variant, P, 1, seed, float(episode < round(100 * mean)))
        for variant, seeds in (("a", left), ("b", right))
        for seed, mean in enumerate(seeds)
        for episode in range(100)
    ]
    names = ["experiment", "variant", "condition", "segments", "seed", "success"]
    return pd.DataFrame(rows, columns=names)


def test_beats_by_a_least_difference_and_up_to_a_largest():
    means = {("a", P, 1): SOLVED, ("b", P, 1): [0.7] * 10}
    assert judge({"beats": pair(by=0.2)}, means) == "holds"
    assert judge({"beats": pair(by=0.3)}, means) == "does not hold"
    assert judge({"beats": pair(by=0.2, up_to=0.4)}, means) == "holds"
    assert judge({"beats": pair(by=0.1, up_to=0.2)}, means) == "does not hold"
    assert judge({"beats": pair(by=-0.05)}, {**means, ("b", P, 1): SOLVED}) == "holds"


def test_who_guesses_has_nothing_to_lose():
    means = {("a", P, 1): [0.5] * 10, ("b", P, 1): [0.5] * 10}
    assert judge({"beats": pair()}, means) == "does not hold"
    assert judge({"beats": pair(floor=0.5)}, means) == "at the floor"


def test_one_length_at_the_ceiling_is_enough_to_refute_nothing():
    """Success falls by 0.1 at 1 segment, where it cannot rise, and is the same at 2."""
    means = {("a", P, 1): [0.9] * 10, ("b", P, 1): SOLVED} | dict.fromkeys(
        [("a", P, 2), ("b", P, 2)], [0.5] * 10
    )
    both = {
        side: {"variant": name, "segments": [1, 2]}
        for side, name in (("left", "a"), ("right", "b"))
    }
    assert judge({"beats": both}, means) == "at the ceiling"
    assert judge({"beats": pair()}, means) == "does not hold"  # more than a missing rise


def test_an_amount_is_judged_by_its_median_and_students_t():
    means = {
        ("a", P, 1): [0.9, 0.8, 0.9, 0.8, 0.9, 0.8],
        ("b", P, 1): [0.1, 0.2, 0.1, 0.3, 0.2, 0.1],
    }
    returns = {side: {"variant": name, "segments": 1, "metric": "return"} for side, name in
               (("left", "a"), ("right", "b"))}  # fmt: skip
    assert judge({"greater": returns}, means) == "holds"
    five = {key: seeds[:5] for key, seeds in means.items()}
    assert judge({"greater": returns}, five) == "cannot be decided"


@pytest.mark.parametrize(
    ("left", "verdict"),
    [
        ([0.8] * 60, "holds"),
        ([0.8] * 10, "cannot be decided"),
        ([0.5] * 60, "does not hold"),
        ([0.75, 0.65] * 30, "undecided"),
    ],
)
def test_gain(left, verdict):
    means = {("a", P, 1): left, ("b", P, 1): [0.5] * 60}
    assert judge({"gain": pair(value=0.3, within=0.1)}, means) == verdict


def test_steadier_needs_many_seeds():
    wild, calm = [0.0, 1.0], [0.5, 0.55]
    many = {("a", P, 1): calm * 20, ("b", P, 1): wild * 20}
    assert judge({"steadier": pair()}, many) == "holds"
    swapped = {("a", P, 1): wild * 20, ("b", P, 1): calm * 20}
    assert judge({"steadier": pair()}, swapped) == "does not hold"
    assert judge({"steadier": pair()}, dict.fromkeys(many, wild * 20)) == "undecided"
    for left, right in (([1.0] * 3, [1.0, 1.0, 0.95]), ([1.0, 1.0, 0.95], [1.0] * 3)):
        few = {("a", P, 1): left, ("b", P, 1): right}
        assert judge({"steadier": pair()}, few) == "cannot be decided"


@pytest.mark.parametrize(
    ("levels", "slack", "verdict"),
    [
        ((1.0, 0.8, 0.6, 0.5), 0.1, "holds"),
        ((1.0, 0.6, 0.65, 0.5), 0.0, "undecided"),
        ((0.9, 0.9, 0.9, 0.9), 0.05, "undecided"),  # nothing fell, and nothing shows that none does
        ((1.0, 1.0, 1.0, 1.0), 0.05, "at the ceiling"),
        ((0.2, 0.4, 0.6, 0.9), 0.05, "does not hold"),
    ],
)
def test_decreasing(levels, slack, verdict):
    means = {
        ("a", P, count): [level] * 100 for count, level in zip((3, 5, 9, 12), levels, strict=True)
    }
    test = {"decreasing": {"variant": "a", "segments": [3, 5, 9, 12], "slack": slack}}
    assert judge(test, means) == verdict


def test_several_segments_are_averaged_seed_by_seed():
    means = {("a", P, 1): [1.0, 0.8, 0.6], ("a", P, 2): [0.5, 0.5, 0.5, 0.5]}
    evidence = Evidence({"task": frame(means)}, "task")
    sample = evidence.sample(Quantity(variant="a", segments=(1, 2)))
    assert sample == pytest.approx({0: 0.75, 1: 0.65, 2: 0.55})  # seed 3 lacks one of the two


A, B, C, D = (  # one part for each outcome
    {"most_seeds": {"variant": name, "segments": 1, "low": 0.95}} for name in "abcd"
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


def test_one_of_several_is_judged_at_its_part_of_the_level():
    """Nine of ten solve: 2 · 11 / 1,024 = 0.021 for one test, and thrice that for one of three."""
    means = {("a", P, 1): [*[1.0] * 9, 0.5], ("b", P, 1): MIXED, ("c", P, 1): MIXED}
    assert judge({"any": [A, B]}, means) == "holds"
    assert judge({"any": [A, B, C]}, means) == "undecided"
    opposite = {key: [1.5 - value for value in seeds] for key, seeds in means.items()}
    assert judge({"all": [A, B]}, opposite) == "does not hold"
    assert judge({"all": [A, B, C]}, opposite) == "undecided"


def test_every_and_some_write_their_values_into_the_test():
    means = {
        ("m-3_x", P, 1): SOLVED,
        ("m-3_x", P, 2): SOLVED,
        ("m-7_x", P, 1): GUESSING,
        ("m-7_x", P, 2): GUESSING,
    }
    inner = {"most_seeds": {"variant": "m-{trained}_x", "segments": "{count}", "low": 0.95}}
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
    inner = {"most_seeds": {"variant": "{variant}", "segments": 1, "low": 0.9}}
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
    assert parse_test(LEARNT).judge(evidence).verdict == "not run"
    elsewhere = {"most_seeds": {**LEARNT["most_seeds"], "experiment": "other"}}
    assert parse_test(elsewhere).judge(evidence).verdict == "holds"
    noisy = {"most_seeds": {**LEARNT["most_seeds"], "condition": "noise"}}
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
        ({"most_seeds": {"variant": "a", "segments": 1, "share": 1.0}}, "share"),
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


def test_variants_that_match_a_pattern_are_their_interquartile_mean_seed_by_seed() -> None:
    means = {
        **{(f"{task}-rate", "as_published", 1): (0.1 * k, 0.2) for k, task in enumerate("abcd")},
        ("a-rate_without_memory", "as_published", 1): (1.0, 1.0),
    }
    means["d-rate", "as_published", 1] = (1.0, 0.2)  # far off: left out with the lowest
    evidence = Evidence({"task": frame(means)}, "task")
    sample = evidence.sample(Quantity(variant="*-rate", segments=1))
    assert sample == pytest.approx({0: 0.15, 1: 0.2})
    # A seed that one of them lacks does not count.
    means["d-rate", "as_published", 1] = (1.0,)
    evidence = Evidence({"task": frame(means)}, "task")
    assert list(evidence.sample(Quantity(variant="*-rate", segments=1))) == [0]
    assert evidence.sample(Quantity(variant="*-dt", segments=1)) == {}


def test_two_patterns_are_compared_over_what_both_were_run_on() -> None:
    means = {
        ("a-rate", "as_published", 1): (0.5, 0.6),
        ("b-rate", "as_published", 1): (0.9, 1.0),
        ("a-cql", "as_published", 1): (0.4, 0.4),
    }
    evidence = Evidence({"task": frame(means)}, "task")
    rate, cql = (Quantity(variant=f"*-{method}", segments=1) for method in ("rate", "cql"))
    assert evidence.pair(rate, cql) == (
        pytest.approx({0: 0.5, 1: 0.6}),
        pytest.approx({0: 0.4, 1: 0.4}),
    )
    assert evidence.sample(rate) == pytest.approx({0: 0.7, 1: 0.8})
