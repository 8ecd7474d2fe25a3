"""Uniformly random actions, the lower bound of every table. Evaluate it with sampled actions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from memdt.data.segments import Segment
from memdt.models.interface import Memory, NoState, SequencePolicy, Spaces, State, Step
from memdt.settings.schema import Frozen


class Settings(Frozen):
    """The name alone; a random policy has no other settings."""

    name: str


class RandomPolicy(SequencePolicy):
    """Equal logits for every action; uniform in [-1, 1] if actions are continuous."""

    # Around means of 0: uniform over all of [-1, 1].
    spread = 1.0

    def initial_memory(self, batch: int) -> Memory:
        """Return an empty memory."""
        return Memory()

    def forward(
        self, segment: Segment, memory: Memory
    ) -> tuple[Float[Tensor, "batch time outputs"], Memory]:
        """Return zeros."""
        shape = (*segment.mask.shape, self.spaces.action_outputs)
        zeros = torch.zeros(shape, device=segment.mask.device)
        return zeros, memory

    def begin_segment(self, memory: Memory, context_steps: int) -> NoState:
        """Return the empty state."""
        return NoState()

    def step(self, step: Step, state: State) -> tuple[Float[Tensor, "batch outputs"], State]:
        """Return zeros."""
        rows = step.return_to_go
        return torch.zeros(rows.shape[0], self.spaces.action_outputs, device=rows.device), state


def build(settings: Settings, spaces: Spaces) -> RandomPolicy:
    """Build a random policy."""
    return RandomPolicy(spaces)
