"""A hyper-network: reads a demonstration and writes weights that are added to those of a policy.

Sources: HDT (Xu et al. 2023), which has no public code; DT-Mem appendix (Table 6), after von Oswald
et al. 2020. Both leave details open, and Deviations D71 and D73 are our reading:

    demonstration -> task encoder -> task --+
                                            +-> two layers -> weights added to a pair of matrices
    number of the pair --------- embedding -+

The weights of its last layer start at zero, so that a new hyper-network adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from memdt.data.segments import Segment
from memdt.models.interface import Spaces
from memdt.models.parts.encoders import action_encoder, observation_encoder
from memdt.models.parts.segment_transformer import layout_of
from memdt.models.parts.transformer import Transformer
from memdt.settings.schema import DemonstrationSettings

HEADS = 2  # of the task encoder


class HyperSettings(DemonstrationSettings):
    """Sizes of a hyper-network, and the length of the demonstration that it reads."""

    rank: int = Field(default=16, gt=0, description="of the matrices written: bottleneck width")
    task_width: int = Field(
        default=64, gt=0, multiple_of=4, description="of the task encoder, and of a task's vector"
    )
    task_layers: int = Field(default=1, gt=0, description="of the task encoder")
    hyper_width: int = Field(default=128, gt=0, description="hidden layer of the hyper-network")


@dataclass(frozen=True)
class Pair:
    """Pairs of matrices, width -> rank -> width, for every row of a batch."""

    down: Float[Tensor, "batch pair rank width"]
    up: Float[Tensor, "batch pair width rank"]

    def down_to(self, index: int, tokens: Tensor) -> Float[Tensor, "batch token rank"]:
        """Multiply tokens with the first matrix of a pair."""
        return tokens @ self.down[:, index].transpose(1, 2)

    def up_from(self, index: int, hidden: Tensor) -> Float[Tensor, "batch token width"]:
        """Multiply hidden values with the second matrix of a pair."""
        return hidden @ self.up[:, index].transpose(1, 2)


class Adapters(nn.Module):
    """A policy's own pairs of matrices. They add nothing until they are trained or written to."""

    def __init__(self, pairs: int, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(pairs, rank, width).uniform_(-1, 1) / sqrt(width))
        self.up = nn.Parameter(torch.zeros(pairs, width, rank))

    def expanded(self, batch: int) -> Pair:
        """Return the pairs for ``batch`` rows, without a demonstration."""
        return Pair(*(matrix.expand(batch, *matrix.shape) for matrix in (self.down, self.up)))


class TaskEncoder(nn.Module):
    """Encodes a demonstration as one vector: a transformer without a causal mask, then a mean."""

    def __init__(self, settings: HyperSettings, spaces: Spaces, actions: bool) -> None:
        super().__init__()
        width = self.width = settings.task_width
        self.return_to_go = nn.Linear(1, width)
        self.observation = observation_encoder(spaces.observation, width)
        self.action = action_encoder(spaces.action, width) if actions else None
        self.transformer = Transformer(
            settings.task_layers, width, HEADS, width // HEADS, 2 * width, "post", 0.0, 0.0
        )

    def forward(self, demonstration: Segment) -> Float[Tensor, "batch task"]:
        """The mean over real steps, which see each other and no padding."""
        tokens = self.observation(demonstration.observations)
        tokens = tokens + self.return_to_go(demonstration.returns_to_go[..., None])
        if self.action is not None:
            tokens = tokens + self.action(demonstration.actions)
        steps, device = demonstration.steps, str(tokens.device)
        # Tokens of the kind `read` see all of their kind, so this has no causal mask.
        layout = layout_of(("read",) * steps, steps, None, self.width, device)
        top = self.transformer(tokens, layout.hiding(~demonstration.mask))
        real = demonstration.mask[..., None].to(top.dtype)
        return (top * real).sum(dim=1) / real.sum(dim=1)


class HyperNetwork(nn.Module):
    """Writes an addition to each of a policy's pairs, from a demonstration."""

    def __init__(
        self, settings: HyperSettings, spaces: Spaces, pairs: int, width: int, actions: bool
    ) -> None:
        super().__init__()
        self.shape = (settings.rank, width)
        self.task = TaskEncoder(settings, spaces, actions)
        # One vector for each pair; the attribute's name is part of every checkpoint.
        self.place = nn.Embedding(pairs, settings.task_width)
        self.network = nn.Sequential(
            nn.Linear(2 * settings.task_width, settings.hyper_width),
            nn.ReLU(),
            nn.Linear(settings.hyper_width, 2 * settings.rank * width),
        )
        nn.init.zeros_(self.network[-1].weight)
        nn.init.zeros_(self.network[-1].bias)

    def forward(self, demonstration: Segment, adapters: Adapters) -> Pair:
        """Return the pairs of ``adapters`` with the written weights added, for every row."""
        task = self.task(demonstration)
        embeddings = self.place.weight
        inputs = torch.cat(
            [
                task[:, None].expand(-1, len(embeddings), -1),
                embeddings.expand(len(task), -1, -1),
            ],
            dim=-1,
        )
        written = self.network(inputs).unflatten(-1, (2, *self.shape))
        down, up = written[:, :, 0], written[:, :, 1].transpose(2, 3)
        return Pair(adapters.down + down, adapters.up + up)
