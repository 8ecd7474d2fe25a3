"""A sweep is cut into batches, and planning is measured by a command that works."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def outputs(dry_run: str) -> set[str]:
    """The files that a dry run would make."""
    return set(re.findall(r"^    output: (.*)", dry_run, re.MULTILINE))


def batch(project, part: int, selected: tuple[str, ...]) -> set[str]:
    """The files that a third of the runs makes, as docs/large_sweeps.md cuts a sweep."""
    done = project.snakemake("-n", "runs", "--batch", f"runs={part}/3", *selected)
    assert done.returncode == 0, done.stderr
    return outputs(done.stdout)


def test_a_batch_of_runs_plans_its_own_runs_with_all_that_they_need(tiny_project, selected):
    made = " ".join(batch(tiny_project, 1, selected))
    assert "data/datasets/tiny/tmaze.h5" in made
    assert "tiny/cloning/seed_0/stage_1/checkpoint" in made
    assert "tiny/memory" not in made


def test_the_last_batch_of_runs_makes_what_is_left(done_project, selected):
    last = "data/runs/tiny/tiny/memory/seed_0/stage_2/manifest.json"
    (done_project.root / last).unlink()
    assert batch(done_project, 1, selected) == set()
    assert any(last in output for output in batch(done_project, 3, selected))


@pytest.mark.slow
def test_the_measurement_of_planning_counts_jobs_and_files(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    planning = importlib.import_module("benchmarks.planning")
    table = planning.measure(sizes=(100,), experiments="tmaze_memory_tokens")
    assert [row["plan"] for row in table.rows] == [
        "nothing done", "nothing done, SLURM", "all finished",
    ]  # fmt: skip
    assert len({row["jobs"] for row in table.rows}) == 1
    assert table.rows[0]["jobs"] >= 100
    assert table.rows[-1]["files"] > 3 * table.rows[0]["jobs"]
    assert all(row["CPU-s"] > 0.5 and 50 < row["MB"] < 2000 for row in table.rows)
