"""Tabular Q-learning over all transitions at once. Source: Watkins 1989. Made up for a test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from memdt.data.segments import EpisodeTensors
from memdt.data.transitions import Transitions, transitions
from memdt.models.interface import Policy
from memdt.settings import slices
from memdt.settings.schema import Frozen
from memdt.training.learner import Effort, StageContext


class Settings(Frozen):
    """How values are learnt."""

    discount: float = Field(default=0.9, ge=0, le=1, description="of rewards, per step")


@dataclass
class Watkins:
    """A table, and how far it looks ahead."""

    policy: Policy
    discount: float

    columns = ("surprise",)

    steps = 0  # of the dataset

    def sampler(self, episodes: EpisodeTensors, stage: slices.Stage) -> AllAtOnce:
        """The whole dataset in every update."""
        self.steps = int(episodes.offsets[-1])
        return AllAtOnce(episodes)

    def update(self, number: int, batch: Transitions) -> dict[str, Tensor]:
        """Every value becomes what the dataset says of it now."""
        table = self.policy.values
        with torch.no_grad():
            ahead = (batch.next_observations @ table).amax(-1).masked_fill(batch.terminal, 0.0)
            goal = (batch.rewards + self.discount * ahead)[:, 0]
            places, actions = batch.observations[:, 0].argmax(-1), batch.actions[:, 0]
            before = table[places, actions].clone()
            table[places, actions] = goal
        return {"surprise": (goal - before).abs().mean()}

    def effort(self, updates: int) -> Effort:
        """There is neither an optimiser nor a gradient."""
        return Effort(0, updates * self.steps, 0)

    def state(self) -> dict[str, Tensor]:
        """The table."""
        return {"values": self.policy.values.data}

    def load(self, state: dict[str, Tensor]) -> None:
        """Fill it again."""
        self.policy.values.data.copy_(state["values"])


@dataclass(frozen=True)
class AllAtOnce:
    """All transitions, whatever the update."""

    episodes: EpisodeTensors

    def __call__(self, number: int) -> Transitions:
        """Each step of the dataset as a row."""
        borders = self.episodes.offsets
        first = np.arange(borders[-1])
        last = borders[1:][np.searchsorted(borders, first, side="right") - 1]
        return transitions(self.episodes, first, last, 1)

    def updates(self, epochs: int) -> int:
        """One an epoch."""
        return epochs


def build(policy: Policy, context: StageContext) -> Watkins:
    """Q-learning of a table."""
    return Watkins(policy, Settings(**context.settings.learner).discount)
