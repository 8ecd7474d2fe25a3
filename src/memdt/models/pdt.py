"""Prompt-DT: a Decision Transformer with the end of a demonstration in front of its window.

Source: Xu et al. 2022 (Prompt-DT) section 4. The prompt is the last 5 steps (K* = 5) of one
demonstration (J = 1) and has its own embedding layers. It stays when the window slides:

    R* o* a* R* o* a* | R o a R o a R o -> a
    prompt, causal    | window, sees all of the prompt

Deviation D70: the rest is the Decision Transformer of this project.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from memdt.data.segments import Segment
from memdt.models import decision_transformer
from memdt.models.decision_transformer import DecisionTransformer
from memdt.models.interface import Memory, Spaces
from memdt.models.parts.encoders import StepTokens
from memdt.models.parts.segment_transformer import SegmentMemory
from memdt.settings.schema import DemonstrationSettings


class Settings(decision_transformer.Settings, DemonstrationSettings):
    """Sizes, the window that training uses, and the length of the prompt."""

    demonstration_steps: int = Field(default=5, gt=0, description="steps of the prompt, K*")


class PromptDecisionTransformer(DecisionTransformer):
    """A Decision Transformer that holds the tokens of its prompt as memory tokens."""

    read_kind = "prompt"

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(settings, spaces)
        self.prompt = StepTokens(spaces, settings.width, settings.dropout)

    def prompted(self, memory: Memory, demonstration: Segment) -> SegmentMemory:
        """Return the demonstration's tokens, with which every window of the episode begins."""
        assert isinstance(memory, SegmentMemory)
        return replace(memory, tokens=self.prompt(demonstration))


def build(settings: Settings, spaces: Spaces) -> PromptDecisionTransformer:
    """Build a Prompt-DT policy."""
    return PromptDecisionTransformer(settings, spaces)
