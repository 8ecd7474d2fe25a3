"""What the learners by d3rlpy share: single steps as its batches, and its state for resuming.

Source: d3rlpy (Seno & Imai 2022). docs/decisions/0009 says how the library is held to the promises
of a learner. It reads its figures at every update, so that on a GPU the host waits for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from memdt.data.batches import Batches
from memdt.data.segments import EpisodeTensors
from memdt.data.transitions import Transitions, transitions
from memdt.models.interface import Policy
from memdt.models.parts.d3rlpy_library import library
from memdt.settings import slices
from memdt.settings.schema import TrainingSettings
from memdt.training.learner import Effort, part
from memdt.training.schedules import set_learning_rate


@dataclass
class LibraryLearner:
    """An algorithm of d3rlpy behind the interface of a learner.

    Subclasses name its networks and the columns of the curve, and prepare its batches. ``rates``
    holds its optimisers, each with its share of the learning rate; one has all of it.
    """

    policy: Policy
    implementation: Any  # d3rlpy's; its modules and optimisers are all that changes
    training: TrainingSettings
    seed: int
    rates: dict[str, float]
    updates: int = 1  # of the stage, which the learning rate's schedule spans
    batches: Batches | None = None  # of the stage

    networks: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ()
    names: ClassVar[dict[str, str]] = {}  # of columns that d3rlpy calls by another name

    def sampler(self, episodes: EpisodeTensors, stage: slices.Stage) -> SingleSteps:
        """Return single steps, uniform over all steps of the stage's episodes."""
        sampler = SingleSteps.of_stage(episodes, stage, self.seed)
        self.batches = sampler.batches
        self.updates = stage.updates or sampler.updates(stage.epochs or 1)
        return sampler

    def train_on(self, number: int, batch: Any) -> dict[str, Tensor]:
        """Take one step of every optimiser on d3rlpy's batch; return the figures of the curve."""
        figures: dict[str, Any] = {}
        for name, share in self.rates.items():
            scaled = {"learning_rate": share * self.training.learning_rate}
            training = self.training.model_copy(update=scaled)
            rate = set_learning_rate(self._optimiser(name), training, number, self.updates)
            if share == 1:
                figures["learning_rate"] = rate
        figures |= self.implementation.update(batch, number)
        return {
            name: torch.as_tensor(figures[self.names.get(name, name)], dtype=torch.float64)
            for name in self.columns
        }

    def effort(self, updates: int) -> Effort:
        """Return what the updates cost; each is a step of the critics' optimiser."""
        assert self.batches is not None
        seen = sum(self.batches.extent(number)[0] for number in range(updates))
        return Effort(updates, seen, 1)

    def state(self) -> dict[str, Tensor]:
        """Return the weights of all networks, and the averages of all optimisers."""
        modules = self.implementation.modules
        parts = {name: getattr(modules, name).state_dict() for name in self.networks}
        parts |= {name: dict(_averages(self._optimiser(name))) for name in self.rates}
        return {
            f"{name}.{key}": tensor
            for name, tensors in parts.items()
            for key, tensor in tensors.items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        for name in self.networks:
            getattr(self.implementation.modules, name).load_state_dict(part(state, name))
        for name in self.rates:
            for key, tensor in _averages(self._optimiser(name)):
                tensor.copy_(state[f"{name}.{key}"])

    def _optimiser(self, name: str) -> torch.optim.Optimizer:
        optimiser: torch.optim.Optimizer = getattr(self.implementation.modules, name).optim
        return optimiser


@dataclass(frozen=True)
class SingleSteps:
    """The single steps that each update is trained on."""

    batches: Batches

    @classmethod
    def of_stage(cls, episodes: EpisodeTensors, stage: slices.Stage, seed: int) -> SingleSteps:
        """Draw every step of every episode alike: episodes by length, then a step at random."""
        one = replace(stage, segments=1, horizon=None)
        return cls(Batches.of_stage(episodes, one, 1, "random", seed, draw="by_length"))

    def __call__(self, number: int) -> Transitions:
        """Return the steps of one update, batch x 1."""
        _, first, last = self.batches.rows(number)
        return transitions(self.batches.tensors, first, last, 1)

    def updates(self, epochs: int) -> int:
        """Return the updates that draw as many steps as there are episodes, ``epochs`` times."""
        return self.batches.updates(epochs)


def adamw_factory(training: TrainingSettings) -> Any:
    """d3rlpy's factory of AdamW with our settings; the learning rate is set at every update."""
    return library("d3rlpy.optimizers").AdamWFactory(
        clip_grad_norm=training.gradient_clip,
        betas=(training.beta_1, training.beta_2),
        weight_decay=training.weight_decay,
    )


def create(config: Any, policy: Policy, device: torch.device, optimisers: tuple[str, ...]) -> Any:
    """Build d3rlpy's networks and optimisers, with averages made beforehand.

    Args:
        config: d3rlpy's configuration of the algorithm.
        policy: whose spaces it is built for.
        device: where it computes.
        optimisers: names of the optimisers among its modules.
    """
    # d3rlpy numbers every device, also where torch's name of the current one has no number.
    name = str(device) if device.type == "cpu" else f"{device.type}:{device.index or 0}"
    algorithm = config.create(device=name)
    shape = policy.spaces.observation.shape or ()
    if len(shape) == 3:  # height x width x channels; d3rlpy has channels first
        shape = (shape[2], *shape[:2])
    algorithm.create_impl(shape, policy.spaces.action_outputs)
    for optimiser in optimisers:
        _make_averages(getattr(algorithm.impl.modules, optimiser).optim)
    return algorithm.impl


def minibatch(batch: Transitions, observations: Tensor, following: Tensor, actions: Tensor) -> Any:
    """Single transitions as d3rlpy's batch, which has columns of numbers and no time dimension.

    Args:
        batch: batch x 1 transitions, whose rewards and ends are taken.
        observations: batch x ..., as the networks take them.
        following: the same of the next observations.
        actions: batch x numbers, or batch x 1 for discrete actions.
    """
    return library("d3rlpy.torch_utility").TorchMiniBatch(
        observations=observations,
        actions=actions,
        rewards=batch.rewards,
        next_observations=following,
        next_actions=torch.zeros_like(actions),  # of other algorithms
        returns_to_go=torch.zeros_like(batch.rewards),
        terminals=batch.terminal.float(),
        intervals=torch.ones_like(batch.rewards),
        device=str(batch.rewards.device),
    )


def _make_averages(optimiser: torch.optim.Optimizer) -> None:
    # Adam makes them at its first step. A state must have the same tensors before it.
    for parameter in _parameters(optimiser):
        optimiser.state[parameter] = {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }


def _averages(optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for index, parameter in enumerate(_parameters(optimiser)):
        for key, tensor in optimiser.state[parameter].items():
            yield f"{index}.{key}", tensor


def _parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]
