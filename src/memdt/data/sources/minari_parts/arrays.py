"""What lies in ``main_data.hdf5`` of a Minari data set, checked.

    episode_0   attributes: id, total_steps, seed where there is one
        observations   a row more than there are steps; a group where they are a dict or a tuple
        actions, rewards, terminations, truncations   a row a step
        infos          a group, if any

Source: Minari 0.5.4, ``minari/dataset/_storages/hdf5_storage.py``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from gymnasium import spaces
from jaxtyping import Shaped
from PIL import Image

from memdt.data.sources.minari_parts.metadata import AGAIN
from memdt.data.sources.minari_parts.spaces import Values, is_image
from memdt.errors import UserError

_EPISODE = re.compile(r"episode_(\d+)")


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, to read; UserError where it is missing or damaged, also while it is being read."""
    if not path.is_file():
        raise UserError("there is no such file", str(path), AGAIN)
    if not h5py.is_hdf5(path):
        raise UserError("not an HDF5 file, or cut off", str(path), AGAIN)
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise UserError(f"damaged ({error})", str(path), AGAIN) from None


def episode_count(file: h5py.File) -> int:
    """How many episodes there are, numbered from 0; UserError where one is missing, or all."""
    names = [_EPISODE.fullmatch(name) for name in file]
    numbers = sorted(int(match[1]) for match in names if match)
    if not numbers:
        raise UserError("there is no episode in it", file.filename, AGAIN)
    absent = next((i for i, number in enumerate(numbers) if number != i), None)
    if absent is not None:
        raise UserError(f"episode_{absent} is missing", file.filename, AGAIN)
    return len(numbers)


def lengths(path: Path) -> tuple[int, ...]:
    """Steps of each episode."""
    state = path.stat() if path.is_file() else None
    return _lengths(path, None if state is None else (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=16)
def _lengths(path: Path, state: tuple[int, int] | None) -> tuple[int, ...]:
    """Plans ask for each run on the set; ``state`` tells a file from the one before it."""
    with opened(path) as file:
        groups = [file[f"episode_{number}"] for number in range(episode_count(file))]
        found = [_dataset(group, "rewards").shape for group in groups]
    for number, shape in enumerate(found):
        if len(shape) != 1 or shape[0] == 0:
            what = f"rewards have the shape {shape}: one a step is wanted, and a step"
            raise UserError(what, f"{path}: episode_{number}", AGAIN)
    return tuple(shape[0] for shape in found)


def values(group: h5py.Group, name: str, space: spaces.Space[Any]) -> Values:
    """Rows of a space: an array, or a dict or list of them where the space is made of several."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        below = group.get(name)
        if not isinstance(below, h5py.Group):
            raise refusal(group, f"there is no group {name!r}")
        if isinstance(space, spaces.Dict):
            return {key: values(below, key, one) for key, one in space.items()}
        return [values(below, f"_index_{i}", one) for i, one in enumerate(space)]
    if is_image(space) and _dataset(group, name).shape[1:] != space.shape:
        return _images(group, name, space)
    kinds = "iufb" if isinstance(space, spaces.Box) else "iub"
    return array(group, name, kinds, space.shape or ())


def array(
    group: h5py.Group, name: str, kinds: str, shape: tuple[int, ...] = ()
) -> Shaped[np.ndarray, "rows ..."]:
    """Rows of numbers of one of these kinds (numpy's letters), each of this shape."""
    dataset = _dataset(group, name)
    if dataset.dtype.kind not in kinds or dataset.ndim == 0 or dataset.shape[1:] != shape:
        found = f"{dataset.dtype} of the shape {dataset.shape}"
        raise refusal(group, f"{name} are {found}, each should have the shape {shape}")
    rows: np.ndarray = dataset[()]
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise refusal(group, f"{name} hold a value that is not finite")
    return rows


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    found = group.get(name)
    if isinstance(found, h5py.Group):
        held = ", ".join(found)
        raise refusal(
            group, f"{name} are a group of {held}, but one array by the space in metadata.json"
        )
    if not isinstance(found, h5py.Dataset):
        raise refusal(group, f"there is no array {name!r}")
    return found


def _images(
    group: h5py.Group, name: str, space: spaces.Space[Any]
) -> Shaped[np.ndarray, "rows ..."]:
    """Frames that lie there as JPEG, as Minari stores them unless it is told not to."""
    try:
        frames = [np.array(Image.open(io.BytesIO(one.tobytes()))) for one in group[name]]
    except (OSError, AttributeError) as error:
        raise refusal(group, f"{name} hold no JPEG images ({error})") from None
    if any(frame.shape != space.shape for frame in frames):
        raise refusal(group, f"an image among {name} has not the shape {space.shape}")
    return np.stack(frames)


def refusal(group: h5py.Group, what: str) -> UserError:
    """What is wrong with an episode."""
    return UserError(what, f"{group.file.filename}: {group.name.lstrip('/')}", AGAIN)
