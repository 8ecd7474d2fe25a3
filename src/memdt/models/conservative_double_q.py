"""A network of the values of discrete actions, without memory: d3rlpy's, for discrete CQL.

Source: Kumar et al. 2020 on Atari: the convolutions of Mnih et al. 2015 and the quantiles of QR-DQN
(Dabney et al. 2018). The network with memory is ``conservative_q``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from pydantic import Field
from torch import Tensor

from memdt.models.interface import NoState, Spaces, State
from memdt.models.parts import convolutions
from memdt.models.parts.d3rlpy_library import library
from memdt.models.parts.frames import standardised
from memdt.models.parts.values import ValuePolicy
from memdt.settings.schema import Frozen

LEARNER = "conservative_double_q"
# For the forecast of hours: the observation twice with its gradient, the next one by two networks.
PASSES_OF_A_ROW = 4
HIDDEN = 4  # at a width of 128 this is the network of Mnih et al. 2015: 32, 64, 64 channels and 512


class Settings(Frozen):
    """Sizes of the network."""

    name: str
    width: int = Field(
        gt=0, description="of frame encoders; the hidden layer has four times as many"
    )
    quantiles: int = Field(default=200, ge=0, description="of the value of an action; 0: its mean")


class DoubleQNetwork(ValuePolicy):
    """Convolutions for frames, a hidden layer, and the values of all actions."""

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        """Raises UserError if actions are not discrete, or frames are too small."""
        super().__init__(spaces)
        self.settings = settings
        shape = spaces.observation.shape or ()
        if len(shape) == 3:  # height x width x channels; d3rlpy has channels first
            convolutions.check(shape)
            shape = (shape[2], *shape[:2])
        self.networks, _ = library("d3rlpy.models.builders").create_discrete_q_function(
            shape,
            spaces.action_outputs,
            encoder_factory(settings, spaces),
            q_function_factory(settings),
            device=str(torch.empty(0).device),  # d3rlpy moves what torch has put elsewhere
            enable_ddp=False,
        )

    def initial_state(self, rows: int) -> NoState:
        """Nothing to remember."""
        return NoState()

    def forward(
        self, observations: Shaped[Tensor, "batch time ..."], state: State
    ) -> tuple[Float[Tensor, "batch time actions"], State]:
        """Return the value of every action at every step, each from its observation alone."""
        values = self.networks[0](as_network_input(observations.flatten(0, 1))).q_value
        return values.unflatten(0, observations.shape[:2]), state


def as_network_input(
    observations: Shaped[Tensor, "batch ..."],
) -> Float[Tensor, "batch ..."]:
    """Frames with channels first, standardised (Deviation D39); vectors as they are."""
    if observations.dim() == 4:
        return standardised(observations).permute(0, 3, 1, 2)
    return observations.float()


def encoder_factory(settings: Settings, spaces: Spaces) -> object:
    """How d3rlpy builds the layers before the values."""
    encoders = library("d3rlpy.models.encoders")
    if len(spaces.observation.shape or ()) != 3:
        return encoders.VectorEncoderFactory(hidden_units=[HIDDEN * settings.width])
    layers = zip(convolutions.channels(settings.width), convolutions.LAYERS, strict=True)
    filters = [[channels, kernel, stride] for channels, (kernel, stride, _) in layers]
    return encoders.PixelEncoderFactory(filters=filters, feature_size=HIDDEN * settings.width)


def q_function_factory(settings: Settings) -> object:
    """How d3rlpy builds the values of actions: a mean, or quantiles of the return."""
    factories = library("d3rlpy.models.q_functions")
    if settings.quantiles == 0:
        return factories.MeanQFunctionFactory()
    return factories.QRQFunctionFactory(n_quantiles=settings.quantiles)


def build(settings: Settings, spaces: Spaces) -> DoubleQNetwork:
    """Build a network of values."""
    return DoubleQNetwork(settings, spaces)
