"""Conservative Q-learning for discrete actions, over whole episodes with memory carried along.

Source: Kumar et al. 2020, equation 4 (CQL(H)), with the double estimator of van Hasselt et al. 2016
and a target network that follows slowly (Lillicrap et al. 2016):

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
    """How values are learnt."""

    discount: float = Field(default=0.99, ge=0, le=1, description="of rewards, per step")
    alpha: float = Field(
        default=1.0, ge=0, description="weight of the conservative loss; 0: plain Q-learning"
    )
    target_rate: float = Field(
        default=0.01, gt=0, le=1, description="of the way to the network, per update of the target"
    )


@dataclass
class ConservativeQ:
    """A policy over values, the slow copy of it that targets are taken from, and an optimiser."""

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
        """Every episode of the stage once an epoch, whole."""
        start = self.training.start
        batches = self.batches = Batches.of_stage(
            episodes, stage, self.segment_length, start, self.seed
        )
        sampler = TransitionSampler(batches)
        self.updates = stage.updates or sampler.updates(stage.epochs or 1)
        return sampler

    def update(self, number: int, batch: Transitions) -> dict[str, Tensor]:
        """One step of the optimiser, and one of the target behind it."""
        rate = set_learning_rate(self.optimiser, self.training, number, self.updates)
        temporal, conservative, taken = self.losses(batch)
        real = batch.mask
        steps = real.sum()
        sums = [torch.where(real, one, 0.0).sum() for one in (temporal, conservative, taken)]
        loss = (sums[0] + self.settings.alpha * sums[1]) / steps
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters: list[Tensor] = list(self.policy.parameters())
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.training.gradient_clip)
        self.optimiser.step()
        with torch.no_grad():
            followed: list[Tensor] = list(self.target.parameters())
            torch._foreach_lerp_(followed, parameters, self.settings.target_rate)
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
        """Of every step: the temporal difference's, the conservative one, and its action's value.

        Memory runs over the first observation and all that follow, so that each step's value and
        that of what comes next are from one pass.
        """
        seen = torch.cat([batch.observations[:, :1], batch.next_observations], dim=1)
        bfloat16 = self.training.precision == "bfloat16"
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=bfloat16):
            start = self.policy.initial_state(len(seen))
            values = self.policy(seen, start)[0].float()
            with torch.no_grad():
                estimated = self.target(seen, start)[0].float()
        now, best = values[:, :-1], values[:, 1:].argmax(-1, keepdim=True)
        taken = now.gather(-1, batch.actions[..., None])[..., 0]
        worth = estimated[:, 1:].gather(-1, best)[..., 0].masked_fill(batch.terminal, 0.0)
        goal = batch.rewards + self.settings.discount * worth
        temporal = functional.mse_loss(taken, goal, reduction="none") / 2
        return temporal, now.logsumexp(-1) - taken, taken

    def effort(self, updates: int) -> Effort:
        """Whole episodes, a step of the optimiser for each batch."""
        assert self.batches is not None
        seen = sum(self.batches.extent(number)[0] for number in range(updates))
        return Effort(updates, seen, self.batches.longest)

    def state(self) -> dict[str, Tensor]:
        """Weights of both networks, and the optimiser's averages."""
        parts = {
            "policy": self.policy.state_dict(),
            "target": self.target.state_dict(),
            "optimiser": self.optimiser.state(),
        }
        return {
            f"{name}.{key}": tensor for name, one in parts.items() for key, tensor in one.items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Fill them again."""
        self.policy.load_state_dict(part(state, "policy"))
        self.target.load_state_dict(part(state, "target"))
        self.optimiser.load_state(part(state, "optimiser"))


@dataclass(frozen=True)
class TransitionSampler:
    """The transitions that each update is trained on."""

    batches: Batches

    def __call__(self, number: int) -> Transitions:
        """Those of one update: whole episodes, padded to the longest."""
        _, first, last = self.batches.rows(number)
        return transitions(self.batches.tensors, first, last, int((last - first).max()))

    def updates(self, epochs: int) -> int:
        """Updates after which every episode has been seen ``epochs`` times."""
        return self.batches.updates(epochs)


def build(policy: Policy, context: StageContext) -> ConservativeQ:
    """Conservative Q-learning of a policy over values; each stage begins with a new target."""
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
