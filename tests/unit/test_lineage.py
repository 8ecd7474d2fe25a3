"""Variants on another environment, and those that start from or play another run's checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from memdt import paths
from memdt.errors import UserError
from memdt.settings import composition, files, layers, remembered, resolve, slices
from memdt.settings.resolve import digest
from memdt.settings.runs import Run
from memdt.workflow import observations, plan

BASE = """\
title: what others start from
answers: {paper: rate, item: none}
environment: tmaze
set: {model.layers: 3, training.batch_size: 5}
variants:
  memory: {model: rate, set: {training.segments: 2, model.memory_tokens: 7}}
"""
TUNED = """\
title: what starts from another run
answers: {paper: rate, item: none}
environment: tmaze
variants:
  tuned: {start_from: base/memory, environment: wide, set: {training.segments: 1}}
  again: {start_from: tuned/tuned, set: {training.segments: 1}}
  moved: {checkpoint_of: base/memory, environment: wide}
  back: {checkpoint_of: tuned/tuned, environment: tmaze}
  plain: {checkpoint_of: tuned/tuned}
"""


@pytest.fixture(autouse=True)
def _experiments(config: Path) -> None:
    (config / "experiments/base.yaml").write_text(BASE)
    (config / "experiments/tuned.yaml").write_text(TUNED)
    wide = yaml.safe_load((config / "environments/tmaze.yaml").read_text())
    wide["environment"] = {"module": "tmaze", "parameters": {"spare_steps": 2}}
    (config / "environments/wide.yaml").write_text(yaml.safe_dump(wide))


def resolved(variant: str, experiment: str = "tuned") -> resolve.Resolved:
    return resolve.resolve(experiment, variant, "paper")


def refused(variant: str) -> str:
    with pytest.raises(UserError) as raised:
        resolved(variant)
    return raised.value.line()


def edit(config: Path, name: str, old: str, new: str) -> None:
    path = config / "experiments" / f"{name}.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_what_starts_from_a_run_has_its_model_and_trains_as_it_says_itself():
    base, tuned = resolved("memory", "base"), resolved("tuned")
    assert tuned.settings.model == base.settings.model
    assert (tuned.settings.model["layers"], tuned.settings.model["memory_tokens"]) == (3, 7)
    assert tuned.settings.environment.name == "wide"
    assert tuned.settings.environment.parameters["spare_steps"] == 2
    assert tuned.settings.training.segments == 1
    assert tuned.settings.training.batch_size != base.settings.training.batch_size == 5
    assert (tuned.experiment, tuned.variant) == ("tuned", "tuned")
    assert tuned.start == ("base", "memory")


def test_the_run_that_training_starts_from_shapes_the_checkpoint():
    base, tuned, again = (
        resolved("memory", "base").settings,
        resolved("tuned").settings,
        resolved("again"),
    )
    assert slices.started(tuned, 1) == slices.train(base, base.stages)
    assert slices.train(tuned, 1)["start"] == slices.train(base, 2)
    assert slices.train(again.settings, 1)["start"]["start"] == slices.train(base, 2)
    assert "start" not in slices.train(base, 2)
    assert slices.started(base, 2) == slices.train(base, 1)


def test_an_edit_of_the_base_makes_what_starts_from_it_stale(config):
    before = digest(slices.train(resolved("again").settings, 1))
    edit(config, "base", "training.batch_size: 5", "training.batch_size: 6")
    for function in (resolve.resolve, files.experiment_file, layers.read_yaml):
        function.cache_clear()
    assert digest(slices.train(resolved("again").settings, 1)) != before


def test_checkpoints_are_played_elsewhere_as_they_were_trained():
    base, moved = resolved("memory", "base").settings, resolved("moved")
    assert (moved.experiment, moved.variant) == ("base", "memory")
    assert moved.settings.environment.name == "wide"
    assert (moved.settings.model, moved.settings.training) == (base.model, base.training)
    assert slices.played(moved.settings) == slices.train(base, base.stages)
    assert slices.evaluate(moved.settings)["parameters"]["spare_steps"] == 2
    back = resolved("back")
    assert back.settings.environment.name == "tmaze"
    assert slices.played(back.settings) == slices.train(resolved("tuned").settings, 1)


def test_without_an_environment_checkpoints_are_played_where_they_were_trained():
    assert resolved("plain").settings.environment.name == "wide"
    assert resolved("again").settings.environment.name == "tmaze"


def test_the_plan_follows_the_line():
    run = Run("tuned", "tuned", 4)
    assert plan.start("paper", run, 1) == paths.checkpoint("paper", "base", "memory", 4, 2)
    assert plan.start("paper", Run("base", "memory", 4), 1) is None
    assert plan.start("paper", Run("base", "memory", 4), 2) == paths.checkpoint(
        "paper", "base", "memory", 4, 1
    )
    back = Run("tuned", "back", 4)
    assert plan.last_checkpoint("paper", back) == paths.checkpoint("paper", "tuned", "tuned", 4, 1)
    assert plan.trained("paper", back) == (run, Run("base", "memory", 4))
    assert plan.stages("paper", back) == 0
    assert plan.stages("paper", run) == 1
    names = [path.stem for path in plan.datasets("paper", ["tuned"])]
    assert sorted(names) == ["tmaze", "wide"]


def test_the_components_of_an_experiment_are_those_of_the_whole_line():
    parts = composition.components("tuned")
    assert parts.experiments == ("base", "tuned")
    assert parts.environments == ("tmaze", "wide")
    assert (parts.models, parts.environment_modules) == (("rate",), ("tmaze",))


def test_remembered_lines_are_those_that_were_resolved():
    names = [("tuned", variant, "paper") for variant in ("tuned", "moved")]
    remembered.keep(names, observations.note)
    remembered.resolve.cache_clear()
    remembered._kept.cache_clear()
    for one in names:
        kept, fresh = remembered.resolve(*one), resolve.resolve(*one)
        assert (kept.settings, kept.start) == (fresh.settings, fresh.start)


@pytest.mark.parametrize(
    ("old", "new", "variant", "message"),
    [
        ("{training.segments: 1}}\n  again", "{model.layers: 4}}\n  again", "tuned",
         "model.layers is 3 in the checkpoints of base/memory, not 4"),
        ("environment: wide}\n  back", "environment: wide, set: {training.segments: 1}}\n  back",
         "moved", "training.segments is 2 in the checkpoints of base/memory, not 1"),
        ("environment: tmaze\nvariants", "environment: tmaze\nset: {model.width: 8}\nvariants",
         "tuned", "model.width is 256 in the checkpoints of base/memory, not 8"),
        ("base/memory, environment: wide, set", "base/memry, environment: wide, set", "tuned",
         "did you mean 'memory'?"),
        ("start_from: base/memory", "start_from: bass/memory", "tuned",
         "start_from 'bass/memory' is unknown"),
        ("start_from: base/memory", "start_from: tuned/moved", "tuned",
         "start_from must name a variant that is trained itself"),
        ("start_from: base/memory", "start_from: tuned/again", "tuned", "leads back to itself"),
        ("environment: wide, set", "environment: narrow, set", "tuned", "there is no 'narrow'"),
        ("set: {training.segments: 1}}\n  again", "set: {start.x: 1}}\n  again", "tuned",
         "unknown key"),
    ],
)  # fmt: skip
def test_impossible_starts_are_refused_in_one_line(config, old, new, variant, message):
    edit(config, "tuned", old, new)
    line = refused(variant)
    assert message in line
    assert "\n" not in line
