"""The claims of data/published: numbered, and each able to hold and to fail."""

from __future__ import annotations

import functools
import math

import pandas as pd
import pytest

from made_up.means import CLAIMS, frame
from memdt.results.claim_tests import All, AnyOf, Every, Some, Untested, Waiting, parse_test
from memdt.results.claims import Claim, claim_keys, evaluate_claims
from memdt.results.evidence import Quantity
from memdt.results.parameter_tests import ParameterDifference
from memdt.results.published import published_cells
from memdt.results.quantity_tests import Beats, MostSeeds, Steadier
from memdt.results.quantity_tests import Test as Vocabulary

NOT_BY_RUNS = (Untested, Waiting, ParameterDifference)
P = "as_published"
SEEDS = 40  # of which variances use 20 pairs


def test_the_published_claims_use_the_whole_file_and_are_numbered_in_order():
    letters = list(dict.fromkeys(claim.id[0] for claim in CLAIMS))  # one for each paper
    counts = {letter: sum(claim.id[0] == letter for claim in CLAIMS) for letter in letters}
    expected = [f"{letter}{k}" for letter in letters for k in range(1, counts[letter] + 1)]
    assert [claim.id for claim in CLAIMS] == expected
    assert {claim.origin for claim in CLAIMS} == {"paper", "ours"}
    assert "tmaze_table_2" in {key[0] for claim in CLAIMS for key in claim_keys(claim)}


Wishes = dict[tuple, list[float]]  # (experiment, variant, condition, segments) -> seeds


def set_seeds(wishes: Wishes, quantity: Quantity, seeds: list[float]) -> None:
    for count in quantity.lengths:
        key = (quantity.experiment, quantity.variant, quantity.condition, count)
        wishes.setdefault(key, seeds)


def known(wishes: Wishes, quantity: Quantity) -> list[float] | None:
    key = (quantity.experiment, quantity.variant, quantity.condition, quantity.lengths[0])
    return wishes.get(key)


@functools.singledispatch
def grant(test: Vocabulary, wishes: Wishes) -> None:
    """Fill ``wishes`` with per-seed means under which the test holds."""
    assert isinstance(test, NOT_BY_RUNS)


@grant.register
def _(test: MostSeeds, wishes: Wishes) -> None:
    low, high = max(test.low, 0.0), min(test.high, 1.0)
    set_seeds(wishes, test, [1.0 if high == 1.0 else (low + high) / 2] * SEEDS)


@grant.register
def _(test: Beats, wishes: Wishes) -> None:
    if math.isfinite(test.up_to):
        unit = 0.4 if test.relative else 0.01 if test.left.metric == "score" else 1
        set_seeds(wishes, test.right, [0.4] * SEEDS)
        set_seeds(wishes, test.left, [0.4 + (test.by + test.up_to) / 2 * unit] * SEEDS)
        return
    above = known(wishes, test.left) or [0.5] * SEEDS
    below = known(wishes, test.right) or [0.4 * level for level in above]
    set_seeds(wishes, test.right, below)
    set_seeds(wishes, test.left, [(1 + level) / 2 for level in below])


@grant.register
def _(test: Steadier, wishes: Wishes) -> None:
    set_seeds(wishes, test.left, [0.5] * SEEDS)
    set_seeds(wishes, test.right, [0.0, 1.0] * (SEEDS // 2))


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
    frames: dict[str, list[pd.DataFrame]] = {}
    for (experiment, *cell), seeds in wishes.items():
        name = experiment or claim.experiment
        frames.setdefault(name, []).append(frame({tuple(cell): seeds}, name))
    return {name: pd.concat(parts) for name, parts in frames.items()}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_published_claim_can_hold_and_can_fail(claim: Claim):
    (word,) = claim.test
    empty = evaluate_claims([claim], {}).loc[0]
    if "parameters" in str(claim.test):  # settings answer it, without a run
        assert empty["verdict"] in {"holds", "does not hold"}
        return
    assert empty["verdict"] == ("waiting" if word == "waiting" else "not run")
    assert bool(empty["waits_for"]) == (word == "waiting")
    wishes: Wishes = {}
    grant(parse_test(claim.test), wishes)
    if not claim_keys(claim):
        assert word in {"untested", "waiting"}
        return
    granted = evaluate_claims([claim], world(claim, wishes))
    assert granted.loc[0, "verdict"] == "holds"
    alike: list[Wishes] = [dict.fromkeys(wishes, [level] * SEEDS) for level in (0.7, 1.0)]
    # A claim that two are about alike is refuted only where they are not: the wishes, turned.
    turned = {key: [1 - level for level in seeds] for key, seeds in wishes.items()}
    halves = {key: [float(2 * k >= len(wishes))] * SEEDS for k, key in enumerate(wishes)}
    apart = {key: [0.2 + 0.6 * (k % 2)] * SEEDS for k, key in enumerate(wishes)}
    worlds = (*alike, turned, halves, apart)
    verdicts = {evaluate_claims([claim], world(claim, one)).loc[0, "verdict"] for one in worlds}
    # These worlds refute a claim about spread only where it is of amounts; the next test asks all.
    refuted = {"does not hold"} | ({"undecided"} if "steadier" in str(claim.test) else set())
    assert verdicts & refuted


@pytest.mark.parametrize("claim", [c for c in CLAIMS if "steadier" in str(c.test)], ids=str)
def test_a_claim_about_spread_can_be_refuted_too(claim: Claim):
    wishes: Wishes = {}
    grant(parse_test(claim.test), wishes)
    turned = {
        key: [0.5] * SEEDS if len(set(seeds)) > 1 else [0.0, 1.0] * (SEEDS // 2)
        for key, seeds in wishes.items()
    }
    assert evaluate_claims([claim], world(claim, turned)).loc[0, "verdict"] == "does not hold"


def test_three_seeds_decide_no_published_claim():
    for claim in CLAIMS:
        wishes: Wishes = {}
        grant(parse_test(claim.test), wishes)
        few = {key: seeds[:3] for key, seeds in wishes.items()}
        row = evaluate_claims([claim], world(claim, few)).loc[0]
        if wishes:
            assert row["verdict"] == "cannot be decided", claim.id
            assert int(row["fewest_seeds"]) > 3


def test_every_claim_says_how_many_seeds_it_needs():
    table = evaluate_claims(CLAIMS, {}, published_cells()).set_index("id")
    power = table.loc[[claim.id for claim in CLAIMS if claim_keys(claim)], "power"]
    assert power.str.fullmatch(r"(at best )?(more than )?\d+ seeds( by the paper's .*)?").all()
    assert table.loc["R1", "power"] == "6 seeds by the paper's numbers"
    assert table.loc["R8", "power"] == ""


def test_parts_of_one_sentence_name_it():
    named = {claim.id: claim.part_of for claim in CLAIMS if claim.part_of}
    assert named.items() >= {"R2": "R1"}.items()
    assert not set(named.values()) & set(named)


def test_the_papers_own_table_2_decides_its_claims_as_we_say():
    """The numbers of Table 2 as if they were seeds: what the paper's own precision settles."""
    printed = {
        ("rate-3", P, 3): (1.0, 0.0),
        ("rate-3", P, 12): (0.453, 0.082),
        ("rate-7", P, 5): (0.993, 0.006),
        ("rate-7", P, 9): (0.750, 0.079),
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
    (r4,) = (claim for claim in CLAIMS if claim.id == "R4")
    row = evaluate_claims([r4], {"tmaze_table_2": table}).loc[0]
    assert row["verdict"] == "undecided"  # two of ten runs at 12 segments are above 0.75
    assert "10 of 10 seeds" in row["evidence"]
    assert "8 of 10 seeds" in row["evidence"]
