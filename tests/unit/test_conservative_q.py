"""Transitions and the losses of conservative Q-learning, each against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from memdt.data.episodes import EpisodeStore
from memdt.data.segments import EpisodeTensors
from memdt.data.transitions import Transitions, transitions
from memdt.errors import UserError
from memdt.models import conservative_q as model
from memdt.models.interface import Spaces
from memdt.settings.schema import TrainingSettings
from memdt.training.learners.conservative_q import ConservativeQ, Settings
from memdt.training.optimiser import AdamW

LENGTHS = [4, 1, 3]
SPACES = Spaces(spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(3))


def store(frames: bool = False) -> EpisodeStore:
    """Episode 0 ended by itself, 1 was cut, of 2 only the first steps are kept."""
    draws, steps = np.random.default_rng(0), sum(LENGTHS)
    shape = (steps, 2, 2, 1) if frames else (steps, 2)
    last = (len(LENGTHS), *shape[1:])
    kind = np.uint8 if frames else np.float32
    return EpisodeStore(
        observations=(100 * draws.random(shape)).astype(kind),
        actions=draws.integers(0, 3, steps),
        rewards=draws.normal(size=steps).astype(np.float32),
        offsets=np.append(0, np.cumsum(LENGTHS)),
        final_observations=(100 * draws.random(last)).astype(kind),
        terminated=np.array([True, False, True]),
        truncated=np.array([False, True, False]),
        seeds=np.arange(3),
        groups=np.array(["all"] * 3),
        later_steps=np.array([0, 0, 5]),
        later_returns=np.zeros(3),
    )


def window(tensors: EpisodeTensors, steps: int = 5) -> Transitions:
    return transitions(tensors, tensors.offsets[:-1], tensors.offsets[1:], steps)


def test_transitions_are_those_of_a_loop() -> None:
    made, batch = store(), window(EpisodeTensors.from_store(store()))
    for row, length in enumerate(LENGTHS):
        assert batch.mask[row].tolist() == [step < length for step in range(5)]
        episode = made[row]
        following = [*episode.observations[1:], episode.final_observation]
        for step in range(length):
            assert np.array_equal(batch.observations[row, step], episode.observations[step])
            assert np.array_equal(batch.next_observations[row, step], following[step])
            assert batch.actions[row, step] == episode.actions[step]
            assert batch.rewards[row, step] == episode.rewards[step]
            assert bool(batch.terminal[row, step]) == (row == 0 and step == length - 1)
    assert batch.rewards[1, 1:].tolist() == [0.0] * 4


def test_single_transitions_are_windows_of_one_step() -> None:
    tensors = EpisodeTensors.from_store(store())
    whole = window(tensors)
    alone = transitions(tensors, np.array([2, 3, 7]), np.array([3, 4, 8]), 1)
    for row, (episode, step) in enumerate([(0, 2), (0, 3), (2, 2)]):
        assert torch.equal(alone.next_observations[row, 0], whole.next_observations[episode, step])
        assert alone.terminal[row, 0] == whole.terminal[episode, step]


def test_stacked_frames_move_on_by_one() -> None:
    tensors = EpisodeTensors.from_store(store(frames=True), frame_stack=3)
    batch = window(tensors, 4)
    assert batch.next_observations.shape == (3, 4, 2, 2, 3)
    assert torch.equal(batch.next_observations[0, :3], batch.observations[0, 1:])
    final = batch.next_observations[0, 3]
    assert torch.equal(final[..., :2], batch.observations[0, 3, ..., 1:])
    assert np.array_equal(final[..., 2], store(frames=True).final_observations[0, ..., 0])


def learner(layers: int = 1, **changes: float) -> ConservativeQ:
    torch.manual_seed(0)
    policy, target = (
        model.build(model.Settings(name="conservative_q", width=4, layers=layers), SPACES)
        for _ in range(2)
    )
    training = TrainingSettings(
        segments=1, updates_per_stage=(1,), batch_size=3, learning_rate=0.01, weight_decay=0.0
    )
    optimiser = AdamW(policy.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    return ConservativeQ(policy, target, Settings(**changes), training, optimiser, 5)


@pytest.mark.parametrize("layers", [0, 1])
def test_losses_are_those_of_a_loop_step_by_step(layers: int) -> None:
    made, tensors = learner(layers, discount=0.9), EpisodeTensors.from_store(store())
    temporal, conservative, taken = made.losses(window(tensors))
    with torch.no_grad():
        for row, length in enumerate(LENGTHS):
            episode = store()[row]
            seen = [*episode.observations, episode.final_observation]
            state, slow, values, targets = *(made.policy.begin(1),) * 2, [], []
            for one in seen:
                question = torch.from_numpy(one)[None, None]
                value, state = made.policy(question, state)
                target, slow = made.target(question, slow)
                values.append(value[0, 0].tolist())
                targets.append(target[0, 0].tolist())
            for step in range(length):
                best = max(range(3), key=lambda a, step=step: values[step + 1][a])
                ended = row == 0 and step == length - 1
                goal = episode.rewards[step] + (0 if ended else 0.9 * targets[step + 1][best])
                value = values[step][episode.actions[step]]
                total = math.log(sum(math.exp(v) for v in values[step]))
                assert float(temporal[row, step]) == pytest.approx((value - goal) ** 2 / 2, 1e-4)
                assert float(conservative[row, step]) == pytest.approx(total - value, 1e-4)
                assert float(taken[row, step]) == pytest.approx(value, 1e-4)


def test_the_target_follows_and_padding_teaches_nothing() -> None:
    batch = window(EpisodeTensors.from_store(store()))
    made = learner(target_rate=0.25)
    before = [p.clone() for p in made.target.parameters()]
    made.update(0, batch)
    for old, new, ahead in zip(
        before, made.target.parameters(), made.policy.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * ahead.detach())
    other = learner(target_rate=0.25)
    padded = batch.actions.masked_fill(~batch.mask, 2)
    other.update(0, Transitions(**{**vars(batch), "actions": padded}))
    for one, same in zip(made.policy.parameters(), other.policy.parameters(), strict=True):
        assert torch.equal(one, same)


def test_a_large_alpha_prefers_what_was_done() -> None:
    batch = window(EpisodeTensors.from_store(store()))
    made = learner(alpha=10.0)
    first = made.update(0, batch)["conservative_loss"]
    for number in range(1, 200):
        last = made.update(number, batch)["conservative_loss"]
    assert last[0] < 0.2 * first[0]


def test_continuous_actions_are_refused() -> None:
    arm = Spaces(SPACES.observation, spaces.Box(-1, 1, (2,), np.float32))
    with pytest.raises(UserError, match="needs discrete actions"):
        model.build(model.Settings(name="conservative_q", width=4), arm)
