"""Edit, then see what reruns: just what the edit has made wrong, and nothing for a comment."""

from __future__ import annotations

import pytest

REPORT = {"table", "claims", "metrics", "report"}
EVALUATIONS = {"evaluate memory", "evaluate cloning"}
MEMORY = {"train memory 1", "train memory 2", "evaluate memory"}
CLONING = {"train cloning 1", "evaluate cloning"}
TMAZE = "workflow/config/environments/tmaze.yaml"


def test_nothing_is_left_to_do(finished, reruns):
    assert reruns(finished) == set()


def test_comments_docstrings_and_unreached_modules_rerun_nothing(done_project, reruns):
    for name in ("models/rate", "training/train", "data/make", "evaluation/rollout"):
        path = done_project.root / f"src/memdt/{name}.py"
        text = path.read_text(encoding="utf-8")
        path.write_text(f"# a comment\n{text}\n# another one\n", encoding="utf-8")
    done_project.edit("src/memdt/training/train.py", '"""Train one curriculum stage:', '"""Trains:')
    transformer_xl = done_project.root / "src/memdt/models/transformer_xl.py"
    transformer_xl.write_text(transformer_xl.read_text() + "\nUNUSED = 1\n")
    done_project.write("src/memdt/models/another.py", "raise RuntimeError('nobody asked for me')\n")
    assert reruns(done_project) == set()


def test_a_comment_in_the_settings_reruns_nothing(done_project, reruns):
    path = done_project.root / TMAZE
    path.write_text("# a comment\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert reruns(done_project) == set()


def test_a_changed_model_reruns_the_runs_of_this_model(done_project, reruns):
    path = done_project.root / "src/memdt/models/behaviour_cloning_mlp.py"
    path.write_text(path.read_text(encoding="utf-8") + "\nCHANGED = 1\n", encoding="utf-8")
    assert reruns(done_project) == CLONING | REPORT


def test_a_changed_trainer_retrains_everything_and_collects_nothing(done_project, reruns):
    path = done_project.root / "src/memdt/training/losses.py"
    path.write_text(path.read_text(encoding="utf-8") + "\nCHANGED = 1\n", encoding="utf-8")
    assert reruns(done_project) == MEMORY | CLONING | REPORT


def test_an_evaluation_setting_retrains_nothing(done_project, reruns):
    done_project.edit(TMAZE, "target_return: 1.0", "target_return: 0.5")
    assert reruns(done_project) == EVALUATIONS | REPORT


def test_a_training_setting_of_one_variant_retrains_that_variant(done_project, reruns):
    path = "workflow/config/experiments/tiny.yaml"
    done_project.edit(
        path, "{training.segments: 2}", "{training.segments: 2, training.beta_1: 0.8}"
    )
    assert reruns(done_project) == MEMORY | REPORT


def test_a_new_setting_reruns_nothing_until_it_is_set(done_project, reruns):
    done_project.edit(
        "src/memdt/settings/schema.py", "    weight_decay: float = Field(ge=0)\n",
        "    weight_decay: float = Field(ge=0)\n    brand_new: float = 0.5\n",
    )  # fmt: skip
    assert reruns(done_project) == set()
    done_project.edit(
        "workflow/config/experiments/tiny.yaml", "{training.segments: 2}",
        "{training.segments: 2, training.brand_new: 0.7}",
    )  # fmt: skip
    assert reruns(done_project) == MEMORY | REPORT


def test_a_longer_curriculum_trains_only_what_is_new(done_project, reruns):
    done_project.edit(
        "workflow/config/experiments/tiny.yaml", "cloning: {model: behaviour_cloning_mlp}",
        "cloning: {model: behaviour_cloning_mlp, set: {training.segments: 2}}",
    )  # fmt: skip
    assert reruns(done_project) == {"train cloning 2", "evaluate cloning"} | REPORT


def test_a_new_variant_runs_alone(done_project, reruns):
    path = done_project.root / "workflow/config/experiments/tiny.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "  guessing: {model: random}\n")
    assert reruns(done_project) == {"train guessing 1", "evaluate guessing"} | REPORT


def test_a_new_dataset_reruns_everything(done_project, reruns):
    done_project.edit(TMAZE, "spare_steps: 1", "spare_steps: 2")
    assert reruns(done_project) == {"dataset"} | MEMORY | CLONING | REPORT


def test_a_changed_report_reruns_the_report_alone(done_project, reruns):
    path = done_project.root / "src/memdt/report/style.css"
    path.write_text(path.read_text(encoding="utf-8") + "\nb { color: red }\n", encoding="utf-8")
    assert reruns(done_project) == {"report"}


def test_published_numbers_rerun_no_run(done_project, reruns):
    path = done_project.root / "data/published/rate.csv"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert reruns(done_project) <= REPORT | {"figure"}
    assert "table" in reruns(done_project)


TUNED = """\
title: from the checkpoints of another experiment
answers: {paper: rate, item: none}
environment: tmaze
set: {evaluation.segments: [1]}
variants:
  tuned: {start_from: tiny/memory, set: {training.segments: 1}}
  elsewhere: {checkpoint_of: tuned/tuned, environment: wide}
"""


@pytest.mark.slow
def test_what_starts_from_a_run_is_trained_after_it_and_again_with_it(done_project, reruns):
    project, options = done_project, ("--config", "scale=tiny", "experiments=tuned")
    project.write("workflow/config/experiments/tuned.yaml", TUNED)
    tmaze = (project.root / TMAZE).read_text(encoding="utf-8")
    wide = tmaze.replace("spare_steps: 1", "spare_steps: 2")
    project.write("workflow/config/environments/wide.yaml", wide)
    project.edit(
        "workflow/config/scales/tiny.yaml", "environments:\n",
        "environments:\n  wide: {segment_length: 6, environment.parameters.corridor_length: 4,\n"
        "    dataset.lengths: [6, 12], dataset.episodes_per_length: 8}\n",
    )  # fmt: skip
    mine = {"train tuned 1", "evaluate tuned", "evaluate elsewhere"}
    assert reruns(project, *options) == mine | REPORT
    project.done("snakemake", "--cores", "2", *options)
    assert reruns(project, *options) == set()
    project.edit(
        "workflow/config/experiments/tiny.yaml", "{training.segments: 2}",
        "{training.segments: 2, training.beta_1: 0.8}",
    )  # fmt: skip
    base = {"train memory 1", "train memory 2"}
    assert reruns(project, *options) == base | mine | REPORT
