"""Prompt-DT: a Decision Transformer with the end of a demonstration in front of its window.

Source: Xu et al. 2022 (Prompt-DT) section 4. The prompt is the last 5 steps (K* = 5) of one
demonstration (J = 1) and has its own embedding layers. It stays when the window slides:

    R* o* a* R* o* a* | R o a R o a R o -> a
    prompt, causal    | window, sees all of the prompt

A demonstration that is shorter than the prompt stands next to the window; nobody sees the padding
in front of it.

Deviation D70: the rest is the Decision Transformer of this project.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from memdt.data.segments import Segment
from memdt.models import decision_transformer
from memdt.models.decision_transformer import DecisionTransformer
from memdt.models.interface import Memory, Spaces
from memdt.models.parts.encoders import StepTokens
from memdt.models.parts.geometry import Layout
from memdt.models.parts.segment_transformer import SegmentMemory
from memdt.models.parts.transformer import KeyValueCache, LayerTrace
from memdt.settings.schema import DemonstrationSettings


class Settings(decision_transformer.Settings, DemonstrationSettings):
    """Sizes, the window that training uses, and the length of the prompt."""

    demonstration_steps: int = Field(default=5, gt=0, description="steps of the prompt, K*")


@dataclass(frozen=True)
class PromptMemory(SegmentMemory):
    """The prompt's tokens, and which of them are padding."""

    absent: tuple[Bool[Tensor, "batch slot"], ...] = ()  # one, once a demonstration was shown


class PromptDecisionTransformer(DecisionTransformer):
    """A Decision Transformer that holds the tokens of its prompt as memory tokens."""

    read_kind = "prompt"

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(settings, spaces)
        self.prompt = StepTokens(spaces, settings.width, settings.dropout)

    def initial_memory(self, batch: int) -> PromptMemory:
        """No prompt."""
        return PromptMemory(self.memory.expand(batch, -1, -1))

    def prompted(self, memory: Memory, demonstration: Segment) -> PromptMemory:
        """The demonstration's tokens; every window of the episode begins with them."""
        real = demonstration.mask
        # Rotated, so that a short demonstration is as near to the window as a full prompt.
        ahead = (~real).sum(dim=1, keepdim=True)  # steps of padding, which go from behind to there
        order = (torch.arange(real.shape[1], device=real.device) - ahead) % real.shape[1]
        tokens = self.prompt(demonstration).unflatten(1, (-1, 3))
        moved = tokens.gather(1, order[:, :, None, None].expand_as(tokens)).flatten(1, 2)
        absent = ~real.gather(1, order)
        return PromptMemory(moved, absent=(absent.repeat_interleave(3, dim=1),))

    def _next_memory(
        self, memory: SegmentMemory, written: Tensor, hidden: list[Tensor]
    ) -> SegmentMemory:
        return memory

    def _run(
        self,
        memory: SegmentMemory,
        tokens: Tensor,
        layout: Layout,
        cache: tuple[Tensor, ...] = (),
        past: KeyValueCache | None = None,
        recording: LayerTrace | None = None,
    ) -> Float[Tensor, "batch selected width"]:
        assert isinstance(memory, PromptMemory)
        for absent in memory.absent:
            layout = layout.hiding(absent)
        return super()._run(memory, tokens, layout, cache, past, recording)


def build(settings: Settings, spaces: Spaces) -> PromptDecisionTransformer:
    """Build a Prompt-DT policy."""
    return PromptDecisionTransformer(settings, spaces)
