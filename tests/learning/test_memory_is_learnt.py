"""Learning itself is tested: on a tiny T-Maze memory is learnt by what has one, by nothing else.

Segments of 5 steps, trained on 1 and 2 of them. At 2 segments the hint lies outside the context of
5 steps: whoever turns the right way must have carried it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from memdt.data.make import make_dataset
from memdt.environments import tmaze
from memdt.evaluation.evaluate import load_policy, play
from memdt.settings.schema import Condition, DatasetSettings, RunSettings
from memdt.training.train import TrainingJob, train_stage

SIZES = {"layers": 2, "heads": 4, "width": 32, "head_width": 8, "feed_forward_width": 64}


def settings(model: dict, **training: object) -> RunSettings:
    return RunSettings.model_validate(
        {
            "environment": {
                "name": "tmaze",
                "module": "tmaze",
                "parameters": tmaze.Settings().model_dump(),
            },
            "dataset": {"source": "played", "lengths": (5, 10), "episodes_per_length": 100},
            "segment_length": 5,
            "model": model,
            "training": {
                "segments": 2, "updates_per_stage": (150,), "batch_size": 32,
                "learning_rate": 2e-3, "weight_decay": 0.0, "warmup_updates": 10, **training,
            },
            "evaluation": {"segments": (1, 2), "episodes": 50, "target_return": 1.0},
            "seeds": (0,),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = settings({"name": "random"})
    path = tmp_path_factory.mktemp("data") / "dataset.h5"
    make_dataset(DatasetSettings(environment=run.environment, dataset=run.dataset), path)
    return path


def success(run: RunSettings, dataset: Path, folder: Path, **condition: object) -> dict:
    """Train all stages, then the success rate at each length of the evaluation."""
    torch.set_num_threads(1)
    start = None
    for stage in range(1, run.stages + 1):
        out = folder / f"stage_{stage}"
        train_stage(TrainingJob(run, stage, 0, dataset, start, out))
        start = out / "checkpoint.safetensors"
    policy = load_policy(run, start)
    ends = {
        segments: play(run, policy, Condition(**condition), segments, 0, "test")
        for segments in run.evaluation.segments
    }
    return {
        segments: tmaze.success(one.returns, one.terminated).mean()
        for segments, one in ends.items()
    }


RATE = {"name": "rate", "memory_tokens": 3, **SIZES}
DT_MEM = {"name": "dt_mem", "slots": 15, **SIZES}


@pytest.mark.parametrize(
    "model", [RATE, pytest.param(DT_MEM, marks=pytest.mark.slow)], ids=["rate", "dt_mem"]
)
def test_memory_carries_the_hint_past_the_context(
    model: dict, dataset: Path, tmp_path: Path
) -> None:
    rates = success(settings(model), dataset, tmp_path)
    assert rates[1] >= 0.95
    assert rates[2] >= 0.95


def test_the_hint_is_in_the_memory(dataset: Path, tmp_path: Path) -> None:
    """The same training with memory replaced by noise at inference is back at chance."""
    rates = success(settings(RATE), dataset, tmp_path, memory_edit="noise")
    assert rates[1] >= 0.95
    assert 0.2 <= rates[2] <= 0.8


def test_a_context_limited_transformer_is_at_chance(dataset: Path, tmp_path: Path) -> None:
    run = settings({"name": "decision_transformer", **SIZES})
    rates = success(run, dataset, tmp_path)
    assert rates[1] >= 0.95
    assert 0.25 <= rates[2] <= 0.75


def test_the_same_transformer_succeeds_where_the_hint_is_in_its_context(
    dataset: Path, tmp_path: Path
) -> None:
    run = settings({"name": "decision_transformer", **SIZES})
    assert success(run, dataset, tmp_path, full_context=True)[2] >= 0.95


def test_training_again_gives_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    run = settings(RATE, updates_per_stage=(5,))
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        success(run, dataset, folder)
        files = ("stage_1/curve.csv", "stage_2/curve.csv", "stage_2/checkpoint.safetensors")
        made.append([(folder / name).read_bytes() for name in files])
    assert made[0] == made[1]
