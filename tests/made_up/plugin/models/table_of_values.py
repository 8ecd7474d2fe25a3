"""A table of the value of each action at each place: neither segments nor gradients. Made up."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from memdt.data.segments import Segment
from memdt.models.interface import Choice, NoState, Policy, Segmentation, Spaces, State, Step
from memdt.settings.schema import Frozen

LEARNER = "watkins"


class Settings(Frozen):
    """What the table begins with."""

    name: str
    optimism: float = Field(default=0.0, description="every value at first")


class Table(Policy):
    """The action of the highest value."""

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(spaces)
        shape = (spaces.observation.shape[0], spaces.action_outputs)
        self.values = torch.nn.Parameter(torch.full(shape, settings.optimism))

    def begin(
        self,
        rows: int,
        demonstration: Segment | None = None,
        segmentation: Segmentation | None = None,
    ) -> NoState:
        """Nothing is remembered."""
        return NoState()

    def act(self, step: Step, state: State, choice: Choice) -> tuple[Tensor, State]:
        """By the table alone."""
        return (step.observation @ self.values).argmax(-1), state


def build(settings: Settings, spaces: Spaces) -> Table:
    """A table."""
    return Table(settings, spaces)
