"""How many seeds a run has, and what asks for more of them."""

from __future__ import annotations

import pytest

from memdt.settings.runs import SEEDS, seeds_of


def test_more_seeds_are_asked_for_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SEEDS, raising=False)
    assert set(seeds_of("quick", "tmaze_table_2").values()) == {(0, 1, 2)}
    monkeypatch.setenv(SEEDS, "10")
    assert set(seeds_of("quick", "tmaze_table_2").values()) == {tuple(range(10))}


def test_particular_seeds_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    before = seeds_of("quick", "metaworld_fine_tuning_rates")
    assert all(seeds != tuple(range(len(seeds))) for seeds in before.values())
    monkeypatch.setenv(SEEDS, "10")
    assert seeds_of("quick", "metaworld_fine_tuning_rates") == before
