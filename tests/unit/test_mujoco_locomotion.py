"""HalfCheetah, Hopper and Walker2d: D4RL's normalised score, and the datasets of each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from made_up.project import forget_settings
from memdt import paths
from memdt.data.sources import interface as sources
from memdt.environments import mujoco_locomotion
from memdt.environments.mujoco.d4rl_tables import references
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.settings.layers import available
from memdt.settings.resolve import resolve_dataset
from memdt.workflow import inputs

ROOT = Path(__file__).parents[2]
NAMES = {"halfcheetah": "HalfCheetah-v4", "hopper": "Hopper-v4", "walker2d": "Walker2d-v4"}
SETS = ("medium", "medium_replay", "medium_expert")


def test_scores_are_those_of_d4rl():
    """Against the package's own function, in a process of its own: it has a folder made."""
    code = "import d4rl; print([d4rl.get_normalized_score(f'{n}-medium-v2', r) for n, r in %r])"
    cases = [(name, value) for name in NAMES for value in (-100.0, 1234.5, 5000.0)]
    environment = {"D4RL_SUPPRESS_IMPORT_ERROR": "1", "D4RL_DATASET_DIR": "/nowhere"}
    code = f"import os; os.makedirs = lambda *a, **k: None\n{code % (cases,)}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    expected = 100 * np.array(json.loads(done.stdout))
    scores = [
        Task.named("mujoco_locomotion", {"id": NAMES[name], "reference": name}).judge(
            np.array([value]), np.array([False]), ["all"]
        )["score"][0]
        for name, value in cases
    ]
    np.testing.assert_allclose(scores, expected)


def test_the_table_is_read_without_importing_d4rl():
    code = (
        "import sys; from memdt.environments.mujoco.d4rl_tables import reference_returns;"
        "print(reference_returns('hopper'), 'd4rl' in sys.modules, 'gym' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.stdout.split(") ")[1].split() == ["False", "False"]


def test_an_unknown_reference_is_refused_with_the_closest_name():
    assert set(NAMES) <= set(references())
    with pytest.raises(ValidationError, match="did you mean 'hopper'"):
        mujoco_locomotion.Settings(id="Hopper-v4", reference="hoper")


@pytest.fixture
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


def environments(*, ending):
    return [f"{name}_{kind}{ending}" for name in NAMES for kind in SETS]


def test_there_are_nine_sets_of_each_origin_that_can_be(here):
    public = [name for name in environments(ending="_public") if "replay" not in name]
    expected = {"from nothing": environments(ending=""), "public policy": public}
    expected["published"] = environments(ending="_d4rl")
    for origin, names in expected.items():
        assert set(names) <= set(available("environments"))
        for name in names:
            settings = resolve_dataset(name, "quick")
            assert sources.origin(settings.dataset) == origin
            assert settings.environment.parameters["id"] == NAMES[name.split("_")[0]]


@pytest.mark.parametrize("scale", ["smoke", "quick", "paper"])
def test_the_sets_of_an_environment_share_one_agent(here, scale):
    owners = {name: inputs.agent(scale, name) for name in environments(ending="")}
    assert {name: owner[0] for name, owner in owners.items()} == {
        name: name.split("_")[0] for name in owners
    }
    folder = paths.agent(scale, "hopper")
    assert inputs.dataset_inputs(scale, "hopper_medium_replay") == [
        folder / "replay.h5", folder / "actors.safetensors",
    ]  # fmt: skip
    assert all(inputs.agent(scale, name) is None for name in environments(ending="_d4rl"))


def test_a_scale_reaches_only_the_sets_of_the_source_that_it_speaks_of(here):
    assert resolve_dataset("hopper_medium", "quick").dataset["most_steps"] == 200_000
    assert "most_steps" not in resolve_dataset("hopper_medium_d4rl", "quick").dataset


def test_a_fetched_file_is_known_by_its_path(here):
    path = Path("data/raw/fetched/d4rl/hopper_medium-v2.hdf5")
    assert inputs.fetched(path).size == 152756557
    assert inputs.raw_files(resolve_dataset("hopper_medium_d4rl", "quick")) == [path]
    with pytest.raises(UserError, match="no dataset names this file"):
        inputs.fetched(Path("data/raw/fetched/other.hdf5"))


def test_data_of_different_origin_never_share_a_table(config):
    names = {"ours": "hopper_medium", "theirs": "hopper_medium_d4rl"}
    variants = {key: {"model": "random", "environment": name} for key, name in names.items()}
    mixed = {"title": "mixed", "environment": "hopper_medium", "variants": variants}
    mixed["table"] = {"metric": "score"}
    file = config / "experiments/mixed.yaml"
    file.write_text(yaml.safe_dump(mixed))
    with pytest.raises(
        UserError, match=r"different origin in one table: from nothing \(ours\) and"
    ):
        inputs.check_origins("mixed")
    variants["theirs"] = {"checkpoint_of": "mixed/ours", "environment": "hopper_medium_d4rl"}
    file.write_text(yaml.safe_dump(mixed))
    forget_settings()
    inputs.check_origins("mixed")  # what is only played there is trained on one set


@pytest.mark.parametrize("name", NAMES)
def test_an_evaluation_lasts_as_long_as_an_episode(here, name):
    task = Task.of(resolve_dataset(name, "quick").environment)
    environment = task.module.make(task.settings)
    environment.close()
    assert environment.spec.max_episode_steps == 50 * 20
