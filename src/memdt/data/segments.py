"""Cut episodes into segments of equal length. Segments are computed on demand, never stored.

An episode of 7 steps in segments of 3 (o observation, a action, g return-to-go, . padding):

    segment 0            segment 1            segment 2
    o0 o1 o2             o3 o4 o5             o6 o6 o6      the last observation is repeated
    a0 a1 a2             a3 a4 a5             a6 .  .       action 0
    g0 g1 g2             g3 g4 g5             g6 .  .       return-to-go 0
    T  T  T              T  T  T              T  F  F       mask

Source: RATE section 3 (segments, returns-to-go); the public code of RATE (padding).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from memdt.data.episodes import EpisodeStore


@dataclass(frozen=True)
class Segment:
    """The input of models: steps of several episodes side by side.

    Padding never precedes a real step, so each row of the mask is a run of True, then of False.
    """

    observations: Shaped[Tensor, "batch time ..."]  # float32, or uint8 for frames
    actions: Shaped[Tensor, "batch time ..."]  # int64 choices, or float32 vectors
    returns_to_go: Float[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]  # True: a real step
    # Actions to learn, if they differ from the actions taken (Deviation D50). Models ignore them.
    labels: Shaped[Tensor, "batch time ..."] | None = None
    # Part of another episode of the same group, for models that use one. They read it in
    # `SequencePolicy.prompted`, never in `forward`.
    demonstration: Segment | None = None

    def __len__(self) -> int:
        """Number of episodes."""
        return self.mask.shape[0]

    @property
    def steps(self) -> int:
        """Number of steps, including padding."""
        return self.mask.shape[1]

    def to(self, device: torch.device | str) -> Segment:
        """Return the segment on ``device``."""
        return self._map(lambda tensor: tensor.to(device))

    def rows(self, rows: int | Bool[np.ndarray, " batch"]) -> Segment:
        """Select the first ``rows`` episodes, or those marked true."""
        if isinstance(rows, int):
            return self._map(lambda tensor: tensor[:rows])
        return self._map(lambda tensor: tensor[torch.as_tensor(rows, device=tensor.device)])

    @property
    def learnt(self) -> Shaped[Tensor, "batch time ..."]:
        """The actions that a policy is trained on."""
        return self.actions if self.labels is None else self.labels

    def _map(self, function: Callable[[Tensor], Tensor]) -> Segment:
        names = ("observations", "actions", "returns_to_go", "mask")
        tensors = {name: function(getattr(self, name)) for name in names}
        labels = None if self.labels is None else function(self.labels)
        demonstration = None if self.demonstration is None else self.demonstration._map(function)
        return replace(self, **tensors, labels=labels, demonstration=demonstration)


def returns_to_go(
    rewards: Float[np.ndarray, " steps"], later: float = 0.0
) -> Float[np.ndarray, " steps"]:
    """Return the undiscounted return-to-go at each step of one episode, including its own reward.

    Sums are computed in float64. ``later``: return of the steps after these. Source: RATE
    section 3.

    >>> returns_to_go(np.array([1.0, 0.0, 2.0], dtype=np.float32))
    array([3., 2., 2.], dtype=float32)
    """
    remaining = np.cumsum(rewards[::-1], dtype=np.float64)[::-1] + later
    return remaining.astype(np.float32)


@runtime_checkable
class Observations(Protocol):
    """The observations of a dataset, in memory or on disk; see `data/access.py`."""

    def __getitem__(self, index: Int[Tensor, "*batch time"]) -> Shaped[Tensor, "*batch time ..."]:
        """Return the observations of these steps, on the device of ``index``."""


@dataclass(frozen=True)
class EpisodeTensors:
    """All episodes of a dataset as flat tensors, one step after the other."""

    observations: Observations
    actions: Shaped[Tensor, "steps ..."]
    returns_to_go: Float[Tensor, " steps"]
    offsets: Int[np.ndarray, " borders"]  # episode i holds the steps offsets[i] .. offsets[i+1]-1
    groups: Shaped[np.ndarray, " episodes"]  # one name each
    rewards: Float[Tensor, " steps"]
    final_observations: Shaped[Tensor, "episodes ..."]  # after the last step; one frame
    terminated: Bool[Tensor, " episodes"]  # the last step reached a terminal state
    labels: Shaped[Tensor, "steps ..."] | None = None  # None: the actions
    frame_stack: int = 1  # frames are stored singly and stacked when they are read

    @classmethod
    def from_store(
        cls,
        store: EpisodeStore,
        device: torch.device | str = "cpu",
        observations: Observations | None = None,
        frame_stack: int = 1,
    ) -> EpisodeTensors:
        """Copy a dataset to ``device``: frames stay uint8, choices become int64, others float32.

        ``observations``: used in place of the store's, for example if they stay on disk.
        """
        # Deviation D35: returns-to-go include the rewards after the kept steps.
        episodes = np.split(store.rewards, store.offsets[1:-1])
        pairs = zip(episodes, store.later_returns.tolist(), strict=True)
        # Once for all segments: a return-to-go looks beyond the segment that a step is in.
        remaining = [returns_to_go(rewards, later) for rewards, later in pairs]
        return cls(
            observations=(
                _observations(store.observations).to(device)
                if observations is None
                else observations
            ),
            actions=_actions(store.actions).to(device),
            returns_to_go=torch.from_numpy(np.concatenate(remaining)).to(device),
            offsets=store.offsets.astype(np.int64),
            groups=store.groups,
            rewards=torch.from_numpy(store.rewards.astype(np.float32)).to(device),
            final_observations=_observations(store.final_observations).to(device),
            terminated=torch.from_numpy(store.terminated & (store.later_steps == 0)).to(device),
            frame_stack=frame_stack,
            labels=None if store.labels is None else _actions(store.labels).to(device),
        )

    @property
    def on_disk(self) -> bool:
        """Whether batches read observations from a file."""
        return not isinstance(self.observations, Tensor)

    @property
    def lengths(self) -> Int[np.ndarray, " episodes"]:
        """Steps of each episode."""
        return np.diff(self.offsets)

    def segments(self, segment_length: int) -> Int[np.ndarray, " episodes"]:
        """Return the number of segments of each episode, including a short last one."""
        return -(-self.lengths // segment_length)

    def window(
        self,
        first: Int[np.ndarray, " batch"],
        last: Int[np.ndarray, " batch"],
        steps: int,
    ) -> Segment:
        """Return the steps ``first .. first + steps - 1`` of every row, padded from ``last`` on.

        Args:
            first: number of each row's first step, counted over the whole dataset.
            last: one past the last real step of each row.
            steps: width of the window; a row with ``first >= last`` is all padding.
        """
        device = self.actions.device
        ends = torch.as_tensor(last, device=device)[:, None]
        index = torch.as_tensor(first, device=device)[:, None] + torch.arange(steps, device=device)
        mask = index < ends
        index = torch.minimum(index, ends - 1)
        return Segment(
            observations=self.observed(index),
            actions=_padded(self.actions[index], mask),
            returns_to_go=self.returns_to_go[index].masked_fill(~mask, 0.0),
            mask=mask,
            labels=None if self.labels is None else _padded(self.labels[index], mask),
        )

    def observed(self, index: Int[Tensor, "batch time"]) -> Shaped[Tensor, "batch time ..."]:
        """Return the observations of these steps, with frames stacked along the channels.

        At the beginning of an episode, its first frame is repeated.
        """
        if self.frame_stack == 1:
            return self.observations[index]
        borders = torch.as_tensor(self.offsets, device=index.device)
        starts = borders[torch.searchsorted(borders, index, right=True) - 1]
        back = torch.arange(self.frame_stack - 1, -1, -1, device=index.device)
        steps = torch.maximum(index[..., None] - back, starts[..., None])
        frames = self.observations[steps.flatten(1)].unflatten(1, steps.shape[1:])
        return torch.cat(frames.unbind(2), dim=-1)


def _padded(
    actions: Shaped[Tensor, "batch time ..."], mask: Bool[Tensor, "batch time"]
) -> Shaped[Tensor, "batch time ..."]:
    """Actions, with 0 at padded steps."""
    # Deviation D5: padding is action 0 and masked; the public code feeds -10 to the model.
    return actions.masked_fill(~mask.view(mask.shape + (1,) * (actions.dim() - 2)), 0)


def split(tensors: EpisodeTensors, episode: int, segment_length: int) -> list[Segment]:
    """Cut one episode into segments of one row each; a short last one is padded and masked."""
    first, last = tensors.offsets[episode], tensors.offsets[episode + 1]
    return [
        tensors.window(np.array([start]), np.array([last]), segment_length)
        for start in range(first, last, segment_length)
    ]


def _observations(observations: Shaped[np.ndarray, "steps ..."]) -> Shaped[Tensor, "steps ..."]:
    kind = np.uint8 if observations.dtype == np.uint8 else np.float32
    return torch.from_numpy(np.ascontiguousarray(observations, dtype=kind))


def _actions(actions: Shaped[np.ndarray, "steps ..."]) -> Shaped[Tensor, "steps ..."]:
    kind = np.int64 if np.issubdtype(actions.dtype, np.integer) else np.float32
    return torch.from_numpy(np.ascontiguousarray(actions, dtype=kind))
