"""The file of claims: what it refuses, and what is written of those that were decided."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_up.means import frame
from memdt.errors import UserError
from memdt.results.claims import (
    CLAIM_COLUMNS,
    by_sentence,
    count_tested,
    evaluate_claims,
    load_claims,
    read_claims,
    write_claims,
)
from memdt.results.sequential import Looks, load_looks

P = "as_published"


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


def test_evaluated_claims_hold_the_numbers(tmp_path):
    (claim,) = load_claims(claims_file(tmp_path, ENTRY))
    table = evaluate_claims([claim], {"task": frame({("a", P, 1): [1.0, 0.9, 0.95]})})
    assert list(table.columns) == list(CLAIM_COLUMNS)
    row = table.iloc[0]
    assert (row["id"], row["sentence"], row["test"]) == ("R1", "R1", "in words")
    assert (row["verdict"], row["seeds"], row["fewest_seeds"]) == ("cannot be decided", "3", "72")
    assert row["power"] == "at best 72 seeds"
    assert row["evidence"] == "a at 1 segment: 0.950 [0.278, 0.993], 3 seeds: cannot be decided"
    write_claims(table, tmp_path / "claims.csv")
    assert read_claims(tmp_path / "claims.csv").to_dict("list") == table.to_dict("list")


MOST = ENTRY.replace(
    "near: {variant: a, segments: 1, value: 1.0, within: 0.05}",
    "most_seeds: {variant: a, segments: 1, low: 0.95}",
)


def numbered(count: int, more: str = "") -> str:
    entries = [MOST.replace("R1", f"R{k}").replace("task", f"task{k}") for k in range(1, count + 1)]
    return "".join(entries) + more


def test_refutations_are_corrected_for_the_number_of_claims_that_were_tested(tmp_path):
    """No seed of seven solves: p = 2 / 2 ** 7 = 0.016, which is too much for one of four."""
    claims = load_claims(claims_file(tmp_path, numbered(5)))
    refuted = {"task1": frame({("a", P, 1): [0.5] * 7}, "task1")}
    others = {f"task{k}": frame({("a", P, 1): [1.0] * 7}, f"task{k}") for k in range(2, 5)}
    alone = evaluate_claims(claims, refuted)
    assert (alone.loc[0, "verdict"], alone.loc[0, "p_fails"], count_tested(alone)) == (
        "does not hold", "0.0156", 1,
    )  # fmt: skip
    together = evaluate_claims(claims, refuted | others)
    assert (together.loc[0, "verdict"], together.loc[0, "p_fails"], count_tested(together)) == (
        "undecided", "0.0625", 4,
    )  # fmt: skip
    assert together["verdict"].tolist()[1:] == ["holds"] * 3 + ["not run"]


def test_parts_of_a_sentence_are_counted_once(tmp_path):
    parts = MOST.replace("R1", "R2").replace("task", "task1\n  part_of: R1")
    (tmp_path / "1").mkdir()
    claims = load_claims(claims_file(tmp_path / "1", numbered(1, parts)))
    frames = {"task1": frame({("a", P, 1): [1.0] * 6}, "task1")}
    table = evaluate_claims(claims, frames)
    assert table["verdict"].tolist() == ["holds", "holds"]
    assert by_sentence(table) == ["holds"]
    assert by_sentence(table.assign(verdict=["holds", "does not hold"])) == ["does not hold"]
    assert by_sentence(table.assign(verdict=["holds", "not run"])) == ["not run"]
    with pytest.raises(UserError, match="part_of names no claim: 'R7'"):
        load_claims(claims_file(tmp_path / "2", parts.replace("part_of: R1", "part_of: R7")))


def test_a_look_spends_no_more_than_its_share_of_the_level(tmp_path):
    """Six seeds of six: p = 0.031, which half of the level does not allow; 7 of 7 are 0.016."""
    claims = load_claims(claims_file(tmp_path, numbered(1)))
    looks = {"task1": Looks(looks={3: 0, 6: 0.5, 10: 0.5}, why="seeds were added")}
    for seeds, verdict in ((6, "undecided"), (7, "holds"), (10, "holds")):
        frames = {"task1": frame({("a", P, 1): [1.0] * seeds}, "task1")}
        row = evaluate_claims(claims, frames, looks=looks).loc[0]
        assert row["verdict"] == verdict
        assert (
            "0.5 of the level may be spent (looks: 0 at 3, 0.5 at 6, 0.5 at 10)" in row["evidence"]
        )
    frames = {"task1": frame({("a", P, 1): [1.0] * 6}, "task1")}
    assert evaluate_claims(claims, frames).loc[0, "verdict"] == "holds"
    waiting = {"task1": Looks(looks={3: 0, 10: 1}, why="")}
    assert evaluate_claims(claims, frames, looks=waiting).loc[0, "verdict"] == "undecided"


def test_declared_looks_are_checked(tmp_path):
    root = Path(__file__).parents[2]
    assert load_looks(root)["metaworld_table_4"].share(8) == 1
    assert load_looks(root)["metaworld_table_4"].share(7) == 0
    assert load_looks(tmp_path) == {}
    path = claims_file(tmp_path, ENTRY) / "data" / "published" / "looks.yaml"
    for bad, message in (
        ("task: {looks: {3: 0.6, 8: 0.6}, why: x}", "sum to 1"),
        ("task: {looks: {8: 0.5, 3: 0.5}, why: x}", "ascending"),
        ("task: {looks: {}, why: x}", "numbers of seeds"),
        ("- task", "no mapping"),
        ("task: [", "not valid YAML"),
    ):
        path.write_text(bad, encoding="utf-8")
        with pytest.raises(UserError, match=message):
            load_looks(tmp_path)
