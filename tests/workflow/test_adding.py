"""Somebody adds an environment, a source, a model and a learner in a folder of their own.

They run to a report, and not a line of `src` changes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

PLUGIN = Path(__file__).parents[1] / "made_up" / "plugin"
ENVIRONMENT = """\
environment.module: walk
dataset: {source: scribbles, file: data/raw/walks.txt}
segment_length: 4
training:
  segments: 3
  curriculum: false
  updates_per_stage: [20]
  batch_size: 2
  learning_rate: 0.01
  weight_decay: 0.0
evaluation: {segments: [3], episodes: 4, target_return: 1.0}
seeds: [0, 1]
"""
EXPERIMENT = """\
title: A table against random steps
environment: walks
variants:
  table: {model: table_of_values, set: {learner.discount: 0.8}}
  random: {model: random}
table: {rows: metric, columns: variant, metric: [return, steps]}
"""
SCALE = "title: as it is\nreduced: true\n"
WALKS = "0 1 1 1 0 1 1\n1 0 1 0 1 1 1 1\n0 0 1 0 1 0 1 0 1 0 0 1\n"  # the last one arrives nowhere
SELECTED = ("--config", "scale=toy", "experiments=walks")


@pytest.fixture
def adding(project: Any) -> Any:
    """A project with the plugin's folder, and nothing run."""
    shutil.copytree(PLUGIN, project.root / "mine")
    config = project.root / "workflow/config/config.yaml"
    config.write_text(config.read_text(encoding="utf-8") + "\nplugins: [mine]\n", encoding="utf-8")
    folder = "workflow/config"
    project.write(f"{folder}/environments/walks.yaml", ENVIRONMENT)
    project.write(f"{folder}/models/table_of_values.yaml", "defaults: {model.optimism: 0.0}\n")
    project.write(f"{folder}/experiments/walks.yaml", EXPERIMENT)
    project.write(f"{folder}/scales/toy.yaml", SCALE)
    project.write("data/raw/walks.txt", WALKS)
    return project


@pytest.mark.slow
def test_a_plugin_runs_to_a_report_and_counts_where_it_is_used(adding, reruns):
    done = adding.snakemake("--cores", "2", *SELECTED)
    assert done.returncode == 0, done.stderr
    folder = adding.root / "data/runs/toy/walks/table/seed_0"
    curve = pd.read_csv(folder / "stage_1/curve.csv")
    assert list(curve.columns) == ["stage", "update", "segments", "surprise"]
    assert curve["surprise"].iloc[-1] < 1e-6  # values of a deterministic walk settle
    episodes = pd.read_csv(folder / "episodes.csv")
    assert "success" not in episodes.columns  # nobody said what success is
    assert (episodes["return"] == 1).all()
    assert (episodes["steps"] == 4).all()  # the shortest way, which no recorded walk takes
    report = (adding.root / "reports/toy/report.html").read_text(encoding="utf-8")
    assert "A table against random steps" in report
    assert "scribbles" in report
    adding.edit("mine/training/learners/watkins.py", "default=0.9", "default=0.7")
    planned = reruns(adding, *SELECTED)
    assert "train table 1" in planned
    assert not {"train random 1", "dataset"} & planned


FAULTS = {
    "a syntax error": ("mine/models/table_of_values.py", "LEARNER", "LEARNER ="),
    "an import that fails": ("mine/environments/walk.py", "import gymnasium", "import nowhere"),
    "a missing raw file": ("workflow/config/environments/walks.yaml", "walks.txt", "other.txt"),
    "an unknown source": ("workflow/config/environments/walks.yaml", "scribbles", "scribble"),
    "a missing folder": ("workflow/config/config.yaml", "plugins: [mine]", "plugins: [yours]"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_before_any_job(adding, fault):
    adding.edit(*FAULTS[fault])
    done = adding.snakemake("--cores", "1", *SELECTED)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("memdt: ")
    assert " -> " in lines[0]


def test_a_name_that_is_taken_is_refused(adding):
    shutil.copy(adding.root / "mine/models/table_of_values.py", adding.root / "mine/models/rate.py")
    done = adding.snakemake("-n", *SELECTED)
    assert "'rate' is the name of two components" in done.stderr
