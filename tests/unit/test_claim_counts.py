"""Claims about several of several games, and about parts of another model's score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from made_up.means import frame
from memdt.results.claim_tests import parse_test
from memdt.results.evidence import Evidence
from memdt.results.outcomes import Outcome, at_least

P = "as_published"
SOLVED, GUESSING = [1.0] * 10, [0.5, 0.55, 0.5, 0.45, 0.5] * 2
SIDES = {
    side: {"variant": name, "segments": 1, "metric": "return"}
    for side, name in (("left", "a"), ("right", "b"))
}


def verdict_of(
    test: Mapping[str, object], means: Mapping[tuple[str, str, int], Sequence[float]]
) -> str:
    return parse_test(test).judge(Evidence({"task": frame(means)}, "task")).verdict


@pytest.mark.parametrize(
    ("solved", "guessing", "verdict"),
    [
        (3, 1, "holds"),
        (4, 0, "holds"),
        (2, 2, "does not hold"),  # three of four cannot hold any more
        (2, 0, "not run"),
        (2, 1, "not run"),
    ],
)
def test_some_may_ask_for_several(solved, guessing, verdict):
    """Ten of ten solve: 2 / 1,024 for one test, twice that for the third of four that holds."""
    names = ["a", "b", "c", "d"]
    means = {
        (name, P, 1): SOLVED if rank < solved else GUESSING
        for rank, name in enumerate(names[: solved + guessing])
    }
    inner = {"most_seeds": {"variant": "{variant}", "segments": 1, "low": 0.95}}
    test = {"some": {"least": 3, "where": {"variant": names}, "test": inner}}
    assert verdict_of(test, means) == verdict


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_partial_conjunction_is_right_as_often_as_it_says(count):
    """With one true part too few the claim holds in at most 5 % of all worlds, and often fails."""
    rng = np.random.default_rng(count)
    true, false = np.zeros((4_000, count - 1)), rng.random((4_000, 5 - count))
    worlds = np.concatenate([true, false], axis=1)
    held = [at_least(count, [Outcome("", p_holds=p) for p in world]) for world in worlds]
    rate = np.mean([one.p_holds <= 0.05 for one in held])
    assert 0.025 < rate < 0.058  # exact where all that are left must hold


@pytest.mark.parametrize(
    ("left", "right", "borders", "verdict"),
    [
        (0.95, 1.0, {"by": -0.1}, "holds"),
        (0.45, 0.55, {"by": -0.1}, "does not hold"),  # 0.1 less is more than a tenth of 0.55
        (0.55, 0.5, {"by": 0.05, "up_to": 0.15}, "holds"),
        (0.6, 0.5, {"by": 0.05, "up_to": 0.15}, "does not hold"),
        (0.0, 0.0, {"by": -0.1}, "does not hold"),  # a tenth of nothing is nothing: a tie
        (0.5, 0.0, {"by": 0.1}, "holds"),
    ],
)
def test_borders_may_be_parts_of_the_right_side(left, right, borders, verdict):
    means = {("a", P, 1): [left] * 10, ("b", P, 1): [right] * 10}
    assert verdict_of({"beats": {**SIDES, **borders, "relative": True}}, means) == verdict


def test_a_part_of_a_negative_amount_is_a_part_of_its_size():
    """Pong: -19 is at most a tenth below -18, -20 is not."""
    test = {"beats": {**SIDES, "by": -0.1, "relative": True}}
    for points, verdict in ((-19.0, "holds"), (-20.0, "does not hold")):
        played = frame({("a", P, 1): [1.0] * 10, ("b", P, 1): [0.0] * 10})
        table = played.assign(**{"return": played["return"].map({1: points, 0: -18.0})})
        assert parse_test(test).judge(Evidence({"task": table}, "task")).verdict == verdict
