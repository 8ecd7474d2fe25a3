"""Train RATE on a Minari data set, without Snakemake, and play what it has learnt.

python examples/train_on_minari.py MINARI_DATASETS_PATH cartpole/expert-v0 CartPole-v1 trained
"""

from __future__ import annotations

import sys
from pathlib import Path

import memdt
from memdt.data.make import make_dataset
from memdt.settings.schema import DatasetSettings, RunSettings
from memdt.training.train import TrainingJob, train_stage


def main(root: str, identifier: str, environment: str, out: str, updates: int = 500) -> float:
    """Train one stage; return the return of an episode that the policy plays."""
    settings = RunSettings.model_validate(
        {
            "environment": {
                "name": "mine",
                "module": "gymnasium",
                "parameters": {"id": environment},
            },
            "dataset": {"source": "minari", "root": root, "id": identifier},
            "segment_length": 20,
            "model": {
                "name": "rate", "layers": 2, "heads": 2, "width": 32, "head_width": 16,
                "feed_forward_width": 64, "memory_tokens": 4,
            },
            "training": {
                "segments": 3, "curriculum": False, "updates_per_stage": [updates],
                "batch_size": 32, "learning_rate": 1e-3, "weight_decay": 1e-4,
            },
            "evaluation": {"segments": [3], "episodes": 10, "target_return": 100.0},
            "seeds": [0],
        }
    )  # fmt: skip
    folder, dataset = Path(out), Path(out) / "dataset.h5"
    make_dataset(
        DatasetSettings(environment=settings.environment, dataset=settings.dataset), dataset
    )
    train_stage(TrainingJob(settings, 1, 0, dataset, None, folder / "stage_1"))
    policy = memdt.load(folder, target_return=100.0)
    player = policy.make_environment()
    observation, _ = player.reset(seed=0)
    reward, total, ended = 0.0, 0.0, False
    while not ended:
        observation, reward, terminated, truncated, _ = player.step(policy.act(observation, reward))
        total, ended = total + float(reward), terminated or truncated
    print(f"return {total:g}")
    return total


if __name__ == "__main__":
    main(*sys.argv[1:5])
