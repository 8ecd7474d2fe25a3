"""The HDF5 file of a dataset: the arrays of an :class:`EpisodeStore`, and attributes.

The same episodes and metadata give the same bytes, however the episodes were dealt out to parts.

Attributes are text, JSON where it is not a single word: ``settings``, ``settings_digest`` and
``source_digest`` (of what made the episodes), ``spaces``, ``statistics`` and ``group_names``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Shaped

from memdt.data.episode_checks import (
    CONTENT_DIGEST,
    NotAllowed,
    check_numbers,
    check_spaces,
    content_digest,
    is_as_written,
)
from memdt.data.episodes import EpisodeStore, concatenate
from memdt.errors import UserError
from memdt.files import atomic_path

FORMAT = "memdt episodes"
FORMAT_VERSION = 3
CHUNK_BYTES = 2**20  # an HDF5 chunk, before compression
WIDE = ("observations", "actions", "labels", "final_observations")  # of more than one dimension


def write_episodes(
    parts: Iterable[EpisodeStore], path: Path | str, metadata: dict[str, Any]
) -> None:
    """Write a dataset, whole or not at all; its episodes come in any number of parts.

    Each part's observations are written as it comes, so that frames never lie in memory together.
    The same episodes are the same bytes, however they are dealt out to parts.

    ``metadata`` becomes attributes: ``settings_digest`` and ``source_digest`` (of what made the
    episodes), ``settings`` and ``spaces``; what is not a string is written as JSON.

    Raises:
        UserError: a part holds what is no finite number, or what its spaces do not allow.
    """
    parts = _checked(parts, path, metadata.get("spaces"))
    with (
        atomic_path(path) as temporary,
        h5py.File(
            temporary, "w", libver=("v110", "v110"), track_order=False, locking=False
        ) as file,
    ):
        # A simulator that is started meanwhile must not hold the file, nor HDF5's lock on it.
        os.set_inheritable(file.id.get_vfd_handle(), False)
        store = concatenate(_write_observations(file, parts))
        names, codes = np.unique(store.groups, return_inverse=True)
        store = replace(store, groups=codes.astype(np.int32))
        for name in _NAMES[1:]:
            array = getattr(store, name)
            if array is not None:
                _create(file, name, array, len(array))[...] = array
        made = {**metadata, "group_names": names.tolist(), "statistics": _statistics(file, store)}
        for key in (
            "format",
            "format_version",
            CONTENT_DIGEST,
        ):  # of a file that metadata was read from
            made.pop(key, None)
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        for key, value in sorted(made.items()):
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            file.attrs[key] = text
        file.flush()
        file.attrs[CONTENT_DIGEST] = content_digest(file)


def _checked(
    parts: Iterable[EpisodeStore], path: Path | str, spaces: str | None
) -> Iterator[EpisodeStore]:
    """The parts, each looked at before it is written."""
    for part in parts:
        try:
            check_numbers(vars(part))
            check_spaces(vars(part), spaces)
        except NotAllowed as error:
            remedy = "mend the source of the dataset, or its raw files"
            raise UserError(str(error), str(path), remedy) from None
        yield part


def read_episodes(
    path: Path | str, settings_digest: str | None, remedy: str, looked_at: bool = False
) -> EpisodeStore:
    """Read a dataset, refusing any file that is not exactly what is wanted.

    Args:
        path: the HDF5 file.
        settings_digest: of the settings that the dataset must have been made with; None skips
            this check.
        remedy: what a person should do about a file that is refused.
        looked_at: the content was held against its digest before, by this process.

    Raises:
        UserError: the file is missing, damaged, foreign, or was made with other settings.
    """
    with _refusals(path, remedy), _open(path) as file:
        return _read_store(file, settings_digest, lambda dataset: dataset[()], looked_at)


def read_all_but_observations(
    path: Path | str, settings_digest: str | None, remedy: str
) -> tuple[EpisodeStore, int]:
    """The same with observations of no width, and how many bytes the observations take."""
    with _refusals(path, remedy), _open(path) as file:
        store = _read_store(file, settings_digest, lambda dataset: np.empty((len(dataset), 0)))
        return store, int(file["observations"].nbytes)


def read_metadata(path: Path | str, remedy: str) -> dict[str, str]:
    """The attributes of a dataset as text; JSON stays JSON. Refuses like :func:`read_episodes`."""
    with _refusals(path, remedy), _open(path) as file:
        _check_format(file)
        return {key: str(value) for key, value in file.attrs.items()}


_NAMES = tuple(field.name for field in fields(EpisodeStore))  # observations first
_OPTIONAL = ("labels",)
_KINDS = "buif"  # bool, unsigned, signed, float: h5py would turn other kinds into Python objects


class _Refused(Exception):
    """Why a file is not accepted, in words for a person."""


@contextlib.contextmanager
def _refusals(path: Path | str, remedy: str) -> Iterator[None]:
    """Turn whatever is wrong with a file into one line."""
    try:
        yield
    except _Refused as refusal:
        raise UserError(str(refusal), str(path), remedy) from None
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"damaged dataset ({error})", str(path), remedy) from None


def _read_store(
    file: h5py.File,
    settings_digest: str | None,
    observations: Callable[[h5py.Dataset], np.ndarray],
    looked_at: bool = False,
) -> EpisodeStore:
    _check_format(file)
    _check_digest(file, settings_digest)
    names = [name for name in _NAMES if name in file or name not in _OPTIONAL]
    read = {"observations": observations}
    stored = {name: _numbers(file, name) for name in names}
    arrays = {name: read.get(name, _whole)(dataset) for name, dataset in stored.items()}
    _check_arrays(arrays)
    arrays["groups"] = _named(file, arrays["groups"])
    if not looked_at:
        _check_content(file, stored)
    return EpisodeStore(**arrays)


def _whole(dataset: h5py.Dataset) -> Shaped[np.ndarray, "rows ..."]:
    array: np.ndarray = dataset[()]
    return array


def _open(path: Path | str) -> h5py.File:
    if not Path(path).is_file():
        raise _Refused("there is no dataset")
    if not h5py.is_hdf5(path):
        raise _Refused("not an HDF5 file")
    # Files are renamed into place when they are whole, and some file systems have no locks.
    return h5py.File(path, "r", locking=False)


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


def _statistics(file: h5py.File, store: EpisodeStore) -> dict[str, Any]:
    """Mean and standard deviation of returns and lengths, and of observations that are vectors."""
    found: dict[str, Any] = {
        name: {
            "mean": float(values.mean()),
            "deviation": float(values.std()),
            "least": float(values.min()),
            "most": float(values.max()),
        }
        for name, values in {"returns": store.returns, "lengths": store.lengths}.items()
    }
    observations = file["observations"]
    if observations.ndim == 2 and observations.dtype.kind == "f":
        mean, deviation = _moments(observations)
        found["observations"] = {"mean": mean.tolist(), "deviation": deviation.tolist()}
    return found


def _moments(
    dataset: h5py.Dataset,
) -> tuple[Shaped[np.ndarray, " width"], Shaped[np.ndarray, " width"]]:
    """Mean and deviation of each column in two passes, chunk by chunk, in float64."""
    total, squares = np.zeros(dataset.shape[1]), np.zeros(dataset.shape[1])
    starts = range(0, len(dataset), dataset.chunks[0])
    for first in starts:
        total += dataset[first : first + dataset.chunks[0]].astype(np.float64).sum(0)
    mean = total / len(dataset)
    for first in starts:
        squares += ((dataset[first : first + dataset.chunks[0]] - mean) ** 2).sum(0)
    return mean, np.sqrt(squares / len(dataset))


def names_of(file: h5py.File) -> Shaped[np.ndarray, " groups"]:
    """The names of the groups, by the codes that the file keeps."""
    return np.array(json.loads(file.attrs["group_names"]))


def _named(
    file: h5py.File, codes: Shaped[np.ndarray, " episodes"]
) -> Shaped[np.ndarray, " episodes"]:
    names = names_of(file)
    if codes.dtype.kind != "i" or not set(np.unique(codes)) <= set(range(len(names))):
        raise _Refused("damaged dataset (a group without a name)")
    named: np.ndarray = names[codes]
    return named


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


def _numbers(file: h5py.File, name: str) -> h5py.Dataset:
    dataset = file.get(name)
    numbers = isinstance(dataset, h5py.Dataset) and dataset.dtype.kind in _KINDS
    if not numbers or dataset.ndim < 1 or (dataset.ndim > 1 and name not in WIDE):
        raise _Refused(f"damaged dataset (no array of numbers {name!r})")
    return dataset


def _check_format(file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise _Refused("an HDF5 file, but not a dataset of this project")
    version = file.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise _Refused(f"dataset format {version}, this version reads {FORMAT_VERSION}")


def _check_digest(file: h5py.File, wanted: str | None) -> None:
    found = file.attrs.get("settings_digest", "none")
    if wanted is not None and found != wanted:
        raise _Refused(f"made with settings {found}, this run asks for {wanted}")


def _check_content(file: h5py.File, stored: dict[str, h5py.Dataset]) -> None:
    """That the content is what was written; one without a digest is looked at number by number."""
    as_written = is_as_written(file)
    if as_written is False:
        raise _Refused("damaged dataset (its content is not what was written)")
    try:
        if as_written is None:
            check_numbers(stored)
        check_spaces(stored, file.attrs.get("spaces"))
    except NotAllowed as error:
        raise _Refused(str(error)) from None


def _check_arrays(store: dict[str, Shaped[np.ndarray, "rows ..."]]) -> None:
    """That lengths agree and offsets grow from 0 to the number of steps."""
    offsets, steps, episodes = store["offsets"], len(store["rewards"]), len(store["seeds"])
    agree = all(len(store[name]) == steps for name in ("observations", "actions"))
    labels = store.get("labels", store["actions"])
    agree &= labels.shape == store["actions"].shape and labels.dtype == store["actions"].dtype
    of_episodes = (
        "final_observations", "terminated", "truncated", "groups", "later_steps", "later_returns",
    )  # fmt: skip
    agree &= all(len(store[name]) == episodes for name in of_episodes)
    agree &= offsets.dtype.kind == "i"
    borders = len(offsets) == episodes + 1 and offsets[0] == 0 and offsets[-1] == steps
    if not (agree and borders and episodes > 0 and (np.diff(offsets) > 0).all()):
        raise _Refused("damaged dataset (lengths of its arrays disagree)")
