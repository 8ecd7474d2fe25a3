"""A local Minari data set in HDF5, recorded by the user or fetched with ``minari download``.

Observations and actions are converted to those of the task: a dict is joined to a vector, discrete
observations become one-hot vectors, and actions are rescaled from the bounds of the set to those of
the task. The environment must convert what a policy sees and does in the same way; ``gymnasium``
does.

Reading needs h5py only, and not the package ``minari``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from gymnasium import spaces
from jaxtyping import Shaped
from pydantic import Field

from memdt.data.episodes import NO_SEED, EpisodeStore, concatenate
from memdt.data.sources.hdf5 import opened
from memdt.data.sources.minari_parts import arrays
from memdt.data.sources.minari_parts.metadata import (
    MAIN,
    METADATA,
    Metadata,
    folder_of,
    read_metadata,
)
from memdt.data.sources.minari_parts.spaces import flattened, flattened_shape, selected
from memdt.data.sources.record import Record
from memdt.data.sources.size import RawFile, Size
from memdt.environments.task import ALL, Task
from memdt.errors import UserError
from memdt.progress import Progress
from memdt.settings.schema import Frozen

PART_BYTES = 2**24  # observations in one part of the dataset


class Settings(Frozen):
    """The data set and the arrays to read."""

    source: str
    id: str = Field(description="id of the data set, such as cartpole/scripted-v0")
    root: str = Field(
        default="data/raw/minari",
        description="the folder that holds it; MINARI_DATASETS_PATH of the package minari",
    )
    observation_keys: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="arrays of a dict observation that are joined to one vector, in the order of "
        "their names; null if observations are not a dict",
    )
    labels: str | None = Field(
        default=None,
        description="array under infos to learn instead of the actions; null: none",
    )


def raw_files(settings: Settings) -> list[RawFile]:
    """Return both files of the set. Raises UserError if one is missing, damaged or unsupported."""
    folder = folder_of(settings.root, settings.id)
    read_metadata(folder)
    arrays.lengths(folder / MAIN)
    return [RawFile(folder / METADATA), RawFile(folder / MAIN)]


def expected(settings: Settings) -> Size:
    """Return the lengths of the episodes in the set; none if the set does not exist yet."""
    path = folder_of(settings.root, settings.id) / MAIN
    if not path.exists():
        return Size(())
    return Size(tuple(sorted(Counter(arrays.lengths(path)).items())))


def check(task: Task, settings: Settings) -> None:
    """Raise UserError if the first episode of the set does not fit the task."""
    reader = _Reader(task, settings)
    with opened(reader.path) as file:
        # One episode, because this is run by every plan.
        reader.episode(file["episode_0"])


def episodes(
    task: Task, settings: Settings, files: Sequence[Path], record: Record
) -> Iterator[EpisodeStore]:
    """Yield all episodes, in the order of their numbers.

    Raises:
        UserError: the set is damaged or does not fit the task.
    """
    reader = _Reader(task, settings)
    with opened(reader.path) as file:
        count = arrays.episode_count(file)
        progress = Progress(f"read {settings.id}", count, unit="episodes")
        part: list[EpisodeStore] = []
        for number in range(count):
            part.append(reader.episode(file[f"episode_{number}"]))
            size = sum(episode.observations.nbytes for episode in part)
            if size >= PART_BYTES or number == count - 1:
                yield concatenate(part)
                part = []
            progress.update(number + 1)
    reader.print_notes()


class _Reader:
    """Converts the episodes of a set to episodes of the task."""

    def __init__(self, task: Task, settings: Settings) -> None:
        metadata = read_metadata(folder_of(settings.root, settings.id))
        self.path, self.labels = metadata.path.with_name(MAIN), settings.labels
        self.metadata = metadata
        self.steps = self.without_final = 0  # steps read; episodes without a final observation
        _check_keys(metadata, settings.observation_keys)
        self.observation = selected(metadata.observation, settings.observation_keys)
        self.action, self.task_spaces = metadata.action, task.spaces
        remedy = f"is this a set of {task.name} with these parameters?"
        actual, expected = flattened_shape(self.observation), self.task_spaces.observation.shape
        if actual != expected:
            what = f"observations have the shape {actual}, those of the environment {expected}"
            raise UserError(what, str(metadata.path), remedy)
        if not _convertible(self.action, self.task_spaces.action):
            what = f"actions are {self.action}, those of the environment {self.task_spaces.action}"
            raise UserError(what, str(metadata.path), remedy)

    def episode(self, group: h5py.Group) -> EpisodeStore:
        """Read and check one episode."""
        rewards = arrays.array(group, "rewards", "iuf").astype(np.float32)
        steps = len(rewards)
        observations = self._observations(group, steps)
        labels = None
        if self.labels is not None:
            labels = self._actions(group.get("infos", group), self.labels, steps)
        self.steps += steps
        terminated = _flag(group, "terminations", steps)
        # Data that ends without a flag was cut off by the recording.
        truncated = _flag(group, "truncations", steps) or not terminated
        return EpisodeStore(
            observations=observations[:steps],
            actions=self._actions(group, "actions", steps),
            rewards=rewards,
            offsets=np.array([0, steps]),
            final_observations=observations[-1:],
            # Attributes describe the whole episode if only its first steps are in the set.
            terminated=np.array([bool(group.attrs.get("terminated", terminated))]),
            truncated=np.array([bool(group.attrs.get("truncated", truncated))]),
            seeds=np.array([_seed(group)], np.int64),
            groups=np.array([str(group.attrs.get("group", ALL))]),
            later_steps=np.array([int(group.attrs.get("later_steps", 0))], np.int64),
            later_returns=np.array([float(group.attrs.get("later_return", 0.0))]),
            labels=labels,
        )

    def _observations(self, group: h5py.Group, steps: int) -> Shaped[np.ndarray, "rows ..."]:
        """The observation of each step, and the one after the last action."""
        values = arrays.values(group, "observations", self.observation)
        try:
            rows = flattened(self.observation, values)
        except (IndexError, ValueError) as error:
            raise arrays.refusal(group, f"observations are not of their space ({error})") from None
        rows = rows.astype(self.task_spaces.observation.dtype, copy=False)
        if len(rows) == steps:  # some sets lack the final observation (Minari's issue 199)
            self.without_final += 1
            return np.concatenate([rows, rows[-1:]])
        if len(rows) != steps + 1:
            what = f"{len(rows)} observations and {steps} rewards; there must be one more"
            raise arrays.refusal(group, what)
        return rows

    def _actions(self, group: h5py.Group, name: str, steps: int) -> Shaped[np.ndarray, "steps ..."]:
        """Actions of the set, converted to those of the task."""
        space, target = self.action, self.task_spaces.action
        rows: np.ndarray = arrays.values(group, name, space)
        if len(rows) != steps and (name == "actions" or len(rows) != steps + 1):
            raise arrays.refusal(group, f"{len(rows)} {name} and {steps} rewards")
        rows = rows[:steps]  # arrays under infos have one more row, as observations have
        if isinstance(space, spaces.Discrete):
            if not (rows.min() >= 0 and rows.max() < space.n):
                raise arrays.refusal(group, f"{name} are not all among 0 .. {space.n - 1}")
            return rows.astype(np.int64)
        assert isinstance(space, spaces.Box)
        assert isinstance(target, spaces.Box)
        if not _same_bounds(space, target):
            share = (rows - space.low) / (space.high - space.low)
            rows = target.low + share * (target.high - target.low)
        return rows.astype(target.dtype)

    def print_notes(self) -> None:
        """Print a note for each inconsistency in the set that reading has corrected."""
        steps = self.metadata.steps
        if steps is not None and steps != self.steps:
            print(
                f"note: {self.metadata.path} says {steps} steps, the episodes have {self.steps}",
                file=sys.stderr,
            )
        if self.without_final:
            print(
                f"note: {self.path}: episodes without an observation after their last action: "
                f"{self.without_final}; the one before it is used instead",
                file=sys.stderr,
            )


def _check_keys(metadata: Metadata, keys: Sequence[str] | None) -> None:
    space, path = metadata.observation, str(metadata.path)
    if not isinstance(space, spaces.Dict):
        if keys is not None:
            raise UserError("observations are not a dict", path, "leave observation_keys out")
        return
    if keys is None or not set(keys) <= set(space.spaces):
        what = f"observations are a dict of {', '.join(space.spaces)}"
        raise UserError(what, path, "name some of them in dataset.observation_keys")


def _convertible(space: spaces.Space[Any], target: spaces.Space[Any]) -> bool:
    """Whether actions of ``space`` can be converted to actions of ``target``."""
    if not (isinstance(space, spaces.Box) and isinstance(target, spaces.Box)):
        return isinstance(space, spaces.Discrete) and bool(space == target and space.start == 0)
    if space.shape != target.shape:
        return False
    bounded = space.is_bounded() and target.is_bounded() and bool((space.low < space.high).all())
    return bounded or _same_bounds(space, target)


def _same_bounds(space: spaces.Box, target: spaces.Box) -> bool:
    return bool((space.low == target.low).all() and (space.high == target.high).all())


def _flag(group: h5py.Group, name: str, steps: int) -> bool:
    """Whether the last step is flagged. Raises UserError if an earlier step is."""
    flags = arrays.array(group, name, "biu").astype(bool)
    if len(flags) != steps:
        raise arrays.refusal(group, f"{len(flags)} {name} and {steps} rewards")
    if flags[:-1].any():
        raise arrays.refusal(group, f"it continues after step {flags.argmax()} of its {name}")
    return bool(flags[-1])


def _seed(group: h5py.Group) -> int:
    seed = group.attrs.get("seed", NO_SEED)
    return int(seed) if np.ndim(seed) == 0 and np.asarray(seed).dtype.kind in "iu" else NO_SEED
