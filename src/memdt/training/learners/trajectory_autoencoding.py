"""Training of TAP: an autoencoder of trajectories, then a prior over its codes.

What ``training.trainable`` leaves open is trained: ``autoencoder.*`` in a first run, ``prior.*`` in
one that starts from it; both at once where nothing is named. Deviation D113. Source: Jiang et al.
2023, their public code for the loss:

    mean of (decoded - step)^2, actions five times   while the episode goes on
    + cross entropy of "has ended"  + distance of points from their codes
    cross entropy of each code, given the state and the codes before
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float
from pydantic import Field
from scipy.signal import lfilter
from torch import Tensor

from memdt.data.batches import Batches
from memdt.data.segments import EpisodeTensors
from memdt.errors import UserError
from memdt.models.interface import Policy
from memdt.models.trajectory_autoencoding_planner import TrajectoryAutoencodingPlanner
from memdt.settings import slices
from memdt.settings.schema import Frozen, TrainingSettings
from memdt.training.learner import Effort, StageContext, part
from memdt.training.optimiser import AdamW, adamw_of
from memdt.training.schedules import set_learning_rate

# Training settings that make no sense without segments and their memory, and other precisions.
REFUSES = ("memory_noise", "idle_segments", "write_cost", "gradient_through_memory", "precision")


class Settings(Frozen):
    """What is learnt of a trajectory."""

    action_weight: float = Field(default=5.0, gt=0, description="of errors of actions; others: 1")
    final_reward: float = Field(
        default=-100.0, description="in place of the last reward of an episode that ends by itself"
    )


@dataclass(frozen=True)
class Windows:
    """Stretches of trajectories: state, action, reward, value and ``ended``, all standardised."""

    steps: Float[Tensor, "batch time size"]
    real: Bool[Tensor, "batch time"]  # the episode goes on
    known: Bool[Tensor, "batch time"]  # it goes on, or has ended by itself


@dataclass
class TrajectoryAutoencoding:
    """A planner whose autoencoder, prior or both are trained."""

    policy: TrajectoryAutoencodingPlanner
    settings: Settings
    training: TrainingSettings
    optimiser: AdamW
    seed: int
    autoencoder: bool  # is trained
    prior: bool  # is trained
    updates: int = 1  # of the stage, which the learning rate's schedule spans
    batches: Batches | None = None  # of the stage

    columns = ("reconstruction_loss", "prior_loss", "code_distance", "codes_used", "gradient_norm")

    def sampler(self, episodes: EpisodeTensors, stage: slices.Stage) -> WindowSampler:
        """Windows that begin at every step alike; a first run takes the dataset's statistics."""
        values = _values(episodes, self.policy.settings.discount, self.settings.final_reward)
        if self.autoencoder:
            _take_statistics(self.policy, episodes, values)
        one = replace(stage, segments=1, horizon=None)
        batches = self.batches = Batches.of_stage(
            episodes, one, 1, "random", self.seed, draw="by_length"
        )
        sampler = WindowSampler(batches, self.policy, values, self.settings.final_reward)
        self.updates = stage.updates or sampler.updates(stage.epochs or 1)
        return sampler

    def update(self, number: int, batch: Windows) -> dict[str, Tensor]:
        """One step of the optimiser; the codes follow in the forward pass."""
        set_learning_rate(self.optimiser, self.training, number, self.updates)
        with torch.set_grad_enabled(self.autoencoder):
            decoded, codes, distance = self.policy.autoencoder(batch.steps)
        zero = batch.steps.new_zeros(())
        reconstruction = self._reconstruction_loss(decoded, batch)
        prior = self._prior_loss(batch, codes) if self.prior else zero
        loss = (reconstruction + distance if self.autoencoder else zero) + prior
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for p in self.policy.parameters() if p.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.training.gradient_clip)
        self.optimiser.step()
        used = codes.new_zeros(self.policy.settings.codes).index_fill_(0, codes.flatten(), 1).sum()
        figures = (reconstruction, prior, distance, used.double(), norm)
        return dict(zip(self.columns, (one.detach() for one in figures), strict=True))

    def _reconstruction_loss(
        self, decoded: Float[Tensor, "batch time size"], batch: Windows
    ) -> Float[Tensor, ""]:
        states, actions = self.policy.autoencoder.state_width, self.policy.actions
        weights = decoded.new_ones(decoded.shape[-1] - 1)
        weights[states : states + actions] = self.settings.action_weight
        errors = (decoded[..., :-1] - batch.steps[..., :-1]).square() * weights
        ended = functional.binary_cross_entropy_with_logits(
            decoded[..., -1], batch.steps[..., -1], reduction="none"
        )
        return (errors * batch.real[..., None]).mean() + (ended * batch.known).mean()

    def _prior_loss(self, batch: Windows, codes: Tensor) -> Float[Tensor, ""]:
        before = functional.pad(codes[:, :-1], (1, 0))
        logits, _ = self.policy.prior(
            batch.steps[:, 0, : self.policy.autoencoder.state_width], before
        )
        return functional.cross_entropy(logits.flatten(0, 1), codes.flatten())

    def effort(self, updates: int) -> Effort:
        """Return what the updates cost; each window stands alone."""
        assert self.batches is not None
        ends, window, seen = self.batches.tensors.offsets, self.policy.settings.window, 0
        for number in range(updates):
            episodes, first, _ = self.batches.rows(number)
            seen += int((ends[episodes + 1] - first).clip(max=window).sum())
        return Effort(updates, seen, 1)

    def state(self) -> dict[str, Tensor]:
        """Return weights, codes and statistics, and the optimiser's averages."""
        parts = {"policy": self.policy.state_dict(), "optimiser": self.optimiser.state()}
        return {
            f"{name}.{key}": tensor for name, one in parts.items() for key, tensor in one.items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        self.policy.load_state_dict(part(state, "policy"))
        self.optimiser.load_state(part(state, "optimiser"))


@dataclass(frozen=True)
class WindowSampler:
    """The windows that each update is trained on."""

    batches: Batches
    policy: TrajectoryAutoencodingPlanner
    values: Float[Tensor, " steps"]
    final_reward: float

    def __call__(self, number: int) -> Windows:
        """Return the windows of one update; beyond its episode, one holds zeros, standardised."""
        tensors, policy = self.batches.tensors, self.policy
        episodes, first, _ = self.batches.rows(number)
        ends, window = tensors.offsets[episodes + 1], policy.settings.window
        cut = tensors.window(first, ends, window)
        device, real = cut.actions.device, cut.mask
        steps = torch.as_tensor(first, device=device)[:, None] + torch.arange(window, device=device)
        last = torch.as_tensor(ends, device=device)[:, None] - 1
        index, terminal = torch.minimum(steps, last), tensors.terminated[episodes][:, None]
        ended = terminal & (steps >= last)
        rewards = torch.where(ended, self.final_reward, tensors.rewards[index])
        numbers = [cut.actions, rewards[..., None], self.values[index][..., None]]
        others = torch.cat(numbers, dim=-1).where(real[..., None], 0.0)
        others = (others - policy.mean) / policy.deviation
        nothing = torch.zeros_like(cut.observations[0, 0])
        nothing = nothing if policy.inputs is None else policy.inputs.observations(nothing)
        observations = torch.where(real[..., None], cut.observations, nothing)
        beyond = (ended | ~real).float()[..., None]
        return Windows(torch.cat([observations, others, beyond], dim=-1), real, real | terminal)

    def updates(self, epochs: int) -> int:
        """Updates in which as many windows are drawn as there are episodes, ``epochs`` times."""
        return self.batches.updates(epochs)


def _values(
    episodes: EpisodeTensors, discount: float, final_reward: float
) -> Float[Tensor, " steps"]:
    """What is earned after each step to the end of its episode, discounted from the next one on."""
    rewards = episodes.rewards.double().cpu().numpy().copy()
    last = episodes.offsets[1:][episodes.terminated.cpu().numpy()] - 1
    rewards[last] = final_reward
    # Over reversed rewards, a filter of first order gives discounted sums without a slow loop.
    parts = [
        np.append(lfilter([1.0], [1.0, -discount], one[::-1])[::-1][1:], 0.0)
        for one in np.split(rewards, episodes.offsets[1:-1])
    ]
    return torch.from_numpy(np.concatenate(parts).astype(np.float32)).to(episodes.rewards.device)


def _take_statistics(
    policy: TrajectoryAutoencodingPlanner, episodes: EpisodeTensors, values: Tensor
) -> None:
    """Of actions, rewards as they were earned, and values; a number that never changes stays."""
    others = [episodes.rewards[:, None], values[:, None]]
    numbers = torch.cat([episodes.actions, *others], dim=-1).double()
    deviation = numbers.std(0, correction=0)
    policy.mean.copy_(numbers.mean(0))
    policy.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))


def build(policy: Policy, context: StageContext) -> TrajectoryAutoencoding:
    """Build the training of the planner's parts that are not frozen.

    Raises UserError for any other policy, and for training settings that need segments.
    """
    training, name = context.settings.training, context.settings.model["name"]
    if not isinstance(policy, TrajectoryAutoencodingPlanner):
        remedy = "name another learner in its constant LEARNER"
        raise UserError("trajectory_autoencoding needs a planner", f"model {name}", remedy)
    trained = [
        any(p.requires_grad for p in half.parameters())
        for half in (policy.autoencoder, policy.prior)
    ]
    optimiser = adamw_of(policy, training)
    assert optimiser is not None
    policy.train()
    # Codes follow the data in training mode without any gradient, so freezing is not enough.
    policy.autoencoder.train(trained[0])
    settings = Settings(**context.settings.learner)
    return TrajectoryAutoencoding(
        policy, settings, training, optimiser, context.seed, trained[0], trained[1]
    )
