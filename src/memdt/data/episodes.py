"""Episodes as flat arrays; `episode_file.py` stores them in HDF5.

The arrays hold one episode after the other, and ``offsets`` says where each begins (here episodes
of 4, 2 and 3 steps):

    step          0 1 2 3 | 4 5 | 6 7 8
    offsets       0         4     6       9
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

NOT_PLAYED = -1  # `later_steps` of an episode that was stopped after its kept steps
NO_SEED = -1  # `seeds` of an episode that was recorded elsewhere


@dataclass(frozen=True, repr=False)
class Episode:
    """One episode, as views into its store."""

    observations: Shaped[np.ndarray, "steps ..."]
    actions: Shaped[np.ndarray, "steps ..."]
    rewards: Float[np.ndarray, " steps"]
    final_observation: Shaped[np.ndarray, "..."]  # after the last action
    seed: int
    group: str
    terminated: bool  # it reached a terminal state
    truncated: bool  # it was cut off, for example by a time limit

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.rewards)

    def __repr__(self) -> str:
        observation, action = self.observations.shape[1:], self.actions.shape[1:]
        return (
            f"Episode({len(self)} steps, observation {observation}, action {action}, "
            f"return {self.rewards.sum():g}, group {self.group!r}, seed {self.seed})"
        )


@dataclass(frozen=True, repr=False)
class EpisodeStore:
    """All episodes of a dataset. Step i holds an observation, the action taken and its reward."""

    observations: Shaped[np.ndarray | h5py.Dataset, "steps ..."]
    actions: Shaped[np.ndarray | h5py.Dataset, "steps ..."]
    rewards: Float[np.ndarray, " steps"]
    offsets: Int[np.ndarray, " borders"]  # first step of each episode, then the number of steps
    final_observations: Shaped[
        np.ndarray | h5py.Dataset, "episodes ..."
    ]  # after the last kept step
    terminated: Bool[np.ndarray, " episodes"]  # the whole episode reached a terminal state
    truncated: Bool[np.ndarray, " episodes"]  # it was cut off, for example by a time limit
    seeds: Int[np.ndarray, " episodes"]  # of the environment, or NO_SEED
    groups: Shaped[np.ndarray, " episodes"]  # one name each: hint, colour, task, game
    later_steps: Int[np.ndarray, " episodes"]  # steps after the last kept one, or NOT_PLAYED
    later_returns: Float[np.ndarray, " episodes"]  # undiscounted return of later steps, or its mean
    # The actions to learn, if the collector intended others than it took (Deviation D50). None: the
    # actions taken.
    labels: Shaped[np.ndarray | h5py.Dataset, "steps ..."] | None = None

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self.seeds)

    def __repr__(self) -> str:
        return f"EpisodeStore({len(self)} episodes, {len(self.rewards)} steps)"

    def __getitem__(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        index %= len(self)
        steps = slice(self.offsets[index], self.offsets[index + 1])
        return Episode(
            observations=self.observations[steps],
            actions=self.actions[steps],
            rewards=self.rewards[steps],
            final_observation=self.final_observations[index],
            seed=int(self.seeds[index]),
            group=str(self.groups[index]),
            terminated=bool(self.terminated[index]),
            truncated=bool(self.truncated[index]),
        )

    def __iter__(self) -> Iterator[Episode]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> Int[np.ndarray, " episodes"]:
        """Kept steps of each episode."""
        return np.diff(self.offsets)

    @property
    def to_end(self) -> Bool[np.ndarray, " episodes"]:
        """True for episodes that were played to their end."""
        to_end: np.ndarray = self.later_steps != NOT_PLAYED
        return to_end

    @property
    def played(self) -> Int[np.ndarray, " episodes"]:
        """Steps of each episode that were played, including those not kept."""
        played: np.ndarray = self.lengths + np.where(self.to_end, self.later_steps, 0)
        return played

    @property
    def returns(self) -> Float[np.ndarray, " episodes"]:
        """Undiscounted return of each whole episode, in float64."""
        kept = np.add.reduceat(self.rewards.astype(np.float64), self.offsets[:-1])
        returns: np.ndarray = kept + self.later_returns
        return returns

    def share_of_each_group(self, fraction: float) -> Bool[np.ndarray, " episodes"]:
        """Mark a share of each group's episodes, from 0 to 1, and at least one of each.

        A larger share includes every smaller one. The order is random but fixed, because episodes
        may be stored in order of length.
        """
        names, numbers = np.unique(self.groups, return_inverse=True)
        selected = np.zeros(len(self), dtype=bool)
        for number in range(len(names)):
            order = np.random.default_rng(0).permutation(np.flatnonzero(numbers == number))
            selected[order[: int(np.ceil(fraction * len(order)))]] = True
        return selected

    def best(
        self, fraction: float, among: Bool[np.ndarray, " episodes"]
    ) -> Bool[np.ndarray, " episodes"]:
        """Mark the episodes of the highest returns that hold a share of the steps, at least one.

        Only the episodes that ``among`` marks count. Source: %BC, Chen et al. 2021, section 5.1.
        """
        ranked = np.flatnonzero(among)[np.argsort(-self.returns[among], kind="stable")]
        # Steps before an episode, not with it, so that the best one is always marked.
        before = np.cumsum(self.lengths[ranked]) - self.lengths[ranked]
        selected = np.zeros(len(self), dtype=bool)
        selected[ranked[before < fraction * self.lengths[among].sum()]] = True
        return selected

    def select(self, selected: Bool[np.ndarray, " episodes"]) -> EpisodeStore:
        """The episodes marked true, in the same order."""
        steps = np.repeat(selected, self.lengths)
        of_steps = ("observations", "actions", "rewards", "labels")
        arrays = {
            name: array[steps if name in of_steps else selected]
            for name, array in vars(self).items()
            if array is not None and name != "offsets"
        }
        return EpisodeStore(**arrays, offsets=np.append(0, np.cumsum(self.lengths[selected])))


def concatenate(parts: Iterable[EpisodeStore]) -> EpisodeStore:
    """Join all episodes of several stores, in order."""
    stores = list(parts)
    names = [f.name for f in fields(EpisodeStore) if getattr(stores[0], f.name) is not None]
    arrays = {name: np.concatenate([getattr(s, name) for s in stores]) for name in names}
    arrays["offsets"] = np.append(0, np.cumsum(np.concatenate([s.lengths for s in stores])))
    return EpisodeStore(**arrays)
