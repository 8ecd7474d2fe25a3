"""The actor of conservative Q-learning for continuous actions: tanh of a normal distribution.

Source: Kumar et al. 2020, for continuous actions over soft actor-critic (Haarnoja et al. 2018). The
network is d3rlpy's; critics belong to the learner, and no evaluation needs them.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from memdt.data.segments import Segment
from memdt.errors import UserError
from memdt.models.interface import Choice, NoState, Policy, Segmentation, Spaces, State, Step
from memdt.models.parts.d3rlpy_library import library
from memdt.settings.schema import Frozen

LEARNER = "conservative_actor_critic"
# For the forecast of hours: two critics of three times ten actions, and what is left of an update.
PASSES_OF_A_ROW = 70


class Settings(Frozen):
    """Sizes of the actor; the critics have the same."""

    name: str
    width: int = Field(gt=0)
    layers: int = Field(default=3, gt=0, description="hidden layers")


class Actor(Policy):
    """A distribution of actions for each observation, without memory."""

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        """UserError where observations are no vectors or actions no vectors in [-1, 1]."""
        super().__init__(spaces)
        if spaces.discrete or len(spaces.observation.shape or ()) != 1:
            remedy = "choose conservative_double_q for discrete actions"
            raise UserError("this model needs vectors to see and to do", "model.name", remedy)
        self.settings = settings
        self.network = library("d3rlpy.models.builders").create_normal_policy(
            observation_shape=spaces.observation.shape,
            action_size=spaces.action_outputs,
            encoder_factory=encoder_factory(settings),
            device=str(torch.empty(0).device),  # d3rlpy moves what torch has put elsewhere
            enable_ddp=False,
        )

    def begin(
        self,
        rows: int,
        demonstration: Segment | None = None,
        segmentation: Segmentation | None = None,
    ) -> NoState:
        """Nothing to remember."""
        return NoState()

    def act(self, step: Step, state: State, choice: Choice) -> tuple[Tensor, State]:
        """The middle of the distribution; a draw from it."""
        outputs = self.network(step.observation)
        if choice.greedy:
            # tanh of the mean, as in SAC; the mode of the squashed density lies elsewhere.
            return outputs.squashed_mu, state
        mean = outputs.mu
        noise = torch.randn(mean.shape, generator=choice.generator, device=mean.device)
        return torch.tanh(mean + outputs.logstd.exp() * noise), state


def encoder_factory(settings: Settings) -> object:
    """How d3rlpy builds the hidden layers of an actor or a critic."""
    encoders = library("d3rlpy.models.encoders")
    return encoders.VectorEncoderFactory(hidden_units=[settings.width] * settings.layers)


def build(settings: Settings, spaces: Spaces) -> Actor:
    """An actor."""
    return Actor(settings, spaces)
