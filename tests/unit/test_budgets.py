"""Budgets: what the manifests of all stages of a variant say together."""

from __future__ import annotations

from pathlib import Path

from memdt.provenance import FORMAT, write_manifest
from memdt.results.budgets import budgets


def manifest(path: Path, **numbers: int) -> Path:
    write_manifest(path, {"format": FORMAT, **numbers}, {})
    return path


def test_stages_add_up_and_runs_are_averaged(tmp_path: Path) -> None:
    runs = [
        [
            manifest(tmp_path / f"{seed}_{stage}.json", parameters=9, updates=5 * stage,
                     optimiser_steps=5, steps_seen=100 + seed, gradient_segments=stage)
            for stage in (1, 2)
        ]
        for seed in (0, 2)
    ]  # fmt: skip
    assert budgets({"a": runs}) == {
        "a": {
            "parameters": 9, "updates": 15, "optimiser_steps": 10, "steps_seen": 202,
            "gradient_segments": 2,
        }
    }  # fmt: skip


def test_a_number_that_one_stage_does_not_say_is_not_added_up(tmp_path: Path) -> None:
    one = manifest(tmp_path / "1.json", parameters=9, updates=5, steps_seen=100)
    two = manifest(tmp_path / "2.json", parameters=9, updates=5)
    assert budgets({"a": [[one, two]]}) == {"a": {"parameters": 9, "updates": 10}}


def test_runs_that_have_not_ended_are_left_out(tmp_path: Path) -> None:
    one = manifest(tmp_path / "1.json", parameters=9, updates=5)
    missing = tmp_path / "2.json"
    assert budgets({"a": [[one, missing], [one]], "b": [[missing]]}) == {
        "a": {"parameters": 9, "updates": 5}
    }
