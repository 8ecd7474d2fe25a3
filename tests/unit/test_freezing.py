"""What a stage trains: everything, parameters by name, adapters; on all data or on less."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from memdt.data.episode_file import read_episodes
from memdt.data.make import make_dataset
from memdt.environments import tmaze
from memdt.errors import UserError
from memdt.evaluation.evaluate import load_policy
from memdt.settings import slices
from memdt.settings.schema import DatasetSettings, RunSettings
from memdt.training.train import TrainingJob, train_stage

MODEL = {
    "name": "dt_mem", "layers": 2, "heads": 2, "width": 8, "head_width": 4,
    "feed_forward_width": 8, "slots": 3,
}  # fmt: skip
MEMORY = ("*.memory.*",)
LINEAR = ("query", "key", "write_query", "write_key", "write_value")


def settings(start: dict[str, Any] | None = None, **training: object) -> RunSettings:
    return RunSettings.model_validate(
        {
            "environment": {
                "name": "tmaze", "module": "tmaze", "parameters": tmaze.Settings().model_dump()
            },
            "dataset": {"source": "played", "lengths": (5, 10), "episodes_per_length": 10},
            "segment_length": 5,
            "model": MODEL,
            "training": {
                "segments": 2, "curriculum": False, "updates_per_stage": (3,), "batch_size": 4,
                "learning_rate": 1e-2, "weight_decay": 0.1, **training,
            },
            "evaluation": {"segments": (1,), "episodes": 1, "target_return": 1.0},
            "seeds": (0,),
            "start": start,
        }
    )  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMDT_DEVICE", "cpu")
    run = settings()
    made_of = DatasetSettings(environment=run.environment, dataset=run.dataset)
    make_dataset(made_of, Path("dataset.h5"), source_digest="s")
    return Path("dataset.h5")


def tuned(dataset: Path, **training: object) -> tuple[dict[str, Tensor], dict[str, Tensor], Any]:
    """Weights before and after fine-tuning from another run's checkpoint, and the manifest."""
    base = settings()
    train_stage(TrainingJob(base, 1, 0, dataset, None, Path("base")))
    start = Path("base/checkpoint.safetensors")
    run = settings(start=slices.train(base, 1), **training)
    train_stage(TrainingJob(run, 1, 0, dataset, start, Path("tuned")))
    after = Path("tuned/checkpoint.safetensors")
    load_policy(run, after)  # an ordinary checkpoint of this run
    return load_file(start), load_file(after), json.loads(Path("tuned/manifest.json").read_text())


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_adapters_change_the_layers_that_they_are_beside_and_leave_an_ordinary_checkpoint(dataset):
    layers = tuple(f"*.memory.{name}" for name in LINEAR)
    before, after, manifest = tuned(dataset, adapter={"layers": layers, "rank": 2})
    memory = {f"blocks.{block}.memory.{name}.weight" for block in (0, 1) for name in LINEAR}
    assert changed(before, after) == memory
    for name in memory:  # what is added has the adapter's rank
        assert int(torch.linalg.matrix_rank(after[name] - before[name], atol=1e-6)) <= 2
    assert manifest["trained_parameters"] == 2 * 5 * (2 * 8 * 2)
    assert manifest["parameters"] == sum(tensor.numel() for tensor in before.values())


def test_parameters_by_name_change_and_no_others(dataset):
    before, after, manifest = tuned(dataset, trainable=MEMORY)
    memory = {name for name in before if ".memory." in name}
    assert changed(before, after) == memory
    assert manifest["trained_parameters"] == sum(before[name].numel() for name in memory)


def test_full_fine_tuning_starts_from_the_checkpoint_and_trains_everything(dataset):
    before, after, manifest = tuned(dataset)
    assert changed(before, after) == set(before)
    assert manifest["trained_parameters"] == manifest["parameters"]
    for name, tensor in after.items():  # three updates of at most 0.01, and decay
        assert float((tensor - before[name]).abs().max()) < 0.05


def test_a_run_does_not_start_from_another_checkpoint_than_it_says(dataset):
    train_stage(TrainingJob(settings(), 1, 0, dataset, None, Path("base")))
    other = settings(start=slices.train(settings(beta_1=0.5), 1))
    with pytest.raises(UserError, match="trained with settings"):
        train_stage(
            TrainingJob(other, 1, 0, dataset, Path("base/checkpoint.safetensors"), Path("tuned"))
        )


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"trainable": ("memery.*",)}, "'memery.*' matches no parameter"),
        ({"adapter": {"layers": ("memery",)}}, "'memery' matches no linear layer"),
    ],
)
def test_a_name_that_matches_nothing_is_refused(dataset, training, message):
    with pytest.raises(UserError, match=message.replace("*", r"\*")):
        train_stage(TrainingJob(settings(**training), 1, 0, dataset, None, Path("out")))


def test_adapters_and_parameters_by_name_exclude_each_other():
    with pytest.raises(ValidationError, match="leave training.trainable out"):
        settings(adapter={"layers": ("head",)}, trainable=("head.*",))


def test_less_data_is_a_share_of_each_group_and_part_of_more(dataset):
    store = replace(read_episodes(dataset, None, ""), groups=np.array(list("ab" * 10)))

    def seeds(fraction: float) -> list[int]:
        return store.select(store.share_of_each_group(fraction)).seeds.tolist()

    of_a, of_b = set(store.seeds[::2].tolist()), set(store.seeds[1::2].tolist())
    assert [len(set(seeds(0.2)) & side) for side in (of_a, of_b)] == [2, 2]
    assert seeds(0.2) == [seed for seed in store.seeds.tolist() if seed in seeds(0.2)]
    assert len(seeds(0.01)) == 2  # one of each group at least
    assert set(seeds(0.01)) < set(seeds(0.2)) < set(seeds(0.5)) < set(seeds(1.0))
    assert np.array_equal(seeds(1.0), store.seeds)
