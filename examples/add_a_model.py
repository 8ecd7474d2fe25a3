"""Train a model of your own from a folder of plugins, and play it.

The model is `my_models/models/moving_average.py`. In a clone of the project, `plugins:
[examples/my_models]` in workflow/config/config.yaml and a file
workflow/config/models/moving_average.yaml make it usable in every experiment. Here a folder with
nothing but that one line is enough.

    python examples/add_a_model.py trained
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import memdt
from memdt.data.make import make_dataset
from memdt.environments.tmaze import Settings as Maze
from memdt.settings.schema import DatasetSettings, RunSettings
from memdt.training.train import TrainingJob, train_stage

PLUGINS = Path(__file__).parent / "my_models"


def main(out: str, updates: int = 300) -> float:
    """Train on short mazes; return how many of 20 new ones are solved."""
    folder = Path(out)
    (folder / "workflow" / "config").mkdir(parents=True)
    os.chdir(folder)
    Path("workflow/config/config.yaml").write_text(f"plugins: [{PLUGINS.resolve()}]\n")
    settings = RunSettings.model_validate(
        {
            "environment": {
                "name": "maze", "module": "tmaze",
                "parameters": Maze(corridor_length=8).model_dump(),
            },
            "dataset": {"source": "played", "lengths": [10], "episodes_per_length": 200},
            "segment_length": 5,
            "model": {"name": "moving_average", "width": 32, "keep": 0.95},
            "training": {
                "segments": 2, "curriculum": False, "updates_per_stage": [updates],
                "batch_size": 32, "learning_rate": 1e-2, "weight_decay": 0.0,
            },
            "evaluation": {"segments": [2], "episodes": 10, "target_return": 1.0},
            "seeds": [0],
        }
    )  # fmt: skip
    dataset = Path("dataset.h5")
    make_dataset(
        DatasetSettings(environment=settings.environment, dataset=settings.dataset), dataset
    )
    train_stage(TrainingJob(settings, 1, 0, dataset, None, Path("stage_1")))
    policy = memdt.load(".", target_return=1.0)
    solved = sum(episode(policy, seed) for seed in range(1000, 1020))
    print(f"solved {solved:g} of 20 mazes")
    return solved


def episode(policy: memdt.Player, seed: int) -> float:
    """Play one maze; its return is 1 where it is solved."""
    environment = policy.make_environment(segments=2)
    policy.reset()
    observation, _ = environment.reset(seed=seed)
    reward, total, ended = 0.0, 0.0, False
    while not ended:
        action = policy.act(observation, reward)
        observation, reward, terminated, truncated, _ = environment.step(action)
        total, ended = total + float(reward), terminated or truncated
    return total


if __name__ == "__main__":
    main(sys.argv[1])
