"""Q-learning learns from mistakes what imitation cannot: the collector errs half the time.

The hint is seen once and needed four steps later, so a memory is learnt as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from memdt.data.make import make_dataset
from memdt.evaluation.evaluate import load_policy, play
from memdt.settings.schema import Condition, DatasetSettings, RunSettings
from memdt.training.train import TrainingJob, train_stage

MISTAKEN = {"name": "maze", "module": "tmaze", "parameters": {"mistakes": 0.5}}


def settings(model: dict[str, Any], **learner: float) -> RunSettings:
    return RunSettings.model_validate(
        {
            "environment": MISTAKEN,
            "dataset": {
                "source": "played", "lengths": (6,), "episodes_per_length": 200,
                "only_successful": False,
            },
            "segment_length": 6,
            "model": model,
            "training": {
                "segments": 1, "updates_per_stage": (300,), "batch_size": 32,
                "learning_rate": 3e-3, "weight_decay": 0.0,
            },
            "learner": learner,
            "evaluation": {"segments": (1,), "episodes": 100, "target_return": 1.0},
            "seeds": (0,),
        }
    )  # fmt: skip


def success(run: RunSettings) -> float:
    torch.set_num_threads(1)
    make_dataset(
        DatasetSettings(environment=run.environment, dataset=run.dataset), Path("dataset.h5")
    )
    train_stage(TrainingJob(run, 1, 0, Path("dataset.h5"), None, Path("out")))
    policy = load_policy(run, Path("out/checkpoint.safetensors"))
    return float(play(run, policy, Condition(), 1, 0, "").returns.mean())


@pytest.mark.parametrize(
    ("model", "least", "most"),
    [
        ({"name": "conservative_q", "width": 32}, 0.95, 1.0),
        ({"name": "conservative_q", "width": 32, "layers": 0}, 0.3, 0.7),
        ({"name": "behaviour_cloning_lstm", "width": 32}, 0.2, 0.8),
    ],
    ids=["q-learning", "q-learning without memory", "imitation"],
)
def test_only_q_learning_with_memory_learns_from_mistakes(
    model, least, most, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMDT_DEVICE", "cpu")
    learner = {"alpha": 0.1} if model["name"] == "conservative_q" else {}
    assert least <= success(settings(model, **learner)) <= most
