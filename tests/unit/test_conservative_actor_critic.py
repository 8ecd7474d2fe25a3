"""CQL by d3rlpy: the actor is ours, single steps are uniform, settings reach the library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces

from made_up.episodes import episodes
from memdt.data.segments import EpisodeTensors
from memdt.environments.spaces import Spaces
from memdt.errors import UserError
from memdt.models import conservative_actor_critic as model
from memdt.models.interface import Choice, NoState, Step
from memdt.settings import slices
from memdt.settings.learners import refuse_unused
from memdt.settings.schema import RunSettings
from memdt.training.d3rlpy_learner import SingleSteps
from memdt.training.learner import StageContext
from memdt.training.learners import conservative_actor_critic as learner

SPACES = Spaces(gym_spaces.Box(-1, 1, (3,), np.float32), gym_spaces.Box(-1, 1, (2,), np.float32))
LENGTHS = [2, 30, 8]


def actor() -> model.Actor:
    torch.manual_seed(0)
    return model.build(model.Settings(name="cql", width=8, layers=2), SPACES)


def run(training: dict[str, Any] | None = None, **settings: Any) -> RunSettings:
    return RunSettings.model_validate(
        {
            "environment": {"name": "made_up", "module": "gymnasium"},
            "dataset": {"source": "played"},
            "segment_length": 5,
            "model": {"name": "conservative_actor_critic"},
            "training": {
                "segments": 3, "curriculum": False, "updates_per_stage": (9,), "batch_size": 10,
                "learning_rate": 3e-3, "weight_decay": 0.0, **(training or {}),
            },
            "learner": settings,
            "evaluation": {"segments": (1,), "episodes": 1, "target_return": 1.0},
            "seeds": (0,),
        }
    )  # fmt: skip


def built(policy: model.Actor, asked: RunSettings) -> learner.ConservativeActorCritic:
    context = StageContext(asked, slices.stage(asked, 1), 0, torch.device("cpu"))
    return learner.build(policy, context)


def tensors() -> EpisodeTensors:
    draws, steps = np.random.default_rng(0), sum(LENGTHS)
    return EpisodeTensors.from_store(
        episodes(
            np.arange(steps * 3, dtype=np.float32).reshape(steps, 3),
            draws.uniform(-1, 1, (steps, 2)).astype(np.float32),
            np.arange(steps, dtype=np.float32),
            LENGTHS,
        )
    )


def test_the_actor_is_trained_from_its_own_weights_and_at_its_own_rate() -> None:
    policy = actor()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    made = built(policy, run(actor_rate=0.5))
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    asked = run(actor_rate=0.5)
    sampler = made.sampler(tensors(), slices.stage(asked, 1))
    figures = made.update(0, sampler(0))
    modules = made.implementation.modules
    assert modules.actor_optim.optim.param_groups[0]["lr"] == pytest.approx(1.5e-3)
    assert float(figures["learning_rate"]) == pytest.approx(3e-3)
    assert any(not torch.equal(value, before[name]) for name, value in policy.state_dict().items())


def test_every_step_of_every_episode_is_drawn_alike() -> None:
    asked = run()
    sampler = SingleSteps.of_stage(tensors(), slices.stage(asked, 1), 0)
    drawn = torch.cat([sampler(number).rewards[:, 0] for number in range(400)])
    counts = torch.bincount(drawn.long(), minlength=sum(LENGTHS))
    assert len(counts) == sum(LENGTHS)
    assert counts.min() > 60  # a hundred of each are expected
    batch = sampler(3)
    following = batch.observations + 3.0
    assert torch.equal(batch.next_observations[~batch.terminal], following[~batch.terminal])


def test_actions_lie_in_the_space_and_follow_the_generator() -> None:
    policy, step = actor(), Step(torch.randn(50, 3), torch.zeros(50))
    drawn = [
        policy.act(step, NoState(), Choice(False, torch.Generator().manual_seed(1)))[0]
        for _ in range(2)
    ]
    assert torch.equal(*drawn)
    assert drawn[0].abs().max() <= 1
    best, _ = policy.act(step, NoState(), Choice(True, torch.Generator()))
    assert not torch.equal(best, drawn[0])


def test_an_actor_can_be_counted_without_weights() -> None:
    with torch.device("meta"):
        made = model.build(model.Settings(name="cql", width=8, layers=2), SPACES)
    assert sum(p.numel() for p in made.parameters()) == 4 * 8 + 9 * 8 + 2 * (9 * 2)


def test_what_the_library_cannot_do_is_refused() -> None:
    training = run({"memory_noise": 0.5}).training
    with pytest.raises(UserError, match=r"training\.memory_noise"):
        refuse_unused(training, "conservative_actor_critic", origin=lambda key: "a.yaml")
    discrete = Spaces(SPACES.observation, gym_spaces.Discrete(3))
    with pytest.raises(UserError, match="vectors to see and to do"):
        model.build(model.Settings(name="cql", width=8), discrete)
