"""Uniformly random actions: the floor of every table. Evaluate it with sampled actions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from memdt.data.segments import Segment
from memdt.models.interface import Memory, NoState, SequencePolicy, Spaces, State, Step
from memdt.settings.schema import Frozen


class Settings(Frozen):
    """Nothing to set."""

    name: str


class RandomPolicy(SequencePolicy):
    """Equal logits for every action; anything in [-1, 1] where actions are continuous."""

    spread = 1.0

    def initial_memory(self, batch: int) -> Memory:
        """Empty."""
        return Memory()

    def forward(
        self, segment: Segment, memory: Memory
    ) -> tuple[Float[Tensor, "batch time outputs"], Memory]:
        """Zeros."""
        shape = (*segment.mask.shape, self.spaces.action_outputs)
        zeros = torch.zeros(shape, device=segment.mask.device)
        return zeros, memory

    def begin_segment(self, memory: Memory, context_steps: int) -> NoState:
        """Nothing to prepare."""
        return NoState()

    def step(self, step: Step, state: State) -> tuple[Float[Tensor, "batch outputs"], State]:
        """Zeros."""
        rows = step.return_to_go
        return torch.zeros(rows.shape[0], self.spaces.action_outputs, device=rows.device), state


def build(settings: Settings, spaces: Spaces) -> RandomPolicy:
    """A random policy."""
    return RandomPolicy(spaces)
