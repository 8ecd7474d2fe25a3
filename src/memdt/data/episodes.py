"""Episodes as flat arrays. First noun of the flow; `episode_file.py` keeps them in HDF5.

Episodes lie one after the other; ``offsets`` says where each begins (here 4, 2 and 3 steps):

    step          0 1 2 3 | 4 5 | 6 7 8
    offsets       0         4     6       9
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

NOT_PLAYED = -1  # later steps of an episode that was stopped after those that are kept
NO_SEED = -1  # of an episode that was recorded elsewhere


@dataclass(frozen=True, repr=False)
class Episode:
    """One episode, a view into its store."""

    observations: Shaped[np.ndarray, "steps ..."]
    actions: Shaped[np.ndarray, "steps ..."]
    rewards: Float[np.ndarray, " steps"]
    final_observation: Shaped[np.ndarray, "..."]  # after the last action
    seed: int
    group: str
    terminated: bool  # it ended by itself
    truncated: bool  # it was cut, as by a time limit

    def __len__(self) -> int:
        """Steps."""
        return len(self.rewards)

    def __repr__(self) -> str:
        observation, action = self.observations.shape[1:], self.actions.shape[1:]
        return (
            f"Episode({len(self)} steps, observation {observation}, action {action}, "
            f"return {self.rewards.sum():g}, group {self.group!r}, seed {self.seed})"
        )


@dataclass(frozen=True, repr=False)
class EpisodeStore:
    """All episodes of a dataset. Step i holds what was seen, then done, then earned for it."""

    observations: Shaped[np.ndarray | h5py.Dataset, "steps ..."]
    actions: Shaped[np.ndarray | h5py.Dataset, "steps ..."]
    rewards: Float[np.ndarray, " steps"]
    offsets: Int[np.ndarray, " borders"]  # first step of each episode, then the number of steps
    final_observations: Shaped[
        np.ndarray | h5py.Dataset, "episodes ..."
    ]  # after the last step that is kept
    terminated: Bool[np.ndarray, " episodes"]  # the whole episode ended by itself
    truncated: Bool[np.ndarray, " episodes"]  # it was cut, as by a time limit
    seeds: Int[np.ndarray, " episodes"]  # of the environment, or NO_SEED
    groups: Shaped[np.ndarray, " episodes"]  # a word each: hint, colour, task, game
    later_steps: Int[np.ndarray, " episodes"]  # after the last one that is kept, or NOT_PLAYED
    later_returns: Float[np.ndarray, " episodes"]  # earned in them, undiscounted; or taken to be
    # What is learnt at each step, where the collector meant something else than it did; None: what
    # it did (Deviation D50).
    labels: Shaped[np.ndarray | h5py.Dataset, "steps ..."] | None = None

    def __len__(self) -> int:
        """Episodes."""
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
        """Steps of each episode."""
        return np.diff(self.offsets)

    @property
    def to_end(self) -> Bool[np.ndarray, " episodes"]:
        """Which episodes were played to their end."""
        to_end: np.ndarray = self.later_steps != NOT_PLAYED
        return to_end

    @property
    def played(self) -> Int[np.ndarray, " episodes"]:
        """Steps of each episode that were played, those not kept included."""
        played: np.ndarray = self.lengths + np.where(self.to_end, self.later_steps, 0)
        return played

    @property
    def returns(self) -> Float[np.ndarray, " episodes"]:
        """Undiscounted sum of rewards of each episode to its end, in float64."""
        kept = np.add.reduceat(self.rewards.astype(np.float64), self.offsets[:-1])
        returns: np.ndarray = kept + self.later_returns
        return returns

    def share_of_each_group(self, fraction: float) -> Bool[np.ndarray, " episodes"]:
        """So many of each group's episodes, at least one, in an order drawn once and for all.

        A larger share holds a smaller one. Drawn, because episodes may lie in order of length.
        """
        names, numbers = np.unique(self.groups, return_inverse=True)
        chosen = np.zeros(len(self), dtype=bool)
        for number in range(len(names)):
            mine = np.random.default_rng(0).permutation(np.flatnonzero(numbers == number))
            chosen[mine[: int(np.ceil(fraction * len(mine)))]] = True
        return chosen

    def best(
        self, fraction: float, among: Bool[np.ndarray, " episodes"]
    ) -> Bool[np.ndarray, " episodes"]:
        """Of the episodes marked true those of the highest returns that hold a share of the steps.

        At least one. Source: %BC, Chen et al. 2021, section 5.1.
        """
        ranked = np.flatnonzero(among)[np.argsort(-self.returns[among], kind="stable")]
        before = np.cumsum(self.lengths[ranked]) - self.lengths[ranked]
        chosen = np.zeros(len(self), dtype=bool)
        chosen[ranked[before < fraction * self.lengths[among].sum()]] = True
        return chosen

    def select(self, chosen: Bool[np.ndarray, " episodes"]) -> EpisodeStore:
        """The episodes marked true, in the same order."""
        steps = np.repeat(chosen, self.lengths)
        of_steps = ("observations", "actions", "rewards", "labels")
        arrays = {
            name: array[steps if name in of_steps else chosen]
            for name, array in vars(self).items()
            if array is not None and name != "offsets"
        }
        return EpisodeStore(**arrays, offsets=np.append(0, np.cumsum(self.lengths[chosen])))


def concatenate(parts: Iterable[EpisodeStore]) -> EpisodeStore:
    """All episodes of several stores, in order."""
    stores = list(parts)
    names = [one.name for one in fields(EpisodeStore) if getattr(stores[0], one.name) is not None]
    arrays = {name: np.concatenate([getattr(s, name) for s in stores]) for name in names}
    arrays["offsets"] = np.append(0, np.cumsum(np.concatenate([s.lengths for s in stores])))
    return EpisodeStore(**arrays)
