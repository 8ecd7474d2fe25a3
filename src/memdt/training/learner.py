"""The interface between a learner, which trains a policy, and the course of a stage.

A learner is a module under ``training/learners``: its ``Settings`` are checked where a run's
settings are resolved (key ``learner``), and ``build`` makes one for a stage. A model names its
learner in a constant ``LEARNER``; without one it is trained by behaviour cloning. A learner names
in a constant ``REFUSES`` the training settings that it has no use for: other values than their
defaults are refused before anything runs.

    sampler(episodes, stage)       batches as a pure function of the update's number
    update(number, batch)          one update; returns its figures as tensors
    effort(updates)                what so many updates have cost, for comparisons
    state(), load(state)           everything that training changes, so that a stage can be resumed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from memdt import discovery
from memdt.data.segments import EpisodeTensors
from memdt.models.interface import Policy
from memdt.settings import slices
from memdt.settings.learners import PACKAGE, learner_of
from memdt.settings.schema import RunSettings

Batch = TypeVar("Batch")
BatchOut = TypeVar("BatchOut", covariant=True)


@runtime_checkable
class Sampler(Protocol[BatchOut]):
    """The batches of a stage."""

    def __call__(self, number: int) -> BatchOut:
        """Return the batch of an update, counted from 0. Every call returns the same batch."""

    def updates(self, epochs: int) -> int:
        """Return the number of updates that go through the data ``epochs`` times."""


@dataclass(frozen=True)
class Effort:
    """What training has cost beside its updates: rows of a table are equals where these are equal.

    ``steps_seen``: environment steps that were trained on, each counted as often as it was; padding
    and copies of segments are not counted. ``gradient_segments``: how many segments of an episode a
    gradient spans at most.
    """

    optimiser_steps: int
    steps_seen: int
    gradient_segments: int


@runtime_checkable
class Learner(Protocol[Batch]):
    """Trains a policy for one stage."""

    policy: Policy
    columns: tuple[str, ...]  # of the curve; the log shows the first two

    def sampler(self, episodes: EpisodeTensors, stage: slices.Stage) -> Sampler[Batch]:
        """Return the batches of the stage. Called once, before the first update."""

    def update(self, number: int, batch: Batch) -> dict[str, Tensor]:
        """Train on a batch, and return a figure for each column (see ``curve``).

        A column ``gradient_norm``, or whose name ends in ``loss``, ends the stage where its figure
        is NaN or infinite. Must not wait for the device: the course reads figures when it writes a
        row.
        """

    def effort(self, updates: int) -> Effort:
        """What so many updates of the stage cost; asked once they are made."""

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that training changes, by name and without copying them."""

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state`` returned, so that training continues bit for bit."""


@dataclass(frozen=True)
class StageContext:
    """The run, stage and device that a learner is built for."""

    settings: RunSettings
    stage: slices.Stage
    seed: int
    device: torch.device


def build_learner(policy: Policy, context: StageContext) -> Learner[Any]:
    """Build the learner of the run's model, at the beginning of a stage."""
    module = discovery.load(PACKAGE, learner_of(context.settings.model["name"]))
    learner: Learner[Any] = module.build(policy, context)
    return learner


def part(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the entries of a state under ``name.``, without that prefix."""
    # With the point: one name may begin like another, such as `actor` and `actor_target`.
    prefix = f"{name}."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
