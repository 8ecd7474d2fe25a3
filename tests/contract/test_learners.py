"""Every learner found by name keeps the promises of ``memdt.training.learner``."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from made_up.episodes import episodes as made_up_episodes
from memdt import discovery
from memdt.data.episodes import concatenate
from memdt.data.segments import EpisodeTensors
from memdt.data.sources import played
from memdt.data.sources.record import Record
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.models.building import build_policy
from memdt.settings import slices
from memdt.settings.learners import PACKAGE, learner_of
from memdt.settings.schema import RunSettings
from memdt.training.curve import FIXED_COLUMNS, Curve
from memdt.training.learner import Effort, Learner, StageContext, build_learner

LEARNERS = discovery.names(PACKAGE)
DATASET = {"source": "played", "lengths": (5, 10), "episodes_per_length": 6}
SIZES = {
    "layers": 1, "heads": 2, "width": 8, "head_width": 4, "feed_forward_width": 8,
    "codes": 8, "code_width": 4, "window": 6, "horizon": 6,
}  # fmt: skip
# The model that a learner is tried with; another learner is tried with the first that names it.
MODELS = {"behaviour_cloning": "rate"}
# Segments that a gradient spans, of two: RATE without memory tokens passes none on.
REACH = {"conservative_q": 2}


PLACES = {
    "tmaze": {"name": "tmaze", "module": "tmaze"},
    # For models of continuous actions; its spaces are used, and made-up episodes.
    "pendulum": {
        "name": "pendulum", "module": "gymnasium", "parameters": {"id": "Pendulum-v1"}
    },
}  # fmt: skip


def model_of(learner: str) -> str:
    models = discovery.names("memdt.models")
    return MODELS.get(learner) or next(one for one in models if learner_of(one) == learner)


@cache
def place_of(learner: str) -> str:
    """The first environment whose actions the learner's model takes."""
    module = discovery.load("memdt.models", model_of(learner))
    try:
        module.build(module.Settings(**sizes(module)), Task.named("tmaze", {}).spaces)
    except UserError:
        return "pendulum"
    return "tmaze"


def sizes(module: Any) -> dict[str, Any]:
    known = module.Settings.model_fields
    name = module.__name__.rpartition(".")[2]
    return {"name": name, **{key: SIZES[key] for key in SIZES if key in known}}


def settings(learner: str) -> RunSettings:
    return RunSettings.model_validate(
        {
            "environment": PLACES[place_of(learner)],
            "dataset": DATASET,
            "segment_length": 5,
            "model": sizes(discovery.load("memdt.models", model_of(learner))),
            "training": {
                "segments": 2, "curriculum": False, "updates_per_stage": (9,), "batch_size": 3,
                "learning_rate": 1e-2, "weight_decay": 0.1, "schedule": "linear",
            },
            "evaluation": {"segments": (1,), "episodes": 1, "target_return": 1.0},
            "seeds": (0,),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def mazes() -> EpisodeTensors:
    task = Task.named("tmaze", {})
    parts = played.episodes(task, played.Settings(**DATASET), [], Record())
    return EpisodeTensors.from_store(concatenate(parts))


@pytest.fixture
def episodes(name: str, mazes: EpisodeTensors) -> EpisodeTensors:
    if place_of(name) == "tmaze":
        return mazes
    draws = np.random.default_rng(0)
    steps, count = 90, 12
    return EpisodeTensors.from_store(
        made_up_episodes(
            draws.normal(size=(steps, 3)).astype(np.float32),
            draws.uniform(-1, 1, (steps, 1)).astype(np.float32),
            draws.normal(size=steps),
            [5, 10] * (count // 2),
        )
    )


def begun(learner: str, episodes: EpisodeTensors, weights: int = 0) -> tuple[Learner, Any]:
    run = settings(learner)
    stage = slices.stage(run, 1)
    policy = build_policy(run, weights)
    made = build_learner(policy, StageContext(run, stage, 0, torch.device("cpu")))
    return made, made.sampler(episodes, stage)


def tensors_in(batch: Any) -> list[Tensor]:
    """All tensors of a batch, whatever it is made of."""
    if isinstance(batch, Tensor):
        return [batch]
    if is_dataclass(batch):
        batch = [getattr(batch, field.name) for field in fields(batch)]
    return [one for part in batch or () for one in tensors_in(part)]


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_batch_follows_from_its_number_alone(name: str, episodes: EpisodeTensors) -> None:
    _, sampler = begun(name, episodes)
    _, another = begun(name, episodes, weights=1)
    first = tensors_in(sampler(4))
    sampler(1)
    assert first
    for again in (sampler(4), another(4)):
        pairs = zip(first, tensors_in(again), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    other = tensors_in(sampler(5))
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(first, other))  # noqa: B905
    assert sampler.updates(2) == 8  # 12 episodes, twice, three at a time


@pytest.mark.parametrize("name", LEARNERS)
def test_the_effort_counts_real_steps(name: str, episodes: EpisodeTensors) -> None:
    learner, sampler = begun(name, episodes)
    seen = 0
    for number in range(4):
        batch = sampler(number)
        parts = batch if isinstance(batch, list) else [batch]
        seen += sum(int(getattr(one, "mask", getattr(one, "real", None)).sum()) for one in parts)
    effort = learner.effort(4)
    assert effort == Effort(
        optimiser_steps=4, steps_seen=seen, gradient_segments=REACH.get(name, 1)
    )


@pytest.mark.parametrize(
    ("model", "training", "expected"),
    [
        ({"memory_tokens": 2}, {}, (4, 2)),
        ({"memory_tokens": 2}, {"gradient_through_memory": "detached"}, (8, 1)),
        ({"memory_tokens": 0}, {}, (4, 1)),  # cached states carry no gradient
        ({"name": "decision_transformer"}, {}, (4, 2)),
        ({"name": "decision_transformer", "training_window": "segment"}, {}, (4, 1)),
        ({"name": "dt_mem", "slots": 3}, {}, (4, 2)),
        ({"name": "dt_mem", "slots": 3, "carried": False}, {}, (4, 1)),
        ({"name": "behaviour_cloning_mlp"}, {}, (4, 1)),
    ],
)
def test_the_effort_says_how_far_gradient_reaches(model, training, expected, mazes) -> None:
    run = settings("behaviour_cloning")
    name = model.get("name", "rate")
    known = discovery.load("memdt.models", name).Settings.model_fields
    kept = {key: value for key, value in run.model.items() if key in known}
    changed = run.model_copy(
        update={
            "model": {**kept, **model, "name": name},
            "training": run.training.model_copy(update=training),
        }
    )
    stage = slices.stage(changed, 1)
    policy = build_policy(changed, 0)
    learner = build_learner(policy, StageContext(changed, stage, 0, torch.device("cpu")))
    learner.sampler(mazes, stage)
    effort = learner.effort(4)
    # Every batch of three holds an episode of two segments, or the seed of the batches has changed.
    assert (effort.optimiser_steps, effort.gradient_segments) == expected


@pytest.mark.parametrize("name", LEARNERS)
def test_an_update_changes_the_policy_and_not_its_batch(
    name: str, episodes: EpisodeTensors
) -> None:
    learner, sampler = begun(name, episodes)
    batch = sampler(0)
    before, kept = copied(learner.policy.state_dict()), copied(dict(enumerate(tensors_in(batch))))
    learner.update(0, batch)
    assert not equal(copied(learner.policy.state_dict()), before)
    assert equal(dict(enumerate(tensors_in(batch))), kept)


@pytest.mark.parametrize("name", LEARNERS)
def test_columns_are_the_figures_and_fill_a_row(name: str, episodes: EpisodeTensors) -> None:
    learner, sampler = begun(name, episodes)
    curve = Curve()
    for number in range(3):
        figures = learner.update(number, sampler(number))
        assert set(figures) == set(learner.columns)
        assert all(not figure.requires_grad for figure in figures.values())
        curve.add(figures)
    row = curve.add_row((1, 3, 2), learner.columns)
    assert list(row) == list(learner.columns)
    header, line, end = curve.text(learner.columns).split("\n")
    assert header.split(",") == [*FIXED_COLUMNS, *learner.columns]
    assert len(set(header.split(","))) == len(line.split(","))
    assert end == ""


@pytest.mark.parametrize("name", LEARNERS)
def test_a_state_continues_bit_for_bit(name: str, episodes: EpisodeTensors) -> None:
    learner, sampler = begun(name, episodes)
    for number in range(3):
        learner.update(number, sampler(number))
    saved = copied(learner.state())
    fresh, again = begun(name, episodes, weights=1)
    assert not equal(copied(fresh.state()), saved)
    fresh.load(saved)
    for number in (3, 4):
        torch.manual_seed(number)  # torch's own generator is saved beside the learner's state
        figures = learner.update(number, sampler(number))
        torch.manual_seed(number)
        assert equal(fresh.update(number, again(number)), figures)
    assert equal(copied(fresh.state()), copied(learner.state()))
    assert not equal(copied(learner.state()), saved)


@pytest.mark.parametrize("name", LEARNERS)
def test_settings_refuse_unknown_keys_and_have_defaults(name: str) -> None:
    checked = discovery.load(PACKAGE, name).Settings
    assert checked() == checked.model_validate({})
    with pytest.raises(ValidationError):
        checked.model_validate({"made_up": 1})
