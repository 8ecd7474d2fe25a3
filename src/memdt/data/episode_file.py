"""The HDF5 file of a dataset: the arrays of an :class:`EpisodeStore`, and attributes.

The same episodes and metadata give the same bytes, however the episodes are divided into parts.

Attributes are text, written as JSON unless they are a single word: ``settings``,
``settings_digest`` and ``source_digest`` (of the step that made the episodes), ``spaces``,
``statistics`` and ``group_names``.
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
WIDE = ("observations", "actions", "labels", "final_observations")  # may have several dimensions


def write_episodes(
    parts: Iterable[EpisodeStore], path: Path | str, metadata: dict[str, Any]
) -> None:
    """Write a dataset atomically, from any number of parts.

    The observations of each part are written as soon as it arrives, so that all frames are never in
    memory at once. The same episodes give the same bytes, however they are divided into parts.

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
        # A simulator that starts meanwhile must not inherit the file, and with it HDF5's lock.
        os.set_inheritable(file.id.get_vfd_handle(), False)
        store = concatenate(_write_observations(file, parts))
        names, codes = np.unique(store.groups, return_inverse=True)
        store = replace(store, groups=codes.astype(np.int32))
        for name in _NAMES[1:]:
            array = getattr(store, name)
            if array is not None:
                _create(file, name, array, len(array))[...] = array
        attributes = {
            **metadata, "group_names": names.tolist(), "statistics": _statistics(file, store)
        }  # fmt: skip
        # Metadata may have been read from a file of another version.
        for key in ("format", "format_version", CONTENT_DIGEST):
            attributes.pop(key, None)
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        # Sorted, because HDF5 stores attributes as they come and equal files need equal bytes.
        for key, value in sorted(attributes.items()):
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            file.attrs[key] = text
        # The digest is taken over stored chunks; those in HDF5's cache are not stored yet.
        file.flush()
        file.attrs[CONTENT_DIGEST] = content_digest(file)


def _checked(
    parts: Iterable[EpisodeStore], path: Path | str, spaces: str | None
) -> Iterator[EpisodeStore]:
    """Check each part before it is written."""
    for part in parts:
        try:
            check_numbers(vars(part))
            check_spaces(vars(part), spaces)
        except NotAllowed as error:
            remedy = "mend the source of the dataset, or its raw files"
            raise UserError(str(error), str(path), remedy) from None
        yield part


def read_episodes(
    path: Path | str, settings_digest: str | None, remedy: str, verified: bool = False
) -> EpisodeStore:
    """Read a dataset, refusing any file that is not exactly the expected one.

    Args:
        path: the HDF5 file.
        settings_digest: of the settings that the dataset must have been made with; None skips
            this check.
        remedy: what a person should do about a file that is refused.
        verified: this process has compared the content with its digest before.

    Raises:
        UserError: the file is missing, damaged, foreign, or was made with other settings.
    """
    with _refusals(path, remedy), _open(path) as file:
        return _read_store(file, settings_digest, lambda dataset: dataset[()], verified)


def read_all_but_observations(
    path: Path | str, settings_digest: str | None, remedy: str
) -> tuple[EpisodeStore, int]:
    """Read a dataset with observations of width 0, and the size of its observations in bytes.

    Raises UserError like :func:`read_episodes`.
    """
    with _refusals(path, remedy), _open(path) as file:
        store = _read_store(file, settings_digest, lambda dataset: np.empty((len(dataset), 0)))
        return store, int(file["observations"].nbytes)


def read_metadata(path: Path | str, remedy: str) -> dict[str, str]:
    """Read the attributes of a dataset as text, without parsing JSON.

    Raises UserError if the file is missing, damaged or foreign.
    """
    with _refusals(path, remedy), _open(path) as file:
        _check_format(file)
        return {key: str(value) for key, value in file.attrs.items()}


def read_statistics(path: Path | str, remedy: str) -> dict[str, Any]:
    """The statistics of all episodes that the file holds.

    Mean, deviation, least and most of ``returns`` and ``lengths``, mean and deviation of each
    dimension of ``observations`` that are vectors. Refuses like :func:`read_episodes`.
    """
    statistics: dict[str, Any] = json.loads(read_metadata(path, remedy)["statistics"])
    return statistics


_NAMES = tuple(field.name for field in fields(EpisodeStore))  # observations first
_OPTIONAL = ("labels",)
_KINDS = "buif"  # bool, unsigned, signed, float: h5py would turn other kinds into Python objects


class _Refused(Exception):
    """The file is not accepted; the message says why."""


@contextlib.contextmanager
def _refusals(path: Path | str, remedy: str) -> Iterator[None]:
    """Turn every error of reading a file into a UserError of one line."""
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
    verified: bool = False,
) -> EpisodeStore:
    _check_format(file)
    actual = file.attrs.get("settings_digest", "none")
    if settings_digest is not None and actual != settings_digest:
        raise _Refused(f"made with settings {actual}, this run asks for {settings_digest}")
    names = [name for name in _NAMES if name in file or name not in _OPTIONAL]
    stored = {name: _numbers(file, name) for name in names}
    arrays = {
        name: observations(dataset) if name == "observations" else dataset[()]
        for name, dataset in stored.items()
    }
    _check_arrays(arrays)
    codes, group_names = arrays["groups"], names_of(file)
    if codes.dtype.kind != "i" or not set(np.unique(codes)) <= set(range(len(group_names))):
        raise _Refused("damaged dataset (a group without a name)")
    arrays["groups"] = group_names[codes]
    if not verified:
        _check_content(file, stored)
    return EpisodeStore(**arrays)


def _open(path: Path | str) -> h5py.File:
    if not Path(path).is_file():
        raise _Refused("there is no dataset")
    if not h5py.is_hdf5(path):
        raise _Refused("not an HDF5 file")
    # Files are renamed into place when they are whole, and some file systems have no locks.
    return h5py.File(path, "r", locking=False)


def _write_observations(file: h5py.File, parts: Iterable[EpisodeStore]) -> Iterator[EpisodeStore]:
    """Write the observations of each part, and return the part with observations of width 0.

    Until the last part, only whole chunks are written, one at a time. The chunks and their order in
    the file therefore do not depend on where one part ends and the next begins.
    """
    dataset: h5py.Dataset | None = None
    for part in parts:
        if dataset is None:
            rest = part.observations[:0]
            dataset = _create(file, "observations", rest, length=None)
        # What did not fill a chunk waits for the next part.
        rest = np.concatenate([rest, part.observations])
        whole = len(rest) - len(rest) % dataset.chunks[0]
        _append(dataset, rest[:whole])
        rest = rest[whole:].copy()  # a view would keep the whole array in memory
        yield replace(part, observations=np.empty((len(part.rewards), 0), np.uint8))
    if dataset is None:
        raise ValueError("a dataset without episodes")
    _append(dataset, rest)


def _append(dataset: h5py.Dataset, array: Shaped[np.ndarray, "rows ..."]) -> None:
    """Add rows to a dataset that ends with a whole chunk, chunk by chunk."""
    for first in range(0, len(array), dataset.chunks[0]):
        chunk = array[first : first + dataset.chunks[0]]
        end = len(dataset) + len(chunk)
        dataset.resize(end, axis=0)
        dataset[end - len(chunk) : end] = chunk


def _statistics(file: h5py.File, store: EpisodeStore) -> dict[str, Any]:
    """Mean, deviation and range of returns and lengths; mean and deviation of vectors observed."""
    statistics: dict[str, Any] = {
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
        statistics["observations"] = {"mean": mean.tolist(), "deviation": deviation.tolist()}
    return statistics


def _moments(
    dataset: h5py.Dataset,
) -> tuple[Shaped[np.ndarray, " width"], Shaped[np.ndarray, " width"]]:
    """Mean and deviation of each column in two passes, chunk by chunk, in float64."""
    total, squares = np.zeros(dataset.shape[1]), np.zeros(dataset.shape[1])
    starts = range(0, len(dataset), dataset.chunks[0])
    for first in starts:
        total += dataset[first : first + dataset.chunks[0]].astype(np.float64).sum(0)
    # Not the mean square less the squared mean, which loses digits where a mean is far from 0.
    mean = total / len(dataset)
    for first in starts:
        squares += ((dataset[first : first + dataset.chunks[0]] - mean) ** 2).sum(0)
    return mean, np.sqrt(squares / len(dataset))


def names_of(file: h5py.File) -> Shaped[np.ndarray, " groups"]:
    """Return the names of the groups; the file stores indices into them."""
    return np.array(json.loads(file.attrs["group_names"]))


def _create(
    file: h5py.File, name: str, like: Shaped[np.ndarray, "rows ..."], length: int | None
) -> h5py.Dataset:
    """Create an array of ``length`` rows to be written later; None: empty, to be extended."""
    if like.dtype.kind not in _KINDS:
        raise TypeError(f"{name}: a dataset holds numbers, not {like.dtype}")
    shape = like.shape[1:]
    row = max(1, like.dtype.itemsize * int(np.prod(shape)))
    rows = max(1, min(CHUNK_BYTES // row, length or CHUNK_BYTES))
    # Fixed filters and no time stamps, so that the same episodes give the same bytes.
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
    """Check that lengths agree and that offsets grow from 0 to the number of steps."""
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
