"""``memdt.load``: what a policy does in anybody's loop is what it does in an evaluation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import memdt
from made_up import trained_run
from memdt.environments import tmaze
from memdt.errors import UserError
from memdt.evaluation.evaluate import evaluation_seeds, load_policy, play
from memdt.evaluation.policy_settings import EVALUATION
from memdt.settings.schema import Condition


def walk(policy: Any, environment: gymnasium.Env[Any, Any], seed: int) -> tuple[float, int]:
    """The return and the length of an episode."""
    policy.reset()
    observation, _ = environment.reset(seed=seed)
    reward, earned, steps, ended = 0.0, 0.0, 0, False
    while not ended:
        observation, reward, terminated, truncated, _ = environment.step(
            policy.act(observation, reward)
        )
        earned, steps, ended = earned + float(reward), steps + 1, terminated or truncated
    return earned, steps


def test_one_episode_after_the_other_is_the_evaluation(trained: Path) -> None:
    run = trained_run.settings()
    evaluated = play(
        run, load_policy(run, trained_run.RUN / "stage_2" / "checkpoint.safetensors"),
        Condition(), 3, 0, "",
    )  # fmt: skip
    policy = memdt.load(trained_run.RUN)
    environment = policy.make_environment(segments=3)
    walks = [walk(policy, environment, seed) for seed in evaluation_seeds(run)]
    assert [one[0] for one in walks] == evaluated.returns.tolist()
    assert [one[1] for one in walks] == evaluated.steps.tolist()


def mazes(lengths: list[int], mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv(
        [lambda length=length: tmaze.TMaze(corridor_length=length) for length in lengths],
        autoreset_mode=mode,
    )


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_rows_that_begin_at_different_steps_are_those_played_alone(
    trained: Path, mode: AutoresetMode
) -> None:
    """Every row is compared with a policy of its own that sees this row alone."""
    environments, together = mazes([4, 9, 13], mode), memdt.load(trained_run.RUN)
    alone = [memdt.load(trained_run.RUN) for _ in range(3)]
    observations, _ = environments.reset(seed=5)
    rewards, before = np.zeros(3), np.zeros(3, bool)
    for _ in range(60):
        actions = together.act(observations, rewards)
        seen = zip(alone, observations, rewards, strict=True)
        by_itself = [one.act(observation, reward) for one, observation, reward in seen]
        assert actions.tolist() == [int(action) for action in by_itself]
        observations, rewards, terminated, truncated, _ = environments.step(actions)
        ended = terminated | truncated
        begun, before = (ended if mode is AutoresetMode.SAME_STEP else before), ended
        together.reset(begun)
        for row in np.flatnonzero(begun):
            alone[row].reset()


@pytest.mark.parametrize(
    "path", ["stage_2", "stage_2/checkpoint.safetensors"], ids=["stage", "file"]
)
def test_a_stage_and_its_file_are_the_run(trained: Path, path: str) -> None:
    of_run, of_stage = memdt.load(trained_run.RUN), memdt.load(trained_run.RUN / path)
    for name, weights in of_run.policy.state_dict().items():
        np.testing.assert_array_equal(weights, of_stage.policy.state_dict()[name])
    assert of_stage.target_return == 1.0


def test_what_cannot_be_loaded_is_refused_in_one_line(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: there is no such file or folder -> give"):
        memdt.load("nowhere")
    with pytest.raises(UserError, match="no checkpoint in this folder"):
        memdt.load(tmp_path)
    shutil.copytree(trained_run.RUN, tmp_path / "run")
    (tmp_path / "run" / EVALUATION).unlink()
    with pytest.raises(UserError, match=r"has not been evaluated.* -> give one"):
        memdt.load(tmp_path / "run")
    assert memdt.load(tmp_path / "run", target_return=0.5).target_return == 0.5
    damaged = tmp_path / "run" / "stage_2" / "checkpoint.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-10])
    with pytest.raises(UserError, match="not a whole checkpoint|is not what manifest"):
        memdt.load(tmp_path / "run")
    shutil.copy(trained_run.RUN / EVALUATION, tmp_path / EVALUATION)
    with pytest.raises(UserError, match="plays the checkpoints of another"):
        memdt.load(tmp_path)


def test_an_observation_of_another_space_is_refused(trained: Path) -> None:
    policy = memdt.load(trained_run.RUN)
    with pytest.raises(UserError, match=r"has shape \(3,\), this policy takes \(4,\)"):
        policy.act(np.zeros(3))
    policy.act(np.zeros((2, 4)))
    with pytest.raises(UserError, match=r"3 observations after 2 .* -> call reset"):
        policy.act(np.zeros((3, 4)))


def test_a_demonstration_is_asked_for_and_counts(trained: Path) -> None:
    folder = trained_run.make(
        trained_run.settings("pdt", demonstration_steps=3), Path("data/runs/tiny/walk/shown/seed_0")
    )
    policy, seen = memdt.load(folder, greedy=False), np.zeros(4, np.float32)
    with pytest.raises(UserError, match="pdt reads a demonstration of up to 3 steps"):
        policy.act(seen)
    with pytest.raises(UserError, match="demonstration: has no rewards"):
        policy.reset(demonstration={"observations": np.zeros((2, 4)), "actions": np.zeros(2)})
    states = []
    for hint in (-1.0, 1.0):
        rows = np.full((5, 4), hint, np.float32)
        policy.reset(
            demonstration={"observations": rows, "actions": np.zeros(5), "rewards": np.ones(5)}
        )
        demonstration = policy._shown(2)
        assert demonstration is not None
        assert demonstration.observations.shape == (2, 3, 4)
        assert demonstration.returns_to_go[0].tolist() == [3.0, 2.0, 1.0]
        policy.act(seen)
        states.append(demonstration.observations.mean().item())
    assert states == [-1.0, 1.0]


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import memdt, sys; print(*sys.modules); memdt.load"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "gymnasium", "pydantic"} & set(done.stdout.split())
