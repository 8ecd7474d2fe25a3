"""Conservative Q-learning for continuous actions: d3rlpy's CQL, driven by our batches and seeds.

Source: Kumar et al. 2020, equation 4 (CQL(H)) over soft actor-critic, with a fixed weight of the
conservative loss (no Lagrange multiplier), as they train on locomotion; d3rlpy (Seno & Imai 2022).
Deviation D112.
docs/decisions/0009 says how the library is held to the promises of a learner.

d3rlpy reads its figures at every update, so that on a GPU the host waits for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from memdt.data.batches import Batches
from memdt.data.segments import EpisodeTensors
from memdt.data.transitions import Transitions, transitions
from memdt.errors import UserError
from memdt.models.conservative_actor_critic import Actor, encoder_factory
from memdt.models.interface import Policy
from memdt.models.parts.d3rlpy_library import library
from memdt.settings import slices
from memdt.settings.schema import Frozen, TrainingSettings
from memdt.training.learner import Effort, StageContext, part
from memdt.training.schedules import set_learning_rate

MODULES = ("policy", "q_funcs", "targ_q_funcs", "log_temp", "log_alpha")
OPTIMISERS = ("actor_optim", "critic_optim", "temp_optim")
# Of the training settings, those that make no sense for single transitions.
UNKNOWN = {
    "memory_noise": 0.0, "idle_segments": 0, "write_cost": 0.0, "precision": "float32",
    "trainable": ("*",), "adapter": None,
}  # fmt: skip


class Settings(Frozen):
    """What CQL has beside ``training``, whose learning rate is that of the critics."""

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
class ConservativeActorCritic:
    """An actor, and d3rlpy's update of it."""

    policy: Actor
    implementation: Any  # d3rlpy's CQLImpl; its modules and optimisers are all that changes
    settings: Settings
    training: TrainingSettings
    seed: int
    updates: int = 1  # of the stage, which the learning rate's schedule spans
    batches: Batches | None = None  # of the stage

    columns = ("critic_loss", "actor_loss", "conservative_loss", "temperature", "learning_rate")

    def sampler(self, episodes: EpisodeTensors, stage: slices.Stage) -> SingleSteps:
        """Return batches of single steps, drawn uniformly from all steps."""
        sampler = SingleSteps.of_stage(episodes, stage, self.seed)
        self.batches = sampler.batches
        self.updates = stage.updates or sampler.updates(stage.epochs or 1)
        return sampler

    def update(self, number: int, batch: Transitions) -> dict[str, Tensor]:
        """One step of critics, actor and temperature, and of the slow critics behind them."""
        rates = dict.fromkeys(OPTIMISERS, self.settings.actor_rate) | {"critic_optim": 1.0}
        modules = self.implementation.modules
        for name, share in rates.items():
            training = self.training.model_copy(
                update={"learning_rate": share * self.training.learning_rate}
            )
            set_learning_rate(getattr(modules, name).optim, training, number, self.updates)
        figures = self.implementation.update(_as_d3rlpy(batch), number)
        rate = modules.critic_optim.optim.param_groups[0]["lr"]
        named = {
            "critic_loss": figures["critic_loss"],
            "actor_loss": figures["actor_loss"],
            "conservative_loss": figures["conservative_loss"],
            "temperature": figures["temp"],
            "learning_rate": rate,
        }
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in named.items()}

    def effort(self, updates: int) -> Effort:
        """Return what the updates cost; a step of the critics' optimiser each."""
        assert self.batches is not None
        seen = sum(self.batches.extent(number)[0] for number in range(updates))
        return Effort(updates, seen, 1)

    def state(self) -> dict[str, Tensor]:
        """Return the weights of all networks, and the optimisers' averages."""
        modules = self.implementation.modules
        parts = {name: getattr(modules, name).state_dict() for name in MODULES}
        parts |= {name: dict(_moments(getattr(modules, name).optim)) for name in OPTIMISERS}
        return {
            f"{name}.{key}": tensor for name, one in parts.items() for key, tensor in one.items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        modules = self.implementation.modules
        for name in MODULES:
            getattr(modules, name).load_state_dict(part(state, name))
        for name in OPTIMISERS:
            for key, tensor in _moments(getattr(modules, name).optim):
                tensor.copy_(state[f"{name}.{key}"])


@dataclass(frozen=True)
class SingleSteps:
    """The single steps that each update is trained on."""

    batches: Batches

    @classmethod
    def of_stage(cls, episodes: EpisodeTensors, stage: slices.Stage, seed: int) -> SingleSteps:
        """Steps of all episodes alike: episodes by their length, in each a step at random."""
        one = replace(stage, segments=1, horizon=None)
        return cls(Batches.of_stage(episodes, one, 1, "random", seed, draw="by_length"))

    def __call__(self, number: int) -> Transitions:
        """Return the transitions of one update, batch x 1."""
        _, first, last = self.batches.rows(number)
        return transitions(self.batches.tensors, first, last, 1)

    def updates(self, epochs: int) -> int:
        """Updates in which as many steps are drawn as there are episodes, ``epochs`` times."""
        return self.batches.updates(epochs)


def build(policy: Policy, context: StageContext) -> ConservativeActorCritic:
    """Build CQL for an actor; each stage begins with new critics.

    Raises UserError for any other policy, and for training settings that d3rlpy does not have.
    """
    training, name = context.settings.training, context.settings.model["name"]
    if not isinstance(policy, Actor):
        remedy = "name another learner in its constant LEARNER"
        raise UserError("conservative_actor_critic needs an actor", f"model {name}", remedy)
    for key, usual in UNKNOWN.items():
        if getattr(training, key) != usual:
            remedy = "leave it out: d3rlpy trains all weights, on single steps, in float32"
            raise UserError(f"{name} cannot do this", f"training.{key}", remedy)
    settings = Settings(**context.settings.learner)
    implementation = _implementation(policy, settings, training, context.device)
    # d3rlpy trains a network of its own; the policy has to act with that one.
    policy.network = implementation.modules.policy
    return ConservativeActorCritic(policy.train(), implementation, settings, training, context.seed)


def _implementation(
    policy: Actor, settings: Settings, training: TrainingSettings, device: torch.device
) -> Any:
    """d3rlpy's CQL with the actor's weights, its optimisers' averages made beforehand."""
    adamw = library("d3rlpy.optimizers").AdamWFactory(
        clip_grad_norm=training.gradient_clip,
        betas=(training.beta_1, training.beta_2),
        weight_decay=training.weight_decay,
    )
    plain = library("d3rlpy.optimizers").AdamFactory(betas=(training.beta_1, training.beta_2))
    encoder = encoder_factory(policy.settings)
    algorithm = (
        library("d3rlpy.algos")
        .CQLConfig(
            actor_encoder_factory=encoder,
            critic_encoder_factory=encoder,
            actor_optim_factory=adamw,
            critic_optim_factory=adamw,
            temp_optim_factory=plain,
            alpha_learning_rate=0.0,  # no Lagrange multiplier: alpha stays
            conservative_weight=settings.alpha,
            n_action_samples=settings.sampled_actions,
            gamma=settings.discount,
            tau=settings.target_rate,
        )
        .create(
            device=str(device) if device.type == "cpu" else f"{device.type}:{device.index or 0}"
        )
    )
    spaces = policy.spaces
    algorithm.create_impl(spaces.observation.shape, spaces.action_outputs)
    modules = algorithm.impl.modules
    modules.policy.load_state_dict(policy.network.state_dict())
    for name in OPTIMISERS:
        _start_moments(getattr(modules, name).optim)
    return algorithm.impl


def _start_moments(optimiser: torch.optim.Optimizer) -> None:
    """What Adam would make at its first step, so that a state has the same tensors before it."""
    for parameter in _parameters(optimiser):
        optimiser.state[parameter] = {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }


def _moments(optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for index, parameter in enumerate(_parameters(optimiser)):
        for key, tensor in optimiser.state[parameter].items():
            yield f"{index}.{key}", tensor


def _parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _as_d3rlpy(batch: Transitions) -> Any:
    """Single transitions as d3rlpy wants them: no dimension of time, numbers as columns."""
    rewards, terminal = batch.rewards, batch.terminal.float()
    return library("d3rlpy.torch_utility").TorchMiniBatch(
        observations=batch.observations[:, 0],
        actions=batch.actions[:, 0],
        rewards=rewards,
        next_observations=batch.next_observations[:, 0],
        next_actions=torch.zeros_like(batch.actions[:, 0]),  # of other algorithms
        returns_to_go=torch.zeros_like(rewards),
        terminals=terminal,
        intervals=torch.ones_like(rewards),
        device=str(rewards.device),
    )
