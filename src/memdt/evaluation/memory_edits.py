"""Edits of the memory between two segments of a rollout.

Source: RATE section 5.2 (Figure 5) and Table 6: the first segment's memory kept, noise added to the
memory, memory replaced by noise. Two edits are ours (Deviation D82): the memory of an episode's
start, which leaves the current segment alone, and single tokens erased. An edit is part of the
condition, not a second rollout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from memdt.errors import UserError
from memdt.models.interface import Memory
from memdt.settings.schema import Condition


@dataclass
class MemoryEdit:
    """Applies the edit of a condition to the memory of each segment, in order."""

    condition: Condition
    generator: torch.Generator
    initial: Memory | None = None  # that of the start of each episode
    first: Memory | None = None  # the memory after the first segment

    def __call__(self, memory: Memory) -> Memory:
        """The memory that the next segment starts from."""
        edited = self._edited(memory)
        return edited.edit(self._erased) if self.condition.erased_tokens else edited

    def _edited(self, memory: Memory) -> Memory:
        kind = self.condition.memory_edit
        if kind == "initial":
            return memory if self.initial is None else self.initial  # None: there is no memory
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
        if self.initial is not None:
            self.initial = self.initial.rows(rows)

    def _erased(self, tensor: Float[Tensor, "batch slot width"]) -> Tensor:
        erased = self.condition.erased_tokens
        if max(erased) >= tensor.shape[1]:
            what = f"there is no memory token {max(erased)}, only {tensor.shape[1]} from 0 on"
            raise UserError(what, "evaluation.conditions", "correct erased_tokens")
        return tensor.index_fill(1, torch.tensor(erased, device=tensor.device), 0.0)

    def _noise(self, tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=self.generator, device=tensor.device)
        return self.condition.noise_scale * noise
