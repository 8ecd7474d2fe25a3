"""Claims that no run decides: those that wait for a system, and those that settings answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from made_up.means import frame
from memdt.errors import UserError
from memdt.results.claim_tests import parse_test
from memdt.results.evidence import Evidence
from memdt.results.outcomes import Outcome

P = "as_published"


def judge(
    test: Mapping[str, object], means: Mapping[tuple[str, str, int], Sequence[float]]
) -> Outcome:
    return parse_test(test).judge(Evidence({"task": frame(means)}, "task"))


def test_a_claim_may_wait_for_a_system_and_its_test_is_read_all_the_same():
    inner = {"most_seeds": {"variant": "a", "segments": 1, "low": 0.95}}
    judgement = judge({"waiting": {"for": "Atari", "test": inner}}, {})
    assert (judgement.verdict, judgement.waits_for) == ("waiting", "Atari")
    both = judge({"all": [inner, {"waiting": {"for": "Atari"}}]}, {("a", P, 1): [1.0] * 6})
    assert both.verdict == "waiting"
    refuted = judge({"all": [inner, {"waiting": {"for": "Atari"}}]}, {("a", P, 1): [0.0] * 9})
    assert refuted.verdict == "does not hold"
    for wrong in ({}, {"for": ""}, {"for": "Atari", "test": {"nearly": {}}}):
        with pytest.raises(UserError):
            parse_test({"waiting": wrong})


def test_a_difference_in_parameters_is_computed_from_the_settings():
    """RATE has five vectors of 256 more than DT on T-Maze, at the published sizes."""
    sides = {"left": "tmaze_table_2/rate-3", "right": "tmaze_table_2/dt-3"}
    assert judge({"parameters": {**sides, "low": 1280, "high": 1280}}, {}).verdict == "holds"
    judgement = judge({"parameters": {**sides, "low": 1281}}, {})
    assert judgement.verdict == "does not hold"
    assert judgement.evidence.endswith("= 1,280")
