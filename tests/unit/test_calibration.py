"""Verdicts err no more often than they say, where the truth is known; `benchmarks` has the rest."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from memdt.results.bounded_mean import p_mean_above
from memdt.results.statistics import interval

WORLDS = 60


@pytest.fixture
def calibration(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("benchmarks.calibration")


@pytest.mark.parametrize(("kind", "seeds"), [("learn", 3), ("beta", 5), ("return", 10)])
def test_no_verdict_is_wrong_too_often(calibration: ModuleType, kind: str, seeds: int) -> None:
    """Of sixty worlds up to six: at a true rate of 5 % more than that happens once in a hundred."""
    process = next(one for one in calibration.PROCESSES if kind in one.name)
    counts = calibration.rates(process, seeds, 20, WORLDS)
    assert counts.pop("covered") >= 0.88 * WORLDS
    assert all(count <= 6 for count in counts.values()), counts


def test_runs_that_learn_in_four_of_five_are_never_taken_for_solved(
    calibration: ModuleType,
) -> None:
    """Three seeds, true mean 0.9: Student's t covers it in half of all worlds."""
    process = calibration.learns_or(0.8, 0.5)
    rng = np.random.default_rng(0)
    drawn = [process.draw(rng, 3, 100) for _ in range(400)]
    assert sum(interval(one, bounds=(0, 1)).contains(0.9) for one in drawn) >= 0.95 * len(drawn)
    assert sum(interval(one).contains(0.9) for one in drawn) < 0.6 * len(drawn)


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 10])
def test_the_bound_covers_for_distributions_made_to_break_it(seeds: int) -> None:
    """Three values with random chances: lower bounds of the mean fail in 5 % of samples at most."""
    rng = np.random.default_rng(seeds)
    for _ in range(12):
        places, chances = np.sort(rng.random(3)) ** rng.integers(1, 6), rng.dirichlet([0.4] * 3)
        mean = float(places @ chances)
        samples = rng.choice(places, (400, seeds), p=chances)
        wrong = sum(p_mean_above(sample, mean - 1e-9, (0.0, 1.0)) <= 0.05 for sample in samples)
        assert wrong <= 0.05 * 400 + 3 * (0.05 * 0.95 * 400) ** 0.5


def test_the_table_is_written_between_its_marks(calibration: ModuleType) -> None:
    table = calibration.Table("Rates", [{"seeds": "all 1", "coverage": 97.25}])
    page = f"before\n{calibration.MARKS[0]}old\n{calibration.MARKS[1]}after\n"
    new_page = calibration.written(page, table)
    assert "old" not in new_page
    assert "| seeds | coverage |\n| --- | --: |\n| all 1 | 97.2 |" in new_page
    assert new_page.startswith("before\n")
    assert new_page.endswith("after\n")
    assert calibration.written(new_page, table) == new_page
