"""A local Minari data set in HDF5, as people record it or ``minari download`` fetches it.

Observations and actions become those of the task: a dict is joined to a vector, numbers of choices
become zeros and ones, and actions are brought from the bounds of the set to those of the task. The
environment must do the same to what a policy sees and does; ``gymnasium`` does.

Read by h5py alone: the package ``minari`` need not be installed.
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
from memdt.data.sources.minari_parts.spaces import chosen, flattened, flattened_shape
from memdt.data.sources.record import Record
from memdt.data.sources.size import RawFile, Size
from memdt.environments.task import ALL, Task
from memdt.errors import UserError
from memdt.progress import Progress
from memdt.settings.schema import Frozen

PART_BYTES = 2**24  # observations that are handed on together


class Settings(Frozen):
    """Which data set, and which of its arrays."""

    source: str
    id: str = Field(description="of the data set, such as cartpole/scripted-v0")
    root: str = Field(
        default="data/raw/minari",
        description="the folder that holds it; MINARI_DATASETS_PATH of the package minari",
    )
    observation_keys: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="arrays of a dict observation that are joined to one vector, in the order of "
        "their names; null where observations are no dict",
    )
    labels: str | None = Field(
        default=None,
        description="an array under infos that is learnt instead of the actions; null: none",
    )


def raw_files(settings: Settings) -> list[RawFile]:
    """Both files of the set; UserError where one is missing, damaged or of another version."""
    folder = folder_of(settings.root, settings.id)
    read_metadata(folder)
    arrays.lengths(folder / MAIN)
    return [RawFile(folder / METADATA), RawFile(folder / MAIN)]


def expected(settings: Settings) -> Size:
    """The lengths that the set has; nothing where it is not there yet."""
    path = folder_of(settings.root, settings.id) / MAIN
    if not path.exists():
        return Size(())
    return Size(tuple(sorted(Counter(arrays.lengths(path)).items())))


def check(task: Task, settings: Settings) -> None:
    """UserError where the set is not one of this task, as far as its first episode tells."""
    reader = _Reader(task, settings)
    with opened(reader.path) as file:
        reader.episode(file["episode_0"])


def episodes(
    task: Task, settings: Settings, files: Sequence[Path], record: Record
) -> Iterator[EpisodeStore]:
    """All episodes, in the order of their numbers.

    Raises:
        UserError: the set is damaged, or is not one of this task.
    """
    reader = _Reader(task, settings)
    with opened(reader.path) as file:
        count = arrays.episode_count(file)
        progress = Progress(f"read {settings.id}", count, unit="episodes")
        part: list[EpisodeStore] = []
        for number in range(count):
            part.append(reader.episode(file[f"episode_{number}"]))
            size = sum(one.observations.nbytes for one in part)
            if size >= PART_BYTES or number == count - 1:
                yield concatenate(part)
                part = []
            progress.update(number + 1)
    reader.note_oddities()


class _Reader:
    """Turns the episodes of a set into episodes of the task."""

    def __init__(self, task: Task, settings: Settings) -> None:
        metadata = read_metadata(folder_of(settings.root, settings.id))
        self.path, self.labels = metadata.path.with_name(MAIN), settings.labels
        self.metadata = metadata
        self.steps = self.without_last = 0
        _check_keys(metadata, settings.observation_keys)
        self.observation = chosen(metadata.observation, settings.observation_keys)
        self.action, self.wanted = metadata.action, task.spaces
        remedy = f"is this a set of {task.name} with these parameters?"
        found, wanted = flattened_shape(self.observation), self.wanted.observation.shape
        if found != wanted:
            what = f"observations have the shape {found}, those of the environment {wanted}"
            raise UserError(what, str(metadata.path), remedy)
        if not _alike(self.action, self.wanted.action):
            what = f"actions are {self.action}, those of the environment {self.wanted.action}"
            raise UserError(what, str(metadata.path), remedy)

    def episode(self, group: h5py.Group) -> EpisodeStore:
        """One episode, checked."""
        rewards = arrays.array(group, "rewards", "iuf").astype(np.float32)
        steps = len(rewards)
        observations = self._observations(group, steps)
        labels = None
        if self.labels is not None:
            labels = self._actions(group.get("infos", group), self.labels, steps)
        self.steps += steps
        terminated = _flag(group, "terminations", steps)
        cut = _flag(group, "truncations", steps) or not terminated
        return EpisodeStore(
            observations=observations[:steps],
            actions=self._actions(group, "actions", steps),
            rewards=rewards,
            offsets=np.array([0, steps]),
            final_observations=observations[-1:],
            # Attributes of the whole episode, where only its first steps are in the set.
            terminated=np.array([bool(group.attrs.get("terminated", terminated))]),
            truncated=np.array([bool(group.attrs.get("truncated", cut))]),
            seeds=np.array([_seed(group)], np.int64),
            groups=np.array([str(group.attrs.get("group", ALL))]),
            later_steps=np.array([int(group.attrs.get("later_steps", 0))], np.int64),
            later_returns=np.array([float(group.attrs.get("later_return", 0.0))]),
            labels=labels,
        )

    def _observations(self, group: h5py.Group, steps: int) -> Shaped[np.ndarray, "rows ..."]:
        """One for each step, and the one after the last action."""
        found = arrays.values(group, "observations", self.observation)
        try:
            rows = flattened(self.observation, found)
        except (IndexError, ValueError) as error:
            raise arrays.refusal(group, f"observations are not of their space ({error})") from None
        rows = rows.astype(self.wanted.observation.dtype, copy=False)
        if len(rows) == steps:  # some sets lack it (Minari's issue 199)
            self.without_last += 1
            return np.concatenate([rows, rows[-1:]])
        if len(rows) != steps + 1:
            what = f"{len(rows)} observations and {steps} rewards; one more is wanted"
            raise arrays.refusal(group, what)
        return rows

    def _actions(self, group: h5py.Group, name: str, steps: int) -> Shaped[np.ndarray, "steps ..."]:
        """Actions of the set as those of the task."""
        space, wanted = self.action, self.wanted.action
        rows: np.ndarray = arrays.values(group, name, space)
        if len(rows) != steps and (name == "actions" or len(rows) != steps + 1):
            raise arrays.refusal(group, f"{len(rows)} {name} and {steps} rewards")
        rows = rows[:steps]  # of infos there is one beside each observation
        if isinstance(space, spaces.Discrete):
            if not (rows.min() >= 0 and rows.max() < space.n):
                raise arrays.refusal(group, f"{name} are not all among 0 .. {space.n - 1}")
            return rows.astype(np.int64)
        assert isinstance(space, spaces.Box)
        assert isinstance(wanted, spaces.Box)
        if not _same_bounds(space, wanted):
            share = (rows - space.low) / (space.high - space.low)
            rows = wanted.low + share * (wanted.high - wanted.low)
        return rows.astype(wanted.dtype)

    def note_oddities(self) -> None:
        """Tell what was read otherwise than the set says, a line each."""
        told = self.metadata.steps
        if told is not None and told != self.steps:
            print(
                f"note: {self.metadata.path} says {told} steps, the episodes have {self.steps}",
                file=sys.stderr,
            )
        if self.without_last:
            print(
                f"note: {self.path}: episodes without an observation after their last action: "
                f"{self.without_last}; the one before it stands for it",
                file=sys.stderr,
            )


def _check_keys(metadata: Metadata, keys: Sequence[str] | None) -> None:
    space, where = metadata.observation, str(metadata.path)
    if not isinstance(space, spaces.Dict):
        if keys is not None:
            raise UserError("observations are no dict", where, "leave observation_keys out")
        return
    if keys is None or not set(keys) <= set(space.spaces):
        what = f"observations are a dict of {', '.join(space.spaces)}"
        raise UserError(what, where, "name some of them in dataset.observation_keys")


def _alike(found: spaces.Space[Any], wanted: spaces.Space[Any]) -> bool:
    """Whether actions of one space can be brought to the other."""
    if not (isinstance(found, spaces.Box) and isinstance(wanted, spaces.Box)):
        return isinstance(found, spaces.Discrete) and bool(found == wanted and found.start == 0)
    if found.shape != wanted.shape:
        return False
    bounded = found.is_bounded() and wanted.is_bounded() and bool((found.low < found.high).all())
    return bounded or _same_bounds(found, wanted)


def _same_bounds(found: spaces.Box, wanted: spaces.Box) -> bool:
    return bool((found.low == wanted.low).all() and (found.high == wanted.high).all())


def _flag(group: h5py.Group, name: str, steps: int) -> bool:
    """Whether the last step is marked; no step before it may be."""
    flags = arrays.array(group, name, "biu").astype(bool)
    if len(flags) != steps:
        raise arrays.refusal(group, f"{len(flags)} {name} and {steps} rewards")
    if flags[:-1].any():
        raise arrays.refusal(group, f"it goes on after step {flags.argmax()} of its {name}")
    return bool(flags[-1])


def _seed(group: h5py.Group) -> int:
    seed = group.attrs.get("seed", NO_SEED)
    return int(seed) if np.ndim(seed) == 0 and np.asarray(seed).dtype.kind in "iu" else NO_SEED
