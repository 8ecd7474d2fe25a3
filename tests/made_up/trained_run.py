"""A run of a few updates on short mazes, with its evaluation, as the workflow leaves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memdt.data.make import make_dataset
from memdt.environments import tmaze
from memdt.evaluation.evaluate import EvaluationJob, evaluate_run
from memdt.settings.schema import DatasetSettings, RunSettings
from memdt.training.train import TrainingJob, train_stage

SIZES = {"layers": 1, "heads": 2, "width": 8, "head_width": 4, "feed_forward_width": 8}
DATASET = Path("data/datasets/tiny/maze.h5")
RUN = Path("data/runs/tiny/walk/near/seed_0")


def settings(name: str = "rate", **model: Any) -> RunSettings:
    tokens = {"memory_tokens": 2} if name == "rate" else {}
    parameters = tmaze.Settings().model_dump()
    return RunSettings.model_validate(
        {
            "environment": {"name": "maze", "module": "tmaze", "parameters": parameters},
            "dataset": {"source": "played", "lengths": (5, 10), "episodes_per_length": 6},
            "segment_length": 5,
            "model": {"name": name, **SIZES, **tokens, **model},
            "training": {
                "segments": 2, "curriculum": True, "updates_per_stage": (3,), "batch_size": 4,
                "learning_rate": 1e-2, "weight_decay": 0.1,
            },
            "evaluation": {"segments": (1, 3), "episodes": 6, "target_return": 1.0},
            "seeds": (0,),
        }
    )  # fmt: skip


def make(run: RunSettings, folder: Path = RUN) -> Path:
    """Train and evaluate a run in the current folder."""
    made_of = DatasetSettings(environment=run.environment, dataset=run.dataset)
    make_dataset(made_of, DATASET, source_digest="s")
    before = None
    for number in range(1, run.stages + 1):
        train_stage(TrainingJob(run, number, 0, DATASET, before, folder / f"stage_{number}"))
        before = folder / f"stage_{number}" / "checkpoint.safetensors"
    assert before is not None
    evaluate_run(EvaluationJob(run, 0, before, folder / "episodes.csv", dataset=DATASET))
    return folder
