"""A model of your own: its memory is a moving average of the encoded observations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from memdt.data.segments import Segment
from memdt.models.interface import Memory, SequencePolicy, Spaces, State, Step
from memdt.models.parts.encoders import action_head, observation_encoder
from memdt.settings.schema import Frozen


class Settings(Frozen):
    """Checked before any job starts; a YAML file may set them."""

    name: str
    width: int = Field(gt=0)
    keep: float = Field(default=0.9, ge=0, lt=1, description="share of the average that is kept")


@dataclass(frozen=True)
class Average(Memory):
    """What is carried from step to step, and from segment to segment."""

    value: Tensor  # batch width


@dataclass
class Open(State):
    """The average so far in the open segment."""

    memory: Average

    def rows(self, rows: Tensor) -> Open:
        """Keep the episodes marked true."""
        return Open(self.memory.rows(rows))


class MovingAverage(SequencePolicy):
    """Encoder, average, action head."""

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(spaces)
        self.settings = settings
        self.encoder = observation_encoder(spaces.observation, settings.width)
        self.head = action_head(spaces, 2 * settings.width)

    def initial_memory(self, batch: int) -> Average:
        """Return zeros."""
        device = next(self.parameters()).device
        return Average(torch.zeros(batch, self.settings.width, device=device))

    def forward(self, segment: Segment, memory: Average) -> tuple[Tensor, Average]:
        """Return the logits at every step of a segment, and the memory after it."""
        logits = []
        for encoded in self.encoder(segment.observations).unbind(1):
            output, memory = self._see(encoded, memory)
            logits.append(output)
        return torch.stack(logits, 1), memory

    def _see(self, encoded: Tensor, memory: Average) -> tuple[Tensor, Average]:
        keep = self.settings.keep
        value = keep * memory.value + (1 - keep) * encoded
        return self.head(torch.cat([encoded, value], -1)), Average(value)

    def begin_segment(self, memory: Average, context_steps: int) -> Open:
        """Wrap the memory: it is all of the state."""
        return Open(memory)

    def step(self, step: Step, state: Open) -> tuple[Tensor, Open]:
        """Return the logits of one step of an environment."""
        logits, memory = self._see(self.encoder(step.observation), state.memory)
        return logits, Open(memory)

    def end_segment(self, last_action: Tensor, state: Open) -> Average:
        """Return the memory that the next segment starts from."""
        return state.memory


def build(settings: Settings, spaces: Spaces) -> MovingAverage:
    """Build the model."""
    return MovingAverage(settings, spaces)
