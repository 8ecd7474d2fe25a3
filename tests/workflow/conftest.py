"""A tiny experiment that is really run, once for all workers; tests take copies of what it left."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

EXPERIMENT = """\
title: two variants, two stages and one
answers: {paper: rate, item: none}
environment: tmaze
set: {evaluation.segments: [1, 2]}
variants:
  memory: {model: rate, set: {training.segments: 2}}
  cloning: {model: behaviour_cloning_mlp}
"""
SELECTED = ("--config", "scale=tiny", "experiments=tiny")


@pytest.fixture
def selected() -> tuple[str, ...]:
    """The options that select the tiny experiment."""
    return SELECTED


def make_tiny(project: Any) -> Any:
    """Give a project an experiment ``tiny`` and a scale ``tiny``: smoke with two stages.

    They are what a bare `snakemake` or `dvc repro` takes.
    """
    scale = yaml.safe_load((project.root / "workflow/config/scales/smoke.yaml").read_text())
    for key in ("only", "experiments"):
        scale.pop(key, None)
    project.write(
        "workflow/config/scales/tiny.yaml", yaml.safe_dump(scale | {"meaningless": False})
    )
    project.edit("workflow/config/scales/tiny.yaml", "  training.segments: 1\n", "")
    project.write("workflow/config/experiments/tiny.yaml", EXPERIMENT)
    project.edit(
        "workflow/config/environments/tmaze.yaml", "\n  segments: 3", "\n  segments: 1"
    )  # fmt: skip
    project.edit("workflow/config/config.yaml", "scale: quick", "scale: tiny")
    chosen = "experiments: [tmaze_table_2, tmaze_figure_5]"
    project.edit("workflow/config/config.yaml", chosen, "experiments: [tiny]")
    return project


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
    make_project: Callable[[Path], Any],
    open_project: Callable[[Path], Any],
) -> Any:
    """A project whose tiny experiment has run to its report. Look, but do not touch."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # one run serves all workers
    root = folder / "finished"
    with (folder / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "run.log").exists():
            project = make_tiny(make_project(root))
            done = project.snakemake("--cores", "2", *SELECTED)
            assert done.returncode == 0, done.stderr
            project.write("run.log", done.stderr)
    return open_project(root)


@pytest.fixture
def done_project(tmp_path: Path, finished: Any) -> Any:
    """A copy of the finished project, file times included, to edit."""
    shutil.copytree(finished.root, tmp_path / "project", symlinks=True)
    return type(finished)(tmp_path / "project")


@pytest.fixture
def tiny_project(tmp_path: Path, make_project: Callable[[Path], Any]) -> Any:
    """A project with the tiny experiment, nothing run."""
    return make_tiny(make_project(tmp_path / "project"))


@pytest.fixture
def reruns() -> Callable[..., set[str]]:
    """What Snakemake would do now: rule names, with variant and stage where they have one.

    Of the tiny experiment, or of what other options select.
    """
    return what_reruns


def what_reruns(project: Any, *selected: str) -> set[str]:
    done = project.snakemake("-n", *(selected or SELECTED))
    assert done.returncode == 0, done.stderr
    blocks = re.findall(
        r"^(?:local)?rule (\w+):\n(.*?)(?=^\[|^Job stats|\Z)", done.stdout, re.M | re.S
    )
    return {_job(rule, text) for rule, text in blocks if rule != "all"}


def _job(rule: str, text: str) -> str:
    wildcards = dict(re.findall(r"(\w+)=([\w-]+)", text.partition("wildcards: ")[2].split("\n")[0]))
    return " ".join([rule, *(wildcards[key] for key in ("variant", "stage") if key in wildcards)])
