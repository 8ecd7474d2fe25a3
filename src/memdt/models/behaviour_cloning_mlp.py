"""Behaviour cloning with an MLP, which sees the current observation only and has no memory."""

from __future__ import annotations

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from memdt.data.segments import Segment
from memdt.models.interface import Memory, NoState, SequencePolicy, Spaces, State, Step
from memdt.models.parts.encoders import action_head, observation_encoder
from memdt.settings.schema import Frozen


class Settings(Frozen):
    """Sizes of the network."""

    name: str
    width: int = Field(gt=0)
    layers: int = Field(default=2, gt=0, description="hidden layers")


class Perceptron(SequencePolicy):
    """Observation encoder, hidden layers, action head."""

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(spaces)
        hidden = [
            module
            for _ in range(settings.layers)
            for module in (nn.Linear(settings.width, settings.width), nn.ReLU())
        ]
        self.network = nn.Sequential(
            observation_encoder(spaces.observation, settings.width),
            *hidden,
            action_head(spaces, settings.width),
        )

    @property
    def carries_gradient(self) -> bool:
        """Each step stands alone."""
        return False

    def initial_memory(self, batch: int) -> Memory:
        """Return an empty memory."""
        return Memory()

    def forward(
        self, segment: Segment, memory: Memory
    ) -> tuple[Float[Tensor, "batch time outputs"], Memory]:
        """Return the logits of each step, computed from its observation alone."""
        return self.network(segment.observations), memory

    def begin_segment(self, memory: Memory, context_steps: int) -> NoState:
        """Return the empty state."""
        return NoState()

    def step(self, step: Step, state: State) -> tuple[Float[Tensor, "batch outputs"], State]:
        """Return the logits for the current observation."""
        return self.network(step.observation), state


def build(settings: Settings, spaces: Spaces) -> Perceptron:
    """Build a behaviour-cloning MLP."""
    return Perceptron(settings, spaces)
