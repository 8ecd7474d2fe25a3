"""Edits of the memory between two segments of a rollout.

Source: RATE section 5.2 (Figure 5) and Table 6: memory is replaced by that of the first segment, or
by noise, or noise is added to it. An edit is part of the evaluation condition.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from memdt.models.interface import Memory
from memdt.settings.schema import Condition


@dataclass
class MemoryEdit:
    """Applies the edit of a condition to the memory of each segment, in order."""

    condition: Condition
    generator: torch.Generator
    first: Memory | None = None  # the memory after the first segment

    def __call__(self, memory: Memory) -> Memory:
        """Return the memory that the next segment starts from."""
        kind = self.condition.memory_edit
        if kind == "first_segment":
            self.first = memory if self.first is None else self.first
            return memory.with_content_of(self.first)
        if kind == "added_noise":
            return memory.edit(lambda tensor: tensor + self._noise(tensor))
        if kind == "noise":
            return memory.edit(self._noise)
        return memory

    def rows(self, rows: Bool[Tensor, " batch"]) -> None:
        """Keep the episodes marked true."""
        if self.first is not None:
            self.first = self.first.rows(rows)

    def _noise(self, tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=self.generator, device=tensor.device)
        return self.condition.noise_scale * noise
