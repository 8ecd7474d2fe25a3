"""Behaviour cloning with an LSTM over observations; its hidden state is the memory.

Source: BC-LSTM of RATE's later version. Its only input is the observation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from memdt.data.segments import Segment
from memdt.models.interface import Memory, SequencePolicy, Spaces, State, Step
from memdt.models.parts.encoders import action_head, observation_encoder
from memdt.settings.schema import Frozen


class Settings(Frozen):
    """Sizes of the network."""

    name: str
    width: int = Field(gt=0)
    layers: int = Field(default=1, gt=0)


@dataclass(frozen=True)
class RecurrentMemory(Memory):
    """Hidden and cell state of every layer, batch first."""

    hidden: Float[Tensor, "batch layers width"]
    cell: Float[Tensor, "batch layers width"]


@dataclass
class RecurrentState(State):
    """The memory so far. The end of a segment changes nothing for an LSTM."""

    memory: RecurrentMemory

    def rows(self, rows: Bool[Tensor, " batch"]) -> RecurrentState:
        """Keep the episodes marked true."""
        return RecurrentState(self.memory.rows(rows))


class RecurrentPolicy(SequencePolicy):
    """Observation encoder, LSTM, action head."""

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(spaces)
        self.settings = settings
        self.encoder = observation_encoder(spaces.observation, settings.width)
        self.lstm = nn.LSTM(settings.width, settings.width, settings.layers, batch_first=True)
        self.head = action_head(spaces, settings.width)

    def initial_memory(self, batch: int) -> RecurrentMemory:
        """Return zeros."""
        shape = (batch, self.settings.layers, self.settings.width)
        zeros = torch.zeros(shape, device=self.lstm.weight_hh_l0.device)
        return RecurrentMemory(zeros, zeros)

    def forward(
        self, segment: Segment, memory: Memory
    ) -> tuple[Float[Tensor, "batch time outputs"], RecurrentMemory]:
        """Return the logits at every step, and the hidden state after the last one."""
        return self._run(self.encoder(segment.observations), memory)

    def _run(self, encoded: Tensor, memory: Memory) -> tuple[Tensor, RecurrentMemory]:
        assert isinstance(memory, RecurrentMemory)
        # nn.LSTM has layers first; a memory has the batch first, so that generic code selects rows.
        initial = (
            memory.hidden.transpose(0, 1).contiguous(),
            memory.cell.transpose(0, 1).contiguous(),
        )
        states, (hidden, cell) = self.lstm(encoded, initial)
        return self.head(states), RecurrentMemory(hidden.transpose(0, 1), cell.transpose(0, 1))

    def begin_segment(self, memory: Memory, context_steps: int) -> RecurrentState:
        """Wrap the memory: it is all of the state."""
        assert isinstance(memory, RecurrentMemory)
        return RecurrentState(memory)

    def step(
        self, step: Step, state: State
    ) -> tuple[Float[Tensor, "batch outputs"], RecurrentState]:
        """Take one step of the LSTM."""
        assert isinstance(state, RecurrentState)
        logits, memory = self._run(self.encoder(step.observation)[:, None], state.memory)
        return logits[:, 0], RecurrentState(memory)

    def end_segment(self, last_action: Tensor, state: State) -> RecurrentMemory:
        """Return the memory inside the state."""
        assert isinstance(state, RecurrentState)
        return state.memory


def build(settings: Settings, spaces: Spaces) -> RecurrentPolicy:
    """Build a behaviour-cloning LSTM."""
    return RecurrentPolicy(settings, spaces)
