"""Conservative Q-learning for continuous actions: d3rlpy's CQL, driven by our batches and seeds.

Source: Kumar et al. 2020, equation 4 (CQL(H)) over soft actor-critic, with a fixed weight of the
conservative loss (no Lagrange multiplier), as they train on locomotion. Deviation D112.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from memdt.data.transitions import Transitions
from memdt.errors import UserError
from memdt.models.conservative_actor_critic import Actor, encoder_factory
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
OPTIMISERS = ("actor_optim", "critic_optim", "temp_optim")


class Settings(Frozen):
    """Constants of CQL beside ``training``, whose learning rate is that of the critics."""

    discount: float = Field(default=0.99, ge=0, le=1, description="of rewards, per step")
    alpha: float = Field(default=5.0, ge=0, description="weight of the conservative loss")
    sampled_actions: int = Field(
        default=10, gt=0, description="actions of each of three kinds that logsumexp is taken over"
    )
    target_rate: float = Field(
        default=0.005, gt=0, le=1, description="of the way to the critics, per update"
    )
    actor_rate: float = Field(
        default=1 / 3, gt=0, description="learning rate of actor and temperature over the critics'"
    )


@dataclass
class ConservativeActorCritic(LibraryLearner):
    """Trains an actor and its critics."""

    networks: ClassVar = ("policy", "q_funcs", "targ_q_funcs", "log_temp", "log_alpha")
    columns: ClassVar = (
        "critic_loss", "actor_loss", "conservative_loss", "temperature", "learning_rate",
    )  # fmt: skip
    names: ClassVar = {"temperature": "temp"}

    def update(self, number: int, batch: Transitions) -> dict[str, Tensor]:
        """Train critics, actor and temperature, and move the target networks after the critics."""
        prepared = minibatch(
            batch, batch.observations[:, 0], batch.next_observations[:, 0], batch.actions[:, 0]
        )
        return self.train_on(number, prepared)


def build(policy: Policy, context: StageContext) -> ConservativeActorCritic:
    """Build CQL of an actor, with new critics in each stage. UserError for any other policy."""
    training, name = context.settings.training, context.settings.model["name"]
    if not isinstance(policy, Actor):
        remedy = "name another learner in its constant LEARNER"
        raise UserError("conservative_actor_critic needs an actor", f"model {name}", remedy)
    settings = Settings(**context.settings.learner)
    implementation = create(_config(policy, settings, training), policy, context.device, OPTIMISERS)
    implementation.modules.policy.load_state_dict(policy.network.state_dict())
    # d3rlpy trains a network of its own; the policy has to act with that one.
    policy.network = implementation.modules.policy
    rates = dict.fromkeys(OPTIMISERS, settings.actor_rate) | {"critic_optim": 1.0}
    return ConservativeActorCritic(policy.train(), implementation, training, context.seed, rates)


def _config(policy: Actor, settings: Settings, training: TrainingSettings) -> Any:
    adamw, encoder = adamw_factory(training), encoder_factory(policy.settings)
    return library("d3rlpy.algos").CQLConfig(
        actor_encoder_factory=encoder,
        critic_encoder_factory=encoder,
        actor_optim_factory=adamw,
        critic_optim_factory=adamw,
        temp_optim_factory=library("d3rlpy.optimizers").AdamFactory(
            betas=(training.beta_1, training.beta_2)
        ),
        alpha_learning_rate=0.0,  # no Lagrange multiplier: alpha stays
        conservative_weight=settings.alpha,
        n_action_samples=settings.sampled_actions,
        gamma=settings.discount,
        tau=settings.target_rate,
    )
