"""The claims of data/published: numbered, and each able to hold and to fail."""

from __future__ import annotations

import functools

import pandas as pd
import pytest

from made_up.means import CLAIMS, frame
from memdt.results.claim_tests import (
    All,
    AnyOf,
    AtLeast,
    AtMost,
    Decreasing,
    Every,
    Gain,
    Greater,
    Near,
    Some,
    Steadier,
    Untested,
    parse_test,
)
from memdt.results.claim_tests import Test as Vocabulary
from memdt.results.claims import Claim, claim_keys, evaluate_claims
from memdt.results.evidence import Quantity

P = "as_published"


def test_the_published_claims_use_the_whole_file_and_are_numbered_in_order():
    letters = list(dict.fromkeys(claim.id[0] for claim in CLAIMS))  # one for each paper
    counts = {letter: sum(claim.id[0] == letter for claim in CLAIMS) for letter in letters}
    expected = [f"{letter}{k}" for letter in letters for k in range(1, counts[letter] + 1)]
    assert [claim.id for claim in CLAIMS] == expected
    assert {claim.origin for claim in CLAIMS} == {"paper", "ours"}
    assert "tmaze_table_2" in {key[0] for claim in CLAIMS for key in claim_keys(claim)}


Wishes = dict[tuple, list[float]]  # (experiment, variant, condition, segments) -> seeds


def place(wishes: Wishes, quantity: Quantity, seeds: list[float]) -> None:
    for count in quantity.lengths:
        key = (quantity.experiment, quantity.variant, quantity.condition, count)
        wishes.setdefault(key, seeds)


def known(wishes: Wishes, quantity: Quantity) -> list[float] | None:
    key = (quantity.experiment, quantity.variant, quantity.condition, quantity.lengths[0])
    return wishes.get(key)


@functools.singledispatch
def grant(test: Vocabulary, wishes: Wishes) -> None:
    """Fill ``wishes`` with per-seed means under which the test holds."""
    assert isinstance(test, Untested)


@grant.register(Near)
@grant.register(AtLeast)
@grant.register(AtMost)
def _(test: Near | AtLeast | AtMost, wishes: Wishes) -> None:
    place(wishes, test, [test.value] * 3)


@grant.register
def _(test: Gain, wishes: Wishes) -> None:
    place(wishes, test.right, [0.4] * 3)
    place(wishes, test.left, [0.4 + test.value] * 3)


@grant.register
def _(test: Greater, wishes: Wishes) -> None:
    above = known(wishes, test.left) or [0.5] * 3
    below = known(wishes, test.right) or [0.4 * level for level in above]
    place(wishes, test.right, below)
    place(wishes, test.left, [(1 + level) / 2 for level in below])


@grant.register
def _(test: Steadier, wishes: Wishes) -> None:
    place(wishes, test.left, [0.5, 0.55, 0.5, 0.5, 0.55])
    place(wishes, test.right, [0.0, 1.0, 0.1, 0.9, 0.5])


@grant.register
def _(test: Decreasing, wishes: Wishes) -> None:
    for step, quantity in enumerate(test.quantities()):
        place(wishes, quantity, [1.0 - 0.5 * step / (len(test.segments) - 1)] * 3)


@grant.register(All)
@grant.register(AnyOf)
def _(test: All | AnyOf, wishes: Wishes) -> None:
    for part in test.tests:
        grant(part, wishes)


@grant.register(Every)
@grant.register(Some)
def _(test: Every | Some, wishes: Wishes) -> None:
    for part in test.expand(["some_model"]):
        grant(part, wishes)


def world(claim: Claim, wishes: Wishes) -> dict[str, pd.DataFrame]:
    """The episodes of every experiment that the wishes speak of."""
    found: dict[str, list[pd.DataFrame]] = {}
    for (experiment, *cell), seeds in wishes.items():
        name = experiment or claim.experiment
        found.setdefault(name, []).append(frame({tuple(cell): seeds}, name))
    return {name: pd.concat(parts) for name, parts in found.items()}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_published_claim_can_hold_and_can_fail(claim: Claim):
    assert evaluate_claims([claim], {}).loc[0, "verdict"] == "not run"
    wishes: Wishes = {}
    grant(parse_test(claim.test), wishes)
    if not claim_keys(claim):
        assert set(claim.test) == {"untested"}
        return
    assert evaluate_claims([claim], world(claim, wishes)).loc[0, "verdict"] == "holds"
    all_alike = evaluate_claims([claim], world(claim, dict.fromkeys(wishes, [0.7] * 3)))
    expected = "undecided" if "steadier" in str(claim.test) else "does not hold"
    assert all_alike.loc[0, "verdict"] == expected


def test_the_papers_own_table_2_decides_its_claims_as_we_say():
    """The numbers of Table 2 as if they were seeds: what the paper's own precision settles."""
    printed = {
        ("rate-3", P, 3): (1.0, 0.0),
        ("rate-3", P, 5): (0.895, 0.063),
        ("rate-3", P, 9): (0.496, 0.076),
        ("rate-3", P, 12): (0.453, 0.082),
    }
    ten = [-1.5, -1.2, -0.8, -0.4, -0.1, 0.1, 0.4, 0.8, 1.2, 1.5]
    unit = pd.Series(ten).sem()
    means = {
        key: [mean + sem / unit * step for step in ten] for key, (mean, sem) in printed.items()
    }
    rows = [
        ("tmaze_table_2", *key[:2], key[2], seed, value)
        for key, values in means.items()
        for seed, value in enumerate(values)
    ]
    names = ["experiment", "variant", "condition", "segments", "seed", "success"]
    table = pd.DataFrame(rows, columns=names)
    by_name = {claim.id: claim for claim in CLAIMS}
    assert (
        evaluate_claims([by_name["R4"]], {"tmaze_table_2": table}).loc[0, "verdict"] == "undecided"
    )
