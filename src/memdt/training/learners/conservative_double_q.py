"""Conservative Q-learning for discrete actions, without memory: d3rlpy's DiscreteCQL.

Source: Kumar et al. 2020, equation 4 (CQL(H)), over double Q-learning with quantiles (QR-DQN,
Dabney et al. 2018), as they train on Atari. Deviation D126.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from memdt.data.transitions import Transitions
from memdt.errors import UserError
from memdt.models.conservative_double_q import (
    DoubleQNetwork,
    as_network_input,
    encoder_factory,
    q_function_factory,
)
from memdt.models.interface import Policy
from memdt.models.parts.d3rlpy_library import library
from memdt.settings.schema import Frozen, TrainingSettings
from memdt.training.d3rlpy_learner import LibraryLearner, adamw_factory, create, minibatch
from memdt.training.learner import StageContext

# d3rlpy trains all weights, on single steps, in float32.
REFUSES = (
    "memory_noise",
    "idle_segments",
    "write_cost",
    "gradient_through_memory",
    "precision",
    "trainable",
    "adapter",
)


class Settings(Frozen):
    """Constants of the loss and of the target network."""

    discount: float = Field(default=0.99, ge=0, le=1, description="of rewards, per step")
    alpha: float = Field(default=1.0, ge=0, description="weight of the conservative loss")
    target_interval: int = Field(
        default=8000, gt=0, description="updates after which the target network is set anew"
    )
    reward_clip: float = Field(
        default=1.0,
        gt=0,
        description="larger rewards count as this one, smaller ones as its negative",
    )


@dataclass
class ConservativeDoubleQ(LibraryLearner):
    """Trains a network of values against a copy of it that is set anew from time to time."""

    reward_clip: float = 1.0

    networks: ClassVar = ("q_funcs", "targ_q_funcs")
    columns: ClassVar = ("td_loss", "conservative_loss", "learning_rate")

    def update(self, number: int, batch: Transitions) -> dict[str, Tensor]:
        """Take one step of the optimiser."""
        clipped = batch.rewards.clamp(-self.reward_clip, self.reward_clip)
        prepared = minibatch(
            replace(batch, rewards=clipped),
            as_network_input(batch.observations[:, 0]),
            as_network_input(batch.next_observations[:, 0]),
            batch.actions,
        )
        return self.train_on(number, prepared)


def build(policy: Policy, context: StageContext) -> ConservativeDoubleQ:
    """Build discrete CQL of a network of values. UserError for any other policy."""
    training, name = context.settings.training, context.settings.model["name"]
    if not isinstance(policy, DoubleQNetwork):
        remedy = "name another learner in its constant LEARNER"
        raise UserError("conservative_double_q needs its own network", f"model {name}", remedy)
    settings = Settings(**context.settings.learner)
    config = _config(policy, settings, training)
    implementation = create(config, policy, context.device, ("optim",))
    modules = implementation.modules
    for network in (modules.q_funcs, modules.targ_q_funcs):
        network.load_state_dict(policy.networks.state_dict())
    # d3rlpy trains networks of its own; the policy has to act with those.
    policy.networks = modules.q_funcs
    return ConservativeDoubleQ(
        policy.train(), implementation, training, context.seed, {"optim": 1.0},
        reward_clip=settings.reward_clip,
    )  # fmt: skip


def _config(policy: DoubleQNetwork, settings: Settings, training: TrainingSettings) -> Any:
    return library("d3rlpy.algos").DiscreteCQLConfig(
        encoder_factory=encoder_factory(policy.settings, policy.spaces),
        q_func_factory=q_function_factory(policy.settings),
        optim_factory=adamw_factory(training),
        target_update_interval=settings.target_interval,
        gamma=settings.discount,
        alpha=settings.alpha,
    )
