"""Encoders are chosen from the spaces; frames are standardised one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from memdt.errors import UserError
from memdt.models.interface import Spaces
from memdt.models.parts import convolutions
from memdt.models.parts.encoders import FrameEncoder, StepTokens, observation_encoder

FRAMES = gym_spaces.Box(0, 255, (36, 64, 3), np.uint8)


@pytest.fixture
def frames() -> torch.Tensor:
    draws = torch.Generator().manual_seed(0)
    return torch.randint(0, 100, (2, 5, 36, 64, 3), generator=draws, dtype=torch.uint8)


def test_a_brighter_frame_with_more_contrast_is_the_same_frame(frames):
    encoder = FrameEncoder(FRAMES.shape, 16)
    torch.testing.assert_close(encoder(frames * 2 + 30), encoder(frames), atol=0.02, rtol=0.0)
    assert not torch.allclose(encoder(frames.flip(3)), encoder(frames), atol=0.02)


def test_a_frame_of_one_colour_has_a_finite_code():
    blank = torch.zeros(1, 36, 64, 3, dtype=torch.uint8)
    assert torch.isfinite(FrameEncoder(FRAMES.shape, 16)(blank)).all()


def test_each_frame_is_encoded_by_itself(frames):
    encoder = FrameEncoder(FRAMES.shape, 16)
    together = encoder(frames)
    assert together.shape == (2, 5, 16)
    torch.testing.assert_close(encoder(frames[1, 3]), together[1, 3])


def test_convolutions_start_orthogonal():
    encoder = FrameEncoder(FRAMES.shape, 16)
    first = next(layer for layer in encoder.convolutions if isinstance(layer, nn.Conv2d))
    rows = first.weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, 2.0 * torch.eye(len(rows)), atol=1e-4, rtol=0.0)
    assert not first.bias.any()


def test_the_plan_counts_the_products_that_are_made(frames):
    encoder = FrameEncoder(FRAMES.shape, 16)
    with FlopCounterMode(display=False) as counter:
        encoder(frames)
    one = convolutions.products(FRAMES.shape, 16)
    assert counter.get_total_flops() == 2 * one * frames.shape[0] * frames.shape[1]


def test_frames_that_are_too_small_are_refused():
    assert convolutions.sides((36, 36, 3))[-1] == (1, 1)
    FrameEncoder((36, 36, 3), 8)
    with pytest.raises(UserError, match="frames of 64 x 35 are too small"):
        FrameEncoder((35, 64, 3), 8)


def test_beside_frames_returns_and_actions_are_bounded():
    tokens = StepTokens(Spaces(FRAMES, gym_spaces.Discrete(5)), 16, 0.0)
    assert tokens.return_to_go(torch.tensor([[1e6]])).abs().max() <= 1
    plain = StepTokens(Spaces(gym_spaces.Box(-1, 1, (4,)), gym_spaces.Discrete(5)), 16, 0.0)
    assert plain.return_to_go(torch.tensor([[1e6]])).abs().max() > 1


def test_an_observation_that_nobody_encodes_is_refused():
    with pytest.raises(UserError, match="no encoder for observations"):
        observation_encoder(gym_spaces.Discrete(3), 8)
