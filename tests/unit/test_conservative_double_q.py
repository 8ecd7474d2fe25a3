"""Discrete CQL by d3rlpy: its update is that of the equations, and our settings reach it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces

from made_up.episodes import episodes
from memdt.data.segments import EpisodeTensors
from memdt.data.transitions import Transitions
from memdt.environments.spaces import Spaces
from memdt.errors import UserError
from memdt.models import conservative_double_q as model
from memdt.models.interface import Choice, NoState, Step
from memdt.settings import slices
from memdt.settings.schema import RunSettings
from memdt.training.learner import StageContext
from memdt.training.learners import conservative_double_q as learner

SPACES = Spaces(gym_spaces.Box(-1, 1, (3,), np.float32), gym_spaces.Discrete(4))
FRAMES = Spaces(gym_spaces.Box(0, 255, (40, 44, 2), np.uint8), gym_spaces.Discrete(4))
LENGTHS = [2, 30, 8]


def network(spaces: Spaces = SPACES, quantiles: int = 0) -> model.DoubleQNetwork:
    torch.manual_seed(0)
    return model.build(model.Settings(name="cql", width=8, quantiles=quantiles), spaces)


def run(**settings: Any) -> RunSettings:
    return RunSettings.model_validate(
        {
            "environment": {"name": "made_up", "module": "gymnasium"},
            "dataset": {"source": "played"},
            "segment_length": 5,
            "model": {"name": "conservative_double_q"},
            "training": {
                "segments": 3, "curriculum": False, "updates_per_stage": (9,), "batch_size": 10,
                "learning_rate": 3e-3, "weight_decay": 0.0,
            },
            "learner": settings,
            "evaluation": {"segments": (1,), "episodes": 1, "target_return": 1.0},
            "seeds": (0,),
        }
    )  # fmt: skip


def built(policy: model.DoubleQNetwork, **settings: Any) -> learner.ConservativeDoubleQ:
    asked = run(**settings)
    context = StageContext(asked, slices.stage(asked, 1), 0, torch.device("cpu"))
    return learner.build(policy, context)


def batch(reward: float = 0.5) -> Transitions:
    draws, steps = np.random.default_rng(0), sum(LENGTHS)
    store = episodes(
        draws.normal(size=(steps, 3)).astype(np.float32),
        draws.integers(0, 4, steps),
        np.full(steps, reward, dtype=np.float32),
        LENGTHS,
    )
    asked = run()
    made = built(network())
    return made.sampler(EpisodeTensors.from_store(store), slices.stage(asked, 1))(0)


def test_the_losses_are_those_of_the_equations() -> None:
    policy, steps = network(), batch()
    made = built(policy, alpha=0.5, discount=0.9)
    with torch.no_grad():
        values = policy(steps.observations, NoState())[0][:, 0]
        following = policy(steps.next_observations, NoState())[0][:, 0]
    taken = values.gather(1, steps.actions)[:, 0]
    # The target network still equals the network, so the best value is that of the best action.
    goal = steps.rewards[:, 0] + 0.9 * following.max(1).values * ~steps.terminal[:, 0]
    figures = made.update(0, steps)
    huber = torch.nn.functional.smooth_l1_loss(taken, goal)
    assert float(figures["td_loss"]) == pytest.approx(float(huber), rel=1e-5)
    conservative = (values.logsumexp(1) - taken).mean()
    assert float(figures["conservative_loss"]) == pytest.approx(float(conservative), rel=1e-5)


def test_rewards_are_clipped_before_the_library_sees_them() -> None:
    def loss(reward: float, clip: float) -> float:
        return float(built(network(), reward_clip=clip).update(0, batch(reward))["td_loss"])

    assert loss(7.0, 1.0) == loss(1.0, 1.0)
    assert loss(7.0, 10.0) != loss(1.0, 10.0)
    assert loss(-7.0, 1.0) == loss(-1.0, 1.0)


def test_the_target_network_is_set_anew_at_its_interval() -> None:
    made, steps = built(network(), target_interval=3), batch()
    modules = made.implementation.modules

    def equal() -> bool:
        pairs = zip(modules.q_funcs.parameters(), modules.targ_q_funcs.parameters(), strict=True)
        return all(torch.equal(one, other) for one, other in pairs)

    assert equal()
    after = []
    for number in range(1, 7):
        made.update(number, steps)
        after.append(equal())
    assert after == [False, False, True, False, False, True]


def test_the_policy_is_trained_from_its_own_weights() -> None:
    policy = network(quantiles=5)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    made = built(policy)
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    made.update(0, batch())
    assert any(not torch.equal(value, before[name]) for name, value in policy.state_dict().items())


def test_a_large_alpha_prefers_what_was_done() -> None:
    made, steps = built(network(), alpha=10.0), batch()
    first = made.update(0, steps)["conservative_loss"]
    for number in range(1, 100):
        last = made.update(number, steps)["conservative_loss"]
    assert last < 0.7 * first


@pytest.mark.parametrize("quantiles", [0, 5])
def test_frames_are_scaled_and_actions_follow_the_generator(quantiles: int) -> None:
    policy = network(FRAMES, quantiles)
    frames = torch.randint(0, 256, (50, 40, 44, 2), dtype=torch.uint8)
    seen = model.as_network_input(frames)
    assert seen.shape == (50, 2, 40, 44)
    torch.testing.assert_close(seen.mean((1, 2, 3)), torch.zeros(50), rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.std((1, 2, 3)), torch.ones(50), rtol=0, atol=1e-2)
    assert (seen[7, 1].diff() > 0).equal(frames[7, ..., 1].short().diff() > 0)
    step = Step(frames, torch.zeros(50))
    drawn = [
        policy.act(step, NoState(), Choice(False, torch.Generator().manual_seed(1)))[0]
        for _ in range(2)
    ]
    assert torch.equal(*drawn)
    best, _ = policy.act(step, NoState(), Choice(True, torch.Generator()))
    assert torch.equal(best, policy(frames[:, None], NoState())[0][:, 0].argmax(1))


def test_what_the_network_cannot_do_is_refused() -> None:
    continuous = Spaces(SPACES.observation, gym_spaces.Box(-1, 1, (2,), np.float32))
    with pytest.raises(UserError, match="discrete actions"):
        network(continuous)
    small = Spaces(gym_spaces.Box(0, 255, (20, 20, 2), np.uint8), gym_spaces.Discrete(4))
    with pytest.raises(UserError, match="too small"):
        network(small)
