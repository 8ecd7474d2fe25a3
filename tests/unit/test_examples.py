"""The scripts of examples/, each run as its first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from made_up import trained_run
from memdt.data.export import export
from memdt.environments.task import Task

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMDT_DEVICE", "cpu")
    return tmp_path


def run(name: str, *arguments: str, updates: int | None = None) -> str:
    """What a script prints; ``updates``: with so few that a test can wait for them."""
    path = str(EXAMPLES / f"{name}.py")
    command = [sys.executable, path, *arguments]
    if updates is not None:
        code = f"import {name}; {name}.main(*{arguments!r}, updates={updates})"
        command = [sys.executable, "-c", code]
    paths = os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_checkpoint_is_played(folder: Path) -> None:
    trained_run.make(trained_run.settings())
    lines = run("play_a_checkpoint", str(trained_run.RUN)).splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"episode {number}: return ") for number, line in enumerate(lines))


def test_rate_is_trained_on_a_minari_set(folder: Path) -> None:
    from memdt.data.episode_file import write_episodes
    from memdt.data.episodes import EpisodeStore

    task, steps = Task.named("gymnasium", {"id": "CartPole-v1"}), 120
    store = EpisodeStore(
        observations=np.zeros((steps, 4), np.float32), actions=np.arange(steps) % 2,
        rewards=np.ones(steps, np.float32), offsets=np.array([0, 60, steps]),
        final_observations=np.zeros((2, 4), np.float32), terminated=np.array([True, True]),
        truncated=np.array([False, False]), seeds=np.array([0, 1]), groups=np.array(["all"] * 2),
        later_steps=np.zeros(2, np.int64), later_returns=np.zeros(2),
    )  # fmt: skip
    write_episodes([store], folder / "poles.h5", {"settings_digest": "abc"})
    export(folder / "poles.h5", "abc", task, folder / "sets", "cartpole/made-v0", {})
    output = run(
        "train_on_minari", str(folder / "sets"), "cartpole/made-v0", "CartPole-v1", "trained",
        updates=2,
    )  # fmt: skip
    assert float(output.rpartition("return ")[2]) >= 8  # no pole falls sooner
    assert (folder / "trained" / "stage_1" / "checkpoint.safetensors").is_file()


def test_a_model_of_a_plugin_is_trained(folder: Path) -> None:
    assert "of 20 mazes" in run("add_a_model", "trained", updates=2)


def test_two_variants_are_compared_over_their_seeds(folder: Path) -> None:
    head = "condition,segments,episode,environment_seed,return,steps,success,group\n"
    for variant, solved in (("near", (1, 1, 1)), ("far", (0, 1, 0))):
        for seed, success in enumerate(solved):
            path = folder / variant / f"seed_{seed}" / "episodes.csv"
            path.parent.mkdir(parents=True)
            path.write_text(f"{head}as_published,3,0,0,1,6,{success},all\n")
    output = run("compare_two_runs", "near", "far")
    assert "far: 0.00, 1.00, 0.00" in output
    assert "difference 0.67 [" in output
    assert output.rstrip().endswith("over 3 seeds")
