"""Decision Transformer: one window, no memory; at inference the window slides over the episode.

Source: Chen et al. 2021; as a baseline RATE section 4.3. Positions are Transformer-XL's relative
ones and not learned time-step embeddings, as in RATE's public code (Deviation D14).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from memdt.models.interface import Memory, Spaces, State, Step
from memdt.models.parts import segment_transformer
from memdt.models.parts.segment_transformer import SegmentMemory, SegmentState, SegmentTransformer

# A window is run for a few rows at a time, so that activations stay in the processor's cache.
TOKENS_AT_ONCE = 3000


class Settings(segment_transformer.Settings):
    """Sizes, and the window that training uses."""

    memory_tokens: Literal[0] = 0
    memory_update: Literal["replace"] = "replace"
    cache_length: Literal[0] = 0
    training_window: Literal["episode", "segment"] = Field(
        default="episode",
        description="episode: whole episodes as one context, as the public code trains; "
        "segment: windows of one segment",
    )


@dataclass
class WindowState(State):
    """The open window: its embedded tokens, and cached keys and values until it slides."""

    context_steps: int
    segment: SegmentState
    tokens: Float[Tensor, "batch token width"] | None = None

    def rows(self, rows: Bool[Tensor, " batch"]) -> WindowState:
        """Keep the episodes marked true."""
        tokens = None if self.tokens is None else self.tokens[rows]
        return replace(self, segment=self.segment.rows(rows), tokens=tokens)


class DecisionTransformer(SegmentTransformer):
    """A segment transformer without recurrence. Decoding is cached until the window is full.

    The window slides; the public code clears it every K steps instead (Deviation D19).

    Once it slides, every step recomputes the whole window. Cached keys and values still depend on
    tokens that have left the window, and would let deeper layers look back beyond the context.
    """

    recurrent = False
    settings: Settings

    @property
    def whole_episodes(self) -> bool:  # type: ignore[override]
        """Whether training feeds whole episodes as one context."""
        return self.settings.training_window == "episode"

    def begin_segment(self, memory: Memory, context_steps: int) -> WindowState:  # type: ignore[override]
        """Open an empty window."""
        return WindowState(context_steps, super().begin_segment(memory, context_steps))

    def step(  # type: ignore[override]
        self, step: Step, state: State
    ) -> tuple[Float[Tensor, "batch outputs"], WindowState]:
        """Return the logits of the newest step, from at most ``context_steps`` steps."""
        assert isinstance(state, WindowState)
        new = self.steps.observation_tokens(step.observation, step.return_to_go)
        if step.previous_action is not None:
            new = torch.cat([self.steps.action_tokens(step.previous_action), new], dim=1)
        tokens = new if state.tokens is None else torch.cat([state.tokens, new], dim=1)
        limit = 3 * state.context_steps - 1  # the newest step has no action yet
        if tokens.shape[1] <= limit:
            count = new.shape[1]
            top = self._extend(state.segment, new, ("step",) * count, selected=(count - 1,))
            return self.head(top[:, -1]), replace(state, tokens=tokens)
        tokens = tokens[:, -limit:]
        top = self._recompute(state.segment.memory, tokens)
        return self.head(top), replace(state, tokens=tokens)

    def _recompute(self, memory: SegmentMemory, tokens: Tensor) -> Float[Tensor, "batch width"]:
        """The last token's top-layer state, from the whole window and the tokens of ``memory``."""
        kinds = self._kinds(memory) + ("step",) * tokens.shape[1]
        layout = self._layout(kinds, len(kinds), selected=(len(kinds) - 1,))
        window = torch.cat([memory.tokens, tokens], dim=1)
        rows = max(1, TOKENS_AT_ONCE // len(kinds))
        parts = [slice(first, first + rows) for first in range(0, len(window), rows)]
        top = [self._run(memory.rows(part), window[part], layout)[:, -1] for part in parts]
        return torch.cat(top)

    def end_segment(self, last_action: Tensor, state: State) -> SegmentMemory:
        """Raise NotImplementedError: a rollout never closes the window."""
        raise NotImplementedError("a model without recurrence has no segments to close")


def build(settings: Settings, spaces: Spaces) -> DecisionTransformer:
    """Build a Decision Transformer."""
    return DecisionTransformer(settings, spaces)
