"""Whether a dataset holds what was written to it, and numbers that its spaces allow.

Its content digest, an attribute of the file, is a SHA-256 over names, types, shapes, the stored
(compressed) bytes of every array and the other attributes: about a second for a gigabyte, and no
array need be held. What it vouches for was checked when it was written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np
from jaxtyping import Shaped

CONTENT_DIGEST = "content_digest"
ROWS_BYTES = 2**26  # of an array that is looked at piece by piece


class NotAllowed(Exception):
    """Why arrays are no episodes of these spaces, in words for a person."""


def content_digest(file: h5py.File) -> str:
    """64 hexadecimal digits that stand for everything in a dataset but this digest itself."""
    digest = hashlib.sha256()
    for name in sorted(file):
        dataset = file[name]
        digest.update(f"{name} {dataset.dtype.str} {dataset.shape}\n".encode())
        for stored in _stored(dataset):
            digest.update(stored)
    attributes = {key: str(value) for key, value in file.attrs.items() if key != CONTENT_DIGEST}
    digest.update(json.dumps(attributes, sort_keys=True).encode())
    return digest.hexdigest()


def is_as_written(file: h5py.File) -> bool | None:
    """Whether a dataset is what its content digest stands for; None where it has none."""
    expected = file.attrs.get(CONTENT_DIGEST)
    return None if expected is None else bool(expected == content_digest(file))


def _stored(dataset: h5py.Dataset) -> Iterator[bytes]:
    """The bytes of an array as they lie in the file, chunk by chunk where it has chunks."""
    if dataset.chunks is None:
        yield from (piece.tobytes() for piece in _pieces(dataset))
        return
    count = dataset.id.get_num_chunks()
    # Sorted, because HDF5 promises no order in which it lists chunks.
    offsets = sorted(dataset.id.get_chunk_info(index).chunk_offset for index in range(count))
    for offset in offsets:
        yield dataset.id.read_direct_chunk(offset)[1]


def check_numbers(arrays: Mapping[str, Any]) -> None:
    """NotAllowed where an array of floats holds NaN or infinity; None stands for no array."""
    for name, array in arrays.items():
        if array is None or array.dtype.kind != "f":
            continue
        first = 0
        for piece in _pieces(array):
            finite = np.isfinite(piece).reshape(len(piece), -1).all(axis=1)
            if not finite.all():
                row = first + int(np.flatnonzero(~finite)[0])
                raise NotAllowed(
                    f"{name} holds a value that is no finite number, first in row {row}"
                )
            first += len(piece)


def check_spaces(arrays: Mapping[str, Any], spaces: str | None) -> None:
    """NotAllowed where observations or actions are not of the spaces, given as JSON."""
    described = json.loads(spaces) if spaces else {}
    for name in ("actions", "labels"):
        if arrays.get(name) is not None:
            _check_array(name, arrays[name], described.get("action", {}))
    for name in ("observations", "final_observations"):
        if arrays[name].shape[1:] != (0,):  # left out, to be read later
            _check_array(name, arrays[name], described.get("observation", {}))


def _check_array(name: str, array: Any, space: Mapping[str, Any]) -> None:
    kind = space.get("type")
    if kind == "Discrete":
        low, high = space["start"], space["start"] + space["n"]
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise NotAllowed(f"{name} should be whole numbers, one a step")
        if len(array) and not (low <= np.min(array[()]) and np.max(array[()]) < high):
            raise NotAllowed(f"{name} should lie between {low} and {high - 1}")
    elif kind == "Box":
        shape = tuple(space["shape"])
        if array.shape[1:] != shape:
            raise NotAllowed(f"{name} are of shape {array.shape[1:]}, the space of {shape}")
        # Readers turn every other type into float32, so that only frames have to agree.
        if (array.dtype == np.uint8) != (space["dtype"] == "uint8"):
            raise NotAllowed(f"{name} are {array.dtype}, the space says {space['dtype']}")


def _pieces(array: Any) -> Iterator[Shaped[np.ndarray, "rows ..."]]:
    """An array or a dataset in pieces that fit into memory."""
    row = max(1, array.dtype.itemsize * int(np.prod(array.shape[1:])))
    rows = max(1, ROWS_BYTES // row)
    for first in range(0, len(array), rows):
        yield np.asarray(array[first : first + rows])
