"""Conservative Q-learning for discrete actions, over whole episodes with memory.

Source: Kumar et al. 2020, equation 4 (CQL(H)), with the double estimator of van Hasselt et al. 2016
and the soft target updates of Lillicrap et al. 2016:

    target    r + discount * Q_target(o', argmax_a Q(o', a)), or r where o' is terminal
    loss      (Q(o, a) - target)^2 / 2  +  alpha * (logsumexp_a Q(o, a) - Q(o, a))
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from memdt.data.batches import Batches
from memdt.data.segments import EpisodeTensors
from memdt.data.transitions import Transitions, transitions
from memdt.errors import UserError
from memdt.models.interface import Policy
from memdt.models.parts.values import ValuePolicy
from memdt.settings import slices
from memdt.settings.schema import Frozen, TrainingSettings
from memdt.training.curve import mean
from memdt.training.learner import Effort, StageContext, part
from memdt.training.optimiser import AdamW, adamw_of
from memdt.training.schedules import set_learning_rate

# Training settings that make no sense without segments; refused where settings are checked.
REFUSES = ("memory_noise", "idle_segments", "write_cost", "gradient_through_memory")


class Settings(Frozen):
    """Constants of the loss and of the target network."""

    discount: float = Field(default=0.99, ge=0, le=1, description="of rewards, per step")
    alpha: float = Field(
        default=1.0, ge=0, description="weight of the conservative loss; 0: plain Q-learning"
    )
    target_rate: float = Field(
        default=0.01, gt=0, le=1, description="of the way to the network, per update of the target"
    )


@dataclass
class ConservativeQ:
    """Trains a policy over values against a target network, its slowly updated copy."""

    policy: ValuePolicy
    target: ValuePolicy
    settings: Settings
    training: TrainingSettings
    optimiser: AdamW
    segment_length: int
    seed: int = 0
    updates: int = 1  # of the stage, which the learning rate's schedule spans
    batches: Batches | None = None  # of the stage

    columns = ("td_loss", "conservative_loss", "mean_q", "learning_rate", "gradient_norm")

    def sampler(self, episodes: EpisodeTensors, stage: slices.Stage) -> TransitionSampler:
        """Return batches that go through every whole episode of the stage once an epoch."""
        start = self.training.start
        batches = self.batches = Batches.of_stage(
            episodes, stage, self.segment_length, start, self.seed
        )
        sampler = TransitionSampler(batches)
        self.updates = stage.updates or sampler.updates(stage.epochs or 1)
        return sampler

    def update(self, number: int, batch: Transitions) -> dict[str, Tensor]:
        """Take one step of the optimiser, then move the target network towards the policy.

        Returns the figures of ``columns``.
        """
        rate = set_learning_rate(self.optimiser, self.training, number, self.updates)
        real = batch.mask
        steps = real.sum()
        sums = [torch.where(real, values, 0.0).sum() for values in self.losses(batch)]
        loss = (sums[0] + self.settings.alpha * sums[1]) / steps
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters: list[Tensor] = list(self.policy.parameters())
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.training.gradient_clip)
        self.optimiser.step()
        with torch.no_grad():
            # One call for all parameters; a loop would start a kernel for each.
            targets: list[Tensor] = list(self.target.parameters())
            torch._foreach_lerp_(targets, parameters, self.settings.target_rate)
        figures = zip(self.columns[:3], sums, strict=True)
        return {
            **{name: mean(total, steps) for name, total in figures},
            "learning_rate": rate,
            "gradient_norm": norm,
        }

    def losses(
        self, batch: Transitions
    ) -> tuple[
        Float[Tensor, "batch time"], Float[Tensor, "batch time"], Float[Tensor, "batch time"]
    ]:
        """Return each step's temporal-difference loss, conservative loss, and value of its action.

        One pass over the first observation and all next observations gives the values of each step
        and of the step after it.
        """
        observations = torch.cat([batch.observations[:, :1], batch.next_observations], dim=1)
        bfloat16 = self.training.precision == "bfloat16"
        with torch.autocast(observations.device.type, torch.bfloat16, enabled=bfloat16):
            start = self.policy.initial_state(len(observations))
            values = self.policy(observations, start)[0].float()
            with torch.no_grad():
                target_values = self.target(observations, start)[0].float()
        current, best = values[:, :-1], values[:, 1:].argmax(-1, keepdim=True)
        q_values = current.gather(-1, batch.actions[..., None])[..., 0]
        # Double estimator: the policy chooses the next action, the target network values it.
        next_values = target_values[:, 1:].gather(-1, best)[..., 0]
        next_values = next_values.masked_fill(batch.terminal, 0.0)
        targets = batch.rewards + self.settings.discount * next_values
        temporal = functional.mse_loss(q_values, targets, reduction="none") / 2
        return temporal, current.logsumexp(-1) - q_values, q_values

    def effort(self, updates: int) -> Effort:
        """Whole episodes, a step of the optimiser for each batch."""
        assert self.batches is not None
        seen = sum(self.batches.extent(number)[0] for number in range(updates))
        return Effort(updates, seen, self.batches.longest)

    def state(self) -> dict[str, Tensor]:
        """Return the weights of both networks, and the optimiser's averages."""
        parts = {
            "policy": self.policy.state_dict(),
            "target": self.target.state_dict(),
            "optimiser": self.optimiser.state(),
        }
        return {
            f"{name}.{key}": tensor
            for name, tensors in parts.items()
            for key, tensor in tensors.items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        self.policy.load_state_dict(part(state, "policy"))
        self.target.load_state_dict(part(state, "target"))
        self.optimiser.load_state(part(state, "optimiser"))


@dataclass(frozen=True)
class TransitionSampler:
    """The transitions of each update."""

    batches: Batches

    def __call__(self, number: int) -> Transitions:
        """Return the transitions of one update: whole episodes, padded to the longest."""
        _, first, last = self.batches.rows(number)
        return transitions(self.batches.tensors, first, last, int((last - first).max()))

    def updates(self, epochs: int) -> int:
        """Return the number of updates that go through every episode ``epochs`` times."""
        return self.batches.updates(epochs)


def build(policy: Policy, context: StageContext) -> ConservativeQ:
    """Build conservative Q-learning for a policy over values, with a new target network.

    Raises UserError for any other policy, and for training settings that need segments.
    """
    settings, training = context.settings, context.settings.training
    if not isinstance(policy, ValuePolicy):
        remedy = "name another learner in its constant LEARNER"
        what = "conservative_q needs a policy over values"
        raise UserError(what, f"model {settings.model['name']}", remedy)
    optimiser = adamw_of(policy, training)
    assert optimiser is not None
    return ConservativeQ(
        policy.train(),
        copy.deepcopy(policy).requires_grad_(False),
        Settings(**settings.learner),
        training,
        optimiser,
        settings.segment_length,
        context.seed,
    )
