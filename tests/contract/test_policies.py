"""Every model found by name can be played: ``begin``, ``act`` and the rows of its state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from made_up.models import SPACES, cases, make
from memdt.data.segments import Segment
from memdt.errors import UserError
from memdt.models.interface import (
    Choice,
    Memory,
    Policy,
    Segmentation,
    SequencePolicy,
    Spaces,
    State,
    Step,
)

ROWS, STEPS, LENGTH = 4, 7, 3  # two borders are crossed
GREEDY = Choice(True, torch.Generator())


def seen(spaces: Spaces, step: int) -> Step:
    draws = np.random.default_rng(step)
    shape = (ROWS, *spaces.observation.shape)
    if spaces.observation.dtype == np.uint8:
        observations = torch.from_numpy(draws.integers(0, 256, shape, dtype=np.uint8))
    else:
        observations = torch.from_numpy(draws.normal(size=shape).astype(np.float32))
    return Step(observations, torch.from_numpy(draws.random(ROWS, np.float32)))


def of_rows(step: Step, rows: torch.Tensor) -> Step:
    return Step(step.observation[rows], step.return_to_go[rows])


def shown(policy: Policy, spaces: Spaces) -> Segment | None:
    steps = getattr(getattr(policy, "settings", None), "demonstration_steps", 0)
    if not steps:
        return None
    stretch = [seen(spaces, 100 + step) for step in range(steps)]
    observations = torch.stack([one.observation for one in stretch], dim=1)
    returns = torch.stack([one.return_to_go for one in stretch], dim=1)
    return Segment(
        observations, actions_of(spaces, steps), returns, torch.ones(ROWS, steps, dtype=torch.bool)
    )


def actions_of(spaces: Spaces, steps: int) -> torch.Tensor:
    if spaces.discrete:
        return torch.zeros(ROWS, steps, dtype=torch.int64)
    return torch.zeros(ROWS, steps, spaces.action_outputs)


def begin(policy: Policy, segmentation: Segmentation | None = None) -> State:
    return policy.begin(ROWS, shown(policy, policy.spaces), segmentation)


@torch.inference_mode()
def played(policy: Policy, choice: Choice, steps: int = STEPS) -> torch.Tensor:
    state, actions = begin(policy, Segmentation(LENGTH, LENGTH)), []
    for step in range(steps):
        chosen, state = policy.act(seen(policy.spaces, step), state, choice)
        actions.append(chosen)
    return torch.stack(actions, dim=1)


@pytest.mark.parametrize(("name", "parts"), cases())
@pytest.mark.parametrize("kind", SPACES)
def test_actions_are_of_the_space(name: str, parts: dict, kind: str) -> None:
    spaces = SPACES[kind]
    try:
        policy = make(name, parts, spaces)
    except UserError:
        pytest.skip("a model for other spaces says so in one line")
    for greedy in (True, False):
        draws = torch.Generator().manual_seed(0)
        actions = played(policy, Choice(greedy, draws), LENGTH + 1)
        assert actions.shape == (ROWS, LENGTH + 1, *spaces.action.shape)
        if spaces.discrete:
            assert actions.dtype == torch.int64
            assert 0 <= int(actions.min()) <= int(actions.max()) < spaces.action_outputs
        else:
            assert actions.dtype == torch.float32


@pytest.mark.parametrize(("name", "parts"), cases())
def test_draws_follow_the_generator(name: str, parts: dict) -> None:
    policy = make(name, parts)
    again = [played(policy, Choice(False, torch.Generator().manual_seed(seed))) for seed in (0, 0)]
    assert torch.equal(*again)


@pytest.mark.parametrize(("name", "parts"), cases())
def test_episodes_that_end_leave_the_others_as_they_were(name: str, parts: dict) -> None:
    """Two of four rows go after the fourth step, in the middle of a segment."""
    policy = make(name, parts)
    whole = played(policy, GREEDY)
    keep = torch.tensor([False, True, False, True])
    state, left = begin(policy, segmentation=Segmentation(LENGTH, LENGTH)), []
    with torch.inference_mode():
        for step in range(STEPS):
            question = seen(policy.spaces, step)
            chosen, state = policy.act(of_rows(question, keep) if step > 3 else question, state,
                                       GREEDY)  # fmt: skip
            if step > 3:
                left.append(chosen)
            if step == 3:
                state = state.rows(keep)
    # Choices are the same; numbers may be added up in another order where there are fewer rows.
    torch.testing.assert_close(torch.stack(left, dim=1), whole[keep, 4:], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "parts"), cases(SequencePolicy))
def test_acting_is_decoding_segment_by_segment(name: str, parts: dict) -> None:
    """What ``act`` chooses is the best of the logits of a loop that closes segments by hand."""
    policy, spaces = make(name, parts), SPACES["vector"]
    memory, previous, expected = policy.memory_after(shown(policy, spaces), ROWS), None, []
    with torch.inference_mode():
        state = policy.begin_segment(memory, LENGTH)
        for step in range(STEPS):
            if step and step % LENGTH == 0 and policy.recurrent:
                state, previous = policy.begin_segment(
                    policy.end_segment(previous, state), LENGTH
                ), None  # fmt: skip
            question = seen(spaces, step)
            logits, state = policy.step(
                Step(question.observation, question.return_to_go, previous), state
            )
            previous = logits.argmax(-1)
            expected.append(previous)
    assert torch.equal(played(policy, GREEDY), torch.stack(expected, dim=1))


@pytest.mark.parametrize(("name", "parts"), cases(SequencePolicy))
def test_a_border_is_called_with_the_memory_that_is_used(name: str, parts: dict) -> None:
    policy, closed = make(name, parts), []

    def at_border(memory: Memory) -> Memory:
        closed.append(memory)
        return memory

    state = begin(policy, segmentation=Segmentation(LENGTH, LENGTH, at_border))
    with torch.inference_mode():
        for step in range(STEPS):
            _, state = policy.act(seen(SPACES["vector"], step), state, GREEDY)
    assert len(closed) == (2 if policy.recurrent else 0)
