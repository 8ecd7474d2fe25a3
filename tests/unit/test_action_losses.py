"""The losses that count some actions more than others (RATE section 4.2)."""

from __future__ import annotations

import pytest
import torch

from memdt.data.segments import Segment
from memdt.errors import UserError
from memdt.training.losses import action_score, step_weights


def segment(*actions: list[int], time: int = 3) -> Segment:
    """Rows of so many real steps, padded to ``time``."""
    padded = torch.tensor([row + [0] * (time - len(row)) for row in actions])
    mask = torch.tensor([[step < len(row) for step in range(time)] for row in actions])
    shape = padded.shape
    return Segment(torch.zeros((*shape, 2)), padded, torch.zeros(shape), mask)


# Three episodes of 5, 3 and 2 steps: the first one goes on into a second segment.
BATCH = [segment([0, 0, 0], [0, 0, 1], [0, 1]), segment([0, 2])]


def test_all_actions_count_alike_by_default():
    assert step_weights(BATCH, "all") == [None, None]


def test_the_last_action_of_each_episode_alone():
    first, second = step_weights(BATCH, "last")
    each = 10 / 3  # ten real steps, three of which count: the mean over real steps is 1
    expected = torch.tensor([[0, 0, 0], [0, 0, each], [0, each, 0]])
    assert torch.allclose(first, expected)
    assert torch.allclose(second, torch.tensor([[0, each, 0]]))


def test_windows_of_whole_episodes_end_each():
    windows = [segment([0, 0, 1]), segment([0, 2], time=2)]
    first, second = step_weights(windows, "last", whole_episodes=True)
    assert (first > 0).tolist() == [[False, False, True]]
    assert (second > 0).tolist() == [[False, True]]


def test_balanced_weights_give_every_action_the_same_part_of_the_loss():
    weights = step_weights(BATCH, "balanced")
    parts = {
        action: sum(
            float((one * (part.actions == action))[part.mask].sum())
            for one, part in zip(weights, BATCH, strict=True)
        )
        for action in range(3)
    }
    assert parts == pytest.approx(dict.fromkeys(range(3), 10 / 3))
    assert all((one[~part.mask] == 0).all() for one, part in zip(weights, BATCH, strict=True))


def test_weights_multiply_the_loss_of_their_steps():
    outputs = torch.randn((3, 3, 3), generator=torch.Generator().manual_seed(0))
    (weights, _), part = step_weights(BATCH, "last"), BATCH[0]
    weighted = action_score(outputs, part, weights)
    each = -outputs.log_softmax(-1)
    expected = 10 / 3 * (each[1, 2, 1] + each[2, 1, 1])
    assert float(weighted.loss) == pytest.approx(float(expected), rel=1e-5)
    assert weighted.steps == action_score(outputs, part).steps
    alike = action_score(outputs, part, torch.ones(part.mask.shape))
    assert float(alike.loss) == pytest.approx(float(action_score(outputs, part).loss), rel=1e-5)


def test_continuous_actions_have_no_classes():
    vectors = Segment(
        torch.zeros(1, 2, 1), torch.zeros(1, 2, 1), torch.zeros(1, 2), torch.ones(1, 2).bool()
    )
    with pytest.raises(UserError, match="no classes"):
        step_weights([vectors], "balanced")
    assert step_weights([vectors], "last")[0].tolist() == [[0.0, 2.0]]
