"""Episodes as flat arrays, and the HDF5 file they are kept in. First noun of the flow.

Episodes lie one after the other; ``offsets`` says where each begins (here 4, 2 and 3 steps):

    step          0 1 2 3 | 4 5 | 6 7 8
    offsets       0         4     6       9

The same episodes and metadata give the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from memdt.errors import UserError
from memdt.files import atomic_path

FORMAT = "memdt episodes"
FORMAT_VERSION = 2
NOT_PLAYED = -1  # later steps of an episode that was stopped after those that are kept
CHUNK_BYTES = 2**20  # an HDF5 chunk, before compression


@dataclass(frozen=True, repr=False)
class Episode:
    """One episode, a view into its store."""

    observations: Shaped[np.ndarray, "steps ..."]
    actions: Shaped[np.ndarray, "steps ..."]
    rewards: Float[np.ndarray, " steps"]
    seed: int
    segments: int
    terminated: bool  # False: cut by the time limit

    def __len__(self) -> int:
        """Steps."""
        return len(self.rewards)

    def __repr__(self) -> str:
        observation, action = self.observations.shape[1:], self.actions.shape[1:]
        return (
            f"Episode({len(self)} steps in {self.segments} segments, observation {observation}, "
            f"action {action}, return {self.rewards.sum():g}, seed {self.seed})"
        )


@dataclass(frozen=True, repr=False)
class EpisodeStore:
    """All episodes of a dataset. Step i holds what was seen, then done, then earned for it."""

    observations: Shaped[np.ndarray | h5py.Dataset, "steps ..."]
    actions: Shaped[np.ndarray | h5py.Dataset, "steps ..."]
    rewards: Float[np.ndarray, " steps"]
    offsets: Int[np.ndarray, " borders"]  # first step of each episode, then the number of steps
    seeds: Int[np.ndarray, " episodes"]  # of the environment
    segments: Int[np.ndarray, " episodes"]  # the short last one counted
    terminated: Bool[np.ndarray, " episodes"]  # False: cut by the time limit
    later_steps: Int[np.ndarray, " episodes"]  # after the last one that is kept, or NOT_PLAYED
    later_returns: Float[np.ndarray, " episodes"]  # earned in them, undiscounted; or taken to be
    # What is learnt at each step, where the collector meant something else than it did; None: what
    # it did (Deviation D50).
    labels: Shaped[np.ndarray, "steps ..."] | None = None

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
            seed=int(self.seeds[index]),
            segments=int(self.segments[index]),
            terminated=bool(self.terminated[index]),
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

    def share_of_each(
        self, groups: Sequence[str], fraction: float
    ) -> Bool[np.ndarray, " episodes"]:
        """So many of each group's episodes, at least one, in an order drawn once and for all.

        A larger share holds a smaller one. Drawn, because episodes may lie in order of length.
        """
        names, numbers = np.unique(np.asarray(groups), return_inverse=True)
        chosen = np.zeros(len(self), dtype=bool)
        for number in range(len(names)):
            mine = np.random.default_rng(0).permutation(np.flatnonzero(numbers == number))
            chosen[mine[: int(np.ceil(fraction * len(mine)))]] = True
        return chosen

    def select(self, chosen: Bool[np.ndarray, " episodes"]) -> EpisodeStore:
        """The episodes marked true, in the same order."""
        steps = np.repeat(chosen, self.lengths)
        return EpisodeStore(
            observations=self.observations[steps],
            actions=self.actions[steps],
            rewards=self.rewards[steps],
            offsets=np.append(0, np.cumsum(self.lengths[chosen])),
            seeds=self.seeds[chosen],
            segments=self.segments[chosen],
            terminated=self.terminated[chosen],
            later_steps=self.later_steps[chosen],
            later_returns=self.later_returns[chosen],
            labels=None if self.labels is None else self.labels[steps],
        )


def concatenate(parts: Iterable[EpisodeStore]) -> EpisodeStore:
    """All episodes of several stores, in order."""
    stores = list(parts)
    names = [name for name in _NAMES if getattr(stores[0], name) is not None]
    arrays = {name: np.concatenate([getattr(s, name) for s in stores]) for name in names}
    arrays["offsets"] = np.append(0, np.cumsum(np.concatenate([s.lengths for s in stores])))
    return EpisodeStore(**arrays)


def write_episodes(
    parts: Iterable[EpisodeStore], path: Path | str, metadata: dict[str, Any]
) -> None:
    """Write a dataset, whole or not at all; its episodes come in any number of parts.

    Each part's observations are written as it comes, so that frames never lie in memory together.
    The same episodes are the same bytes, however they are dealt out to parts.

    ``metadata`` becomes attributes: ``settings_digest`` and ``source_digest`` (of what made the
    episodes) and ``settings``; what is not a string is written as JSON.
    """
    with (
        atomic_path(path) as temporary,
        h5py.File(temporary, "w", libver=("v110", "v110"), track_order=False) as file,
    ):
        # A simulator that is started meanwhile must not hold the file, nor HDF5's lock on it.
        os.set_inheritable(file.id.get_vfd_handle(), False)
        store = concatenate(_write_observations(file, parts))
        for name in _NAMES[1:]:
            if getattr(store, name) is not None:
                _write_array(file, name, getattr(store, name))
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        for key, value in sorted(metadata.items()):
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            file.attrs[key] = text


def read_episodes(path: Path | str, settings_digest: str | None, remedy: str) -> EpisodeStore:
    """Read a dataset, refusing any file that is not exactly what is wanted.

    Args:
        path: the HDF5 file.
        settings_digest: of the settings that the dataset must have been collected with; None skips
            this check.
        remedy: what a person should do about a file that is refused.

    Raises:
        UserError: the file is missing, damaged, foreign, or was collected with other settings.
    """
    try:
        with _open(path) as file:
            _check_format(file)
            _check_digest(file, settings_digest)
            names = [name for name in _NAMES if name in file or name not in _OPTIONAL]
            store = {name: _read_array(file, name) for name in names}
        _check_arrays(store)
    except _Refused as refusal:
        raise UserError(str(refusal), str(path), remedy) from None
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(f"damaged dataset ({error})", str(path), remedy) from None
    return EpisodeStore(**store)


def read_metadata(path: Path | str, remedy: str) -> dict[str, str]:
    """The attributes of a dataset as text; JSON stays JSON. Refuses like :func:`read_episodes`."""
    try:
        with _open(path) as file:
            _check_format(file)
            return {key: str(value) for key, value in file.attrs.items()}
    except _Refused as refusal:
        raise UserError(str(refusal), str(path), remedy) from None
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(f"damaged dataset ({error})", str(path), remedy) from None


_NAMES = tuple(field.name for field in fields(EpisodeStore))  # observations first
_OPTIONAL = ("labels",)
_KINDS = "buif"  # bool, unsigned, signed, float: h5py would turn other kinds into Python objects


class _Refused(Exception):
    """Why a file is not accepted, in words for a person."""


def _open(path: Path | str) -> h5py.File:
    if not Path(path).is_file():
        raise _Refused("there is no dataset")
    if not h5py.is_hdf5(path):
        raise _Refused("not an HDF5 file")
    return h5py.File(path, "r")


def _write_observations(file: h5py.File, parts: Iterable[EpisodeStore]) -> Iterator[EpisodeStore]:
    """Write the observations of each part, and give it back with none (of no width).

    Only whole chunks are written before the end, one at a time: so neither chunks nor their order
    in the file depend on where one part ends and the next begins.
    """
    dataset: h5py.Dataset | None = None
    for part in parts:
        if dataset is None:
            waiting = part.observations[:0]
            dataset = _create(file, "observations", waiting, length=None)
        waiting = np.concatenate([waiting, part.observations])
        whole = len(waiting) - len(waiting) % dataset.chunks[0]
        _append(dataset, waiting[:whole])
        waiting = waiting[whole:].copy()  # not a view, which would keep all of it
        yield replace(part, observations=np.empty((len(part.rewards), 0), np.uint8))
    if dataset is None:
        raise ValueError("a dataset without episodes")
    _append(dataset, waiting)


def _append(dataset: h5py.Dataset, array: Shaped[np.ndarray, "rows ..."]) -> None:
    """Add rows to a dataset that ends with a whole chunk, chunk by chunk."""
    for first in range(0, len(array), dataset.chunks[0]):
        chunk = array[first : first + dataset.chunks[0]]
        end = len(dataset) + len(chunk)
        dataset.resize(end, axis=0)
        dataset[end - len(chunk) : end] = chunk


def _write_array(file: h5py.File, name: str, array: Shaped[np.ndarray, "rows ..."]) -> None:
    _create(file, name, array, len(array))[...] = array


def _create(
    file: h5py.File, name: str, like: Shaped[np.ndarray, "rows ..."], length: int | None
) -> h5py.Dataset:
    """An array that is still to be written: of ``length`` rows, or empty and growing (None)."""
    if like.dtype.kind not in _KINDS:
        raise TypeError(f"{name}: a dataset holds numbers, not {like.dtype}")
    shape = like.shape[1:]
    row = max(1, like.dtype.itemsize * int(np.prod(shape)))
    rows = max(1, min(CHUNK_BYTES // row, length or CHUNK_BYTES))
    # Fixed filters and no time stamps: the same episodes are the same bytes. gzip has a checksum.
    return file.create_dataset(
        name, shape=(length or 0, *shape), dtype=like.dtype, chunks=(rows, *shape),
        maxshape=(length, *shape), compression="gzip", compression_opts=4, shuffle=True,
        track_times=False,
    )  # fmt: skip


def _read_array(file: h5py.File, name: str) -> Shaped[np.ndarray, "rows ..."]:
    dataset = file.get(name)
    numbers = isinstance(dataset, h5py.Dataset) and dataset.dtype.kind in _KINDS
    wide = name in ("observations", "actions", "labels")
    if not numbers or dataset.ndim < 1 or (dataset.ndim > 1 and not wide):
        raise _Refused(f"damaged dataset (no array of numbers {name!r})")
    array: np.ndarray = dataset[()]
    return array


def _check_format(file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise _Refused("an HDF5 file, but not a dataset of this project")
    version = file.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise _Refused(f"dataset format {version}, this version reads {FORMAT_VERSION}")


def _check_digest(file: h5py.File, wanted: str | None) -> None:
    found = file.attrs.get("settings_digest", "none")
    if wanted is not None and found != wanted:
        raise _Refused(f"collected with settings {found}, this run asks for {wanted}")


def _check_arrays(store: dict[str, Shaped[np.ndarray, "rows ..."]]) -> None:
    """That lengths agree and offsets grow from 0 to the number of steps."""
    offsets, steps, episodes = store["offsets"], len(store["rewards"]), len(store["seeds"])
    agree = all(len(store[name]) == steps for name in ("observations", "actions"))
    labels = store.get("labels", store["actions"])
    agree &= labels.shape == store["actions"].shape and labels.dtype == store["actions"].dtype
    of_episodes = ("segments", "terminated", "later_steps", "later_returns")
    agree &= all(len(store[name]) == episodes for name in of_episodes)
    agree &= offsets.dtype.kind == "i"
    borders = len(offsets) == episodes + 1 and offsets[0] == 0 and offsets[-1] == steps
    if not (agree and borders and episodes > 0 and (np.diff(offsets) > 0).all()):
        raise _Refused("damaged dataset (lengths of its arrays disagree)")
