"""Encoders and heads, chosen by the observation and action spaces.

A step becomes three tokens: return-to-go, observation, action. Source: RATE section 3. Its public
code uses Linear for vectors, three convolutions for frames and an embedding for discrete actions.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from gymnasium import spaces as gym_spaces
from jaxtyping import Float
from torch import Tensor, nn

from memdt.data.segments import Segment
from memdt.errors import UserError
from memdt.models.interface import Spaces
from memdt.models.parts import convolutions
from memdt.models.parts.frames import standardised


class FrameEncoder(nn.Module):
    """Three convolutions (8x8/4, 4x4/2, 3x3/1) on frames 0..255, then Linear and tanh.

    Frames are height x width x channels, as environments return them. Each one is standardised,
    because the dark frames of a simulator would otherwise hardly activate the first layer.
    """

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        convolutions.check(shape)
        layers: list[nn.Module] = []
        channels = [shape[2], *convolutions.channels(width)]
        pairs = itertools.pairwise(channels)
        for (inputs, outputs), (kernel, stride, _) in zip(pairs, convolutions.LAYERS, strict=True):
            layers += [nn.Conv2d(inputs, outputs, kernel, stride), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        # Deviation D39: orthogonal weights and standardised frames; the public code has neither.
        for layer in self.convolutions:
            if isinstance(layer, nn.Conv2d):
                nn.init.orthogonal_(layer.weight, nn.init.calculate_gain("relu"))
                nn.init.zeros_(layer.bias)
        height, columns = convolutions.sides(shape)[-1]
        self.output = nn.Sequential(nn.Linear(channels[-1] * height * columns, width), nn.Tanh())

    def forward(self, frames: Tensor) -> Float[Tensor, "... width"]:
        """Encode frames with any number of leading dimensions."""
        flat = standardised(frames.reshape(-1, *frames.shape[-3:]))
        encoded = self.output(self.convolutions(flat.permute(0, 3, 1, 2)))
        return encoded.reshape(*frames.shape[:-3], -1)


def observation_encoder(space: gym_spaces.Space[Any], width: int) -> nn.Module:
    """Return Linear and ReLU for vectors (RATE on T-Maze), convolutions for frames.

    Raises UserError for any other space.
    """
    if isinstance(space, gym_spaces.Box) and len(space.shape) == 1:
        return nn.Sequential(nn.Linear(space.shape[0], width), nn.ReLU())
    if isinstance(space, gym_spaces.Box) and len(space.shape) == 3:
        return FrameEncoder(space.shape, width)
    raise UserError(
        f"no encoder for observations of {space}", "models/parts/encoders.py", "add one there"
    )


def action_encoder(space: gym_spaces.Space[Any], width: int) -> nn.Module:
    """Return an embedding for discrete actions (Deviation D11), Linear for vectors.

    Raises UserError for any other space.
    """
    if isinstance(space, gym_spaces.Discrete):
        return nn.Embedding(int(space.n), width)
    if isinstance(space, gym_spaces.Box) and len(space.shape) == 1:
        return nn.Linear(space.shape[0], width)
    raise UserError(
        f"no encoder for actions of {space}", "models/parts/encoders.py", "add one there"
    )


def action_head(spaces: Spaces, width: int) -> nn.Module:
    """Return a head with logits for discrete actions, tanh means for others (RATE on MuJoCo)."""
    if spaces.discrete:
        return nn.Linear(width, spaces.action_outputs)
    return nn.Sequential(nn.Linear(width, spaces.action_outputs), nn.Tanh())


class StepTokens(nn.Module):
    """Embeds return-to-go, observation and action of each step as three tokens."""

    def __init__(self, spaces: Spaces, width: int, dropout: float) -> None:
        super().__init__()
        self.return_to_go: nn.Module = nn.Linear(1, width)
        self.observation = observation_encoder(spaces.observation, width)
        self.action = action_encoder(spaces.action, width)
        if len(spaces.observation.shape or ()) == 3:  # as the public code does with frames
            self.return_to_go = nn.Sequential(self.return_to_go, nn.Tanh())
            self.action = nn.Sequential(self.action, nn.Tanh())
        self.dropout = nn.Dropout(dropout)

    def forward(self, segment: Segment) -> Float[Tensor, "batch token width"]:
        """Return the tokens R_0 o_0 a_0 R_1 o_1 a_1 ... of a segment."""
        returns = self.return_to_go(segment.returns_to_go[..., None])
        observations = self.observation(segment.observations)
        actions = self.action(segment.actions)
        tokens = torch.stack([returns, observations, actions], dim=2).flatten(1, 2)
        dropped: Tensor = self.dropout(tokens)
        return dropped

    def observation_tokens(
        self, observation: Tensor, return_to_go: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch 2 width"]:
        """Return the tokens of return-to-go and observation, which an action is predicted from."""
        returns = self.return_to_go(return_to_go[:, None])
        return torch.stack([returns, self.observation(observation)], dim=1)

    def action_tokens(self, action: Tensor) -> Float[Tensor, "batch 1 width"]:
        """Return the token of the action taken."""
        encoded: Tensor = self.action(action)
        return encoded[:, None]
