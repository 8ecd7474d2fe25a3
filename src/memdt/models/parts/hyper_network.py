"""A hyper-network: from a demonstration it writes weights that are added to a policy's own.

Sources: HDT (Xu et al. 2023), whose details are in no public code; DT-Mem appendix (Table 6), after
von Oswald et al. 2020. What both leave open is our reading, Deviations D71 and D73:

    demonstration -> task encoder -> task --+
                                            +-> two layers -> what is added to a pair of matrices
    number of the pair --------- embedding -+

Its last layer begins with zeros, so a policy first does what it does without a demonstration.
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
    """Sizes of a hyper-network, and how much of a demonstration it is shown."""

    rank: int = Field(default=16, gt=0, description="of what it writes: width of the bottleneck")
    task_width: int = Field(
        default=64, gt=0, multiple_of=4, description="of the task encoder, and of a task's vector"
    )
    task_layers: int = Field(default=1, gt=0, description="of the task encoder")
    hyper_width: int = Field(default=128, gt=0, description="hidden layer of the hyper-network")


@dataclass(frozen=True)
class Pair:
    """Two matrices for each place of a policy, of every row: width -> rank -> width."""

    down: Float[Tensor, "batch place rank width"]
    up: Float[Tensor, "batch place width rank"]

    def down_to(self, place: int, tokens: Tensor) -> Float[Tensor, "batch token rank"]:
        """Tokens through the first matrix of a place."""
        return tokens @ self.down[:, place].transpose(1, 2)

    def up_from(self, place: int, hidden: Tensor) -> Float[Tensor, "batch token width"]:
        """And through the second one."""
        return hidden @ self.up[:, place].transpose(1, 2)


class Adapters(nn.Module):
    """Pairs that are a policy's own; they add nothing until trained, or written to."""

    def __init__(self, places: int, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(places, rank, width).uniform_(-1, 1) / sqrt(width))
        self.up = nn.Parameter(torch.zeros(places, width, rank))

    def alone(self, batch: int) -> Pair:
        """The pairs without a demonstration, for every row."""
        return Pair(*(one.expand(batch, *one.shape) for one in (self.down, self.up)))


class TaskEncoder(nn.Module):
    """A demonstration as one vector: a transformer whose steps all see each other, then a mean."""

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
        where = layout_of(("read",) * steps, steps, None, self.width, device)
        top = self.transformer(tokens, where.hiding(~demonstration.mask))
        real = demonstration.mask[..., None].to(top.dtype)
        return (top * real).sum(dim=1) / real.sum(dim=1)


class HyperNetwork(nn.Module):
    """What is added to each of a policy's pairs, from a demonstration."""

    def __init__(
        self, settings: HyperSettings, spaces: Spaces, places: int, width: int, actions: bool
    ) -> None:
        super().__init__()
        self.shape = (settings.rank, width)
        self.task = TaskEncoder(settings, spaces, actions)
        self.place = nn.Embedding(places, settings.task_width)
        self.network = nn.Sequential(
            nn.Linear(2 * settings.task_width, settings.hyper_width),
            nn.ReLU(),
            nn.Linear(settings.hyper_width, 2 * settings.rank * width),
        )
        nn.init.zeros_(self.network[-1].weight)
        nn.init.zeros_(self.network[-1].bias)

    def forward(self, demonstration: Segment, adapters: Adapters) -> Pair:
        """The pairs with what is written."""
        task = self.task(demonstration)
        places = self.place.weight
        pairs = torch.cat(
            [
                task[:, None].expand(-1, len(places), -1),
                places.expand(len(task), -1, -1),
            ],
            dim=-1,
        )
        written = self.network(pairs).unflatten(-1, (2, *self.shape))
        down, up = written[:, :, 0], written[:, :, 1].transpose(2, 3)
        return Pair(adapters.down + down, adapters.up + up)
