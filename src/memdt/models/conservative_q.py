"""A Q-network with or without memory: the value of every action, from an LSTM over observations.

Source: conservative Q-learning, Kumar et al. 2020, for discrete actions; recurrent as in DRQN
(Hausknecht & Stone 2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from pydantic import Field
from torch import Tensor, nn

from memdt.models.interface import Spaces, State
from memdt.models.parts.encoders import observation_encoder
from memdt.models.parts.values import ValuePolicy
from memdt.settings.schema import Frozen

LEARNER = "conservative_q"


class Settings(Frozen):
    """Sizes of the network."""

    name: str
    width: int = Field(gt=0)
    layers: int = Field(default=1, ge=0, description="layers of the LSTM; 0: no LSTM, no memory")


@dataclass(frozen=True)
class HiddenState(State):
    """Hidden and cell state of every layer."""

    hidden: Float[Tensor, "layers batch width"]
    cell: Float[Tensor, "layers batch width"]

    def rows(self, rows: Bool[Tensor, " batch"]) -> HiddenState:
        """Keep the episodes marked true."""
        return HiddenState(self.hidden[:, rows], self.cell[:, rows])


class QNetwork(ValuePolicy):
    """Observation encoder, LSTM, hidden layer, and an output for the value of each action."""

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(spaces)
        width = settings.width
        self.settings = settings
        self.encoder = observation_encoder(spaces.observation, width)
        layers = settings.layers
        self.lstm = nn.LSTM(width, width, layers, batch_first=True) if layers else None
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, spaces.action_outputs)

    def initial_state(self, rows: int) -> HiddenState:
        """Return zeros."""
        shape = (self.settings.layers, rows, self.settings.width)
        zeros = torch.zeros(shape, device=self.head.weight.device)
        return HiddenState(zeros, zeros)

    def forward(
        self, observations: Shaped[Tensor, "batch time ..."], state: State
    ) -> tuple[Float[Tensor, "batch time actions"], HiddenState]:
        """Return the value of every action at every step, and the state after the last one."""
        assert isinstance(state, HiddenState)
        encoded = self.encoder(observations)
        if self.lstm is not None:
            encoded, (hidden, cell) = self.lstm(encoded, (state.hidden, state.cell))
            state = HiddenState(hidden, cell)
        return self.head(self.hidden(encoded)), state


def build(settings: Settings, spaces: Spaces) -> QNetwork:
    """Build a Q-network."""
    return QNetwork(settings, spaces)
