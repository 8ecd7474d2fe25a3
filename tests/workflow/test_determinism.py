"""Two runs in two folders, in another order and beside other jobs: the same bytes in every file."""

from __future__ import annotations

from pathlib import Path

import pytest

KEPT = ("data/datasets", "data/runs", "reports")
# What is measured differs each time; it is not kept with the results.
VARYING = ("measured.json", "cost.html")
LEAST_FILES = 100
# Every environment, model kind and step once; all experiments of `smoke` would take half an hour.
EXPERIMENTS = (
    "tmaze_table_2", "tmaze_memory_kinds", "vizdoom_table_6", "metaworld_table_6",
    "mujoco_memory_tokens", "atari_token_roles",
)  # fmt: skip
SELECTED = ("--config", "scale=smoke", f"experiments={','.join(EXPERIMENTS)}")
# One job after the other, or side by side as another scheduler has it.
FIRST = ("--cores", "1")
SECOND = ("--cores", "2", "--scheduler", "greedy")
# Turns the order of the jobs around: short chains and evaluations go first.
BACKWARDS = ("workflow/rules/train.smk", "    priority: chain_left\n", "    priority: -1\n")


@pytest.mark.slow
def test_two_runs_leave_the_same_bytes(tmp_path, make_project):
    one, two = (make_project(tmp_path / name / "project") for name in ("one", "a longer name"))
    two.edit(*BACKWARDS)
    for project, options in ((one, FIRST), (two, SECOND)):
        done = project.snakemake(*options, *SELECTED, timeout=1200)
        assert done.returncode == 0, done.stderr
    first, second = kept(one.root), kept(two.root)
    assert sorted(first) == sorted(second)
    assert len(first) >= LEAST_FILES
    assert [name for name in first if first[name] != second[name]] == []
    assert order(one.root) != order(two.root)


def kept(root: Path) -> dict[str, bytes]:
    """Every file that is a result, by its path."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in KEPT
        for path in (root / folder).rglob("*")
        if path.is_file() and not path.name.endswith(VARYING)
    }


def order(root: Path) -> list[str]:
    """The training stages in the order in which they ended."""
    logs = (root / "data/logs/train").rglob("*.log")
    ended = sorted(logs, key=lambda log: log.stat().st_mtime_ns)
    return [str(log.relative_to(root)) for log in ended]
