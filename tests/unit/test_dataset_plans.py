"""The plan refuses a wrong source of a dataset before any job starts."""

from __future__ import annotations

import json

import pytest
import yaml

from made_up.minari_sets import MinariSet, box
from memdt import paths
from memdt.errors import UserError
from memdt.workflow import plan

ENVIRONMENT = {
    "environment": {"module": "gymnasium", "parameters": {"id": "CartPole-v1"}},
    "dataset": {"source": "minari", "id": "lab/made-v0"},
    "segment_length": 20,
    "evaluation": {"segments": [1], "target_return": 1},
    "training": {"weight_decay": 0, "learning_rate": 0.1},
}
EXPERIMENT = {
    "title": "mine",
    "environment": "mine",
    "variants": {"random": {"model": "random"}},
    "table": {"rows": "metric", "columns": "variant", "metric": "return"},
}


@pytest.fixture
def check(config):
    """Plan an experiment on a made-up set, with changes to the environment's file."""

    def check(**changed):
        (config / "environments/mine.yaml").write_text(yaml.safe_dump({**ENVIRONMENT, **changed}))
        (config / "experiments/mine.yaml").write_text(yaml.safe_dump(EXPERIMENT))
        plan.check("smoke", ["mine"])

    return check


@pytest.fixture
def made(config):
    """A set that might be one of CartPole."""
    made = MinariSet(config.parents[1] / "data/raw/minari", [30, 20])
    made.tell(
        observation_space=json.dumps(box(-5, 5, (4,))),
        action_space='{"type": "Discrete", "n": 2, "start": 0}',
    )
    for number, steps in enumerate((30, 20)):
        made.put(number, observations=[[0.0] * 4] * (steps + 1), actions=[0, 1] * (steps // 2))
    return made


def refusal(check, **changed):
    with pytest.raises(UserError) as error:
        check(**changed)
    return error.value.line()


def test_a_set_of_the_environment_passes(check, made):
    check()


def test_an_id_that_nobody_registered(check, made):
    line = refusal(check, environment={"module": "gymnasium", "parameters": {"id": "CartPol-v1"}})
    assert line.startswith("workflow/config/environments/mine.yaml: environment.parameters.id: ")
    assert "did you mean 'CartPole-v1'?" in line


def test_a_set_of_another_environment(check, made):
    line = refusal(check, environment={"module": "gymnasium", "parameters": {"id": "Acrobot-v1"}})
    assert "observations have the shape (4,), those of the environment (6,)" in line


def test_a_set_of_another_version(check, made):
    made.tell(minari_version="1.0.0")
    assert "metadata.json: written by Minari 1.0.0" in refusal(check)


def test_a_set_that_is_not_there(check, made):
    line = refusal(check, dataset={"source": "minari", "id": "lab/mad-v0"})
    assert "there is no such file -> put one there; there are data/raw/minari/lab/made-v0" in line


def test_keys_of_another_source(check, made):
    line = refusal(check, dataset={"source": "minari", "id": "lab/made-v0", "lengths": [3]})
    assert "mine.yaml: dataset.lengths: unknown key -> allowed: id, labels," in line


def test_an_environment_in_which_nobody_plays(check):
    line = refusal(check, dataset={"source": "played", "lengths": [20], "episodes_per_length": 2})
    assert line == (
        "workflow/config/environments/mine.yaml: dataset.source: the source 'played' needs "
        "collection_policy in the environment 'gymnasium' -> name another source, or define "
        "collection_policy there"
    )


def test_a_figure_of_returns_needs_the_datasets_that_its_variants_learn_from() -> None:
    needed = set(plan.figure_inputs("quick", "atari_returns"))
    learnt_from = {paths.dataset("quick", game) for game in ("pong", "breakout")}
    assert needed == learnt_from | set(plan.episodes("quick", ["atari_table_3"]))
    assert not learnt_from & set(plan.figure_inputs("quick", "atari_profile"))
