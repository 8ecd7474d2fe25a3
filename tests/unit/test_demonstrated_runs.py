"""Models that want a demonstration, from training to evaluation, on episodes of one group."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from made_up.trained_run import SIZES
from memdt.data.make import make_dataset
from memdt.environments import tmaze
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.evaluation import evaluate
from memdt.evaluation.attention_maps import AttentionJob, record_attention
from memdt.evaluation.evaluate import EvaluationJob, evaluate_run, load_demonstrations, load_policy
from memdt.evaluation.recorder import record
from memdt.evaluation.rollout import Rollout
from memdt.models.building import build_policy
from memdt.settings import slices
from memdt.settings.schema import Condition, DatasetSettings, RunSettings
from memdt.training.train import TrainingJob, train_stage
from memdt.workflow import plan

HYPER = {"rank": 2, "task_width": 4, "hyper_width": 4, "demonstration_steps": 3}
MODELS: dict[str, dict[str, Any]] = {
    "pdt": {**SIZES, "demonstration_steps": 2},
    "hdt": {**SIZES, **HYPER},
    "dt_mem": {**SIZES, **HYPER, "slots": 3},
}


def settings(name: str, **changes: Any) -> RunSettings:
    return RunSettings.model_validate(
        {
            "environment": {
                "name": "tmaze", "module": "tmaze", "parameters": tmaze.Settings().model_dump()
            },
            "dataset": {"source": "played", "lengths": (5, 10), "episodes_per_length": 6},
            "segment_length": 5,
            "model": {"name": name, **MODELS[name]},
            "training": {
                "segments": 2, "curriculum": False, "updates_per_stage": (3,), "batch_size": 4,
                "learning_rate": 1e-2, "weight_decay": 0.1,
            },
            "evaluation": {"segments": (1, 2), "episodes": 3, "target_return": 1.0},
            "seeds": (0,),
            **changes,
        }
    )  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMDT_DEVICE", "cpu")
    run = settings("pdt")
    made_of = DatasetSettings(environment=run.environment, dataset=run.dataset)
    make_dataset(made_of, Path("dataset.h5"), source_digest="s")
    return Path("dataset.h5")


@pytest.mark.parametrize("name", MODELS)
def test_a_run_is_trained_played_and_recorded(name: str, dataset: Path) -> None:
    run, trained = settings(name), Path("run/checkpoint.safetensors")
    train_stage(TrainingJob(run, 1, 0, dataset, None, Path("run")))
    evaluate_run(EvaluationJob(run, 0, trained, Path("episodes.csv"), dataset=dataset))
    with Path("episodes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    policy = load_policy(run, trained)
    shown = load_demonstrations(run, dataset, policy)
    recording = record(run, policy, 0, "", shown)
    long = [int(row["steps"]) for row in rows if row["segments"] == "2"]
    assert recording.lengths.tolist() == long  # the same episodes, played alike
    record_attention(AttentionJob(run, 0, trained, Path("attention.npz"), dataset))


def test_what_a_hyper_network_writes_is_trained(dataset: Path) -> None:
    run = settings("hdt")
    train_stage(TrainingJob(run, 1, 0, dataset, None, Path("run")))
    weights = load_file("run/checkpoint.safetensors")
    assert weights["hyper_network.network.2.weight"].abs().max() > 0
    assert weights["adapters.up"].abs().max() > 0


def test_every_episode_is_shown_something_and_the_same_in_every_batch(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, seen = settings("pdt"), []
    train_stage(TrainingJob(run, 1, 0, dataset, None, Path("run")))
    policy = load_policy(run, Path("run/checkpoint.safetensors"))
    shown = load_demonstrations(run, dataset, policy)
    play = Rollout.play

    def watched(self: Rollout, *arguments: Any) -> Any:
        seen.append(self.demonstration)
        return play(self, *arguments)

    monkeypatch.setattr(Rollout, "play", watched)
    for rows in (3, 1):
        monkeypatch.setattr(Task, "rows_at_once", rows)
        evaluate.play(run, policy, Condition(), 1, 0, "", shown)
    together, *alone = seen
    assert [len(one) for one in alone] == [1, 1, 1]
    for row, one in enumerate(alone):
        assert (one.observations[0] == together.observations[row]).all()
    assert len({tuple(one.observations.flatten().tolist()) for one in alone}) > 1


def test_demonstrations_of_another_dataset_are_refused(dataset: Path) -> None:
    other = settings(
        "pdt", dataset={"source": "played", "lengths": (5, 10), "episodes_per_length": 7}
    )
    with pytest.raises(UserError, match="made with settings"):
        load_demonstrations(other, dataset, build_policy(other, 0))


def test_only_models_that_want_a_demonstration_wait_for_a_dataset() -> None:
    plain = settings("dt_mem", model={"name": "dt_mem", **SIZES, "slots": 3})
    assert slices.demonstration(plain) is None
    assert "demonstrations" not in slices.evaluate(plain)
    demonstration = slices.demonstration(settings("pdt"))
    assert demonstration is not None
    assert (demonstration.demonstration_steps, demonstration.demonstration_part) == (2, "last")
    assert slices.evaluate(settings("pdt"))["demonstrations"] == slices.dataset(plain)
    assert plan.demonstrations("paper", "tmaze_table_2", "rate-3") is None
