"""Checked access to ``main_data.hdf5`` of a Minari data set.

    episode_0   attributes: id, total_steps, seed (optional)
        observations   one row more than there are steps; a group for a dict or a tuple
        actions, rewards, terminations, truncations   one row per step
        infos          a group (optional)

Source: Minari 0.5.4, ``minari/dataset/_storages/hdf5_storage.py``.
"""

from __future__ import annotations

import io
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from gymnasium import spaces
from jaxtyping import Shaped
from PIL import Image

from memdt.data.sources.hdf5 import AGAIN, opened
from memdt.data.sources.minari_parts.spaces import Values, is_image
from memdt.errors import UserError

_EPISODE = re.compile(r"episode_(\d+)")


def episode_count(file: h5py.File) -> int:
    """Return the number of episodes. Raises UserError if there is none or a number is missing."""
    names = [_EPISODE.fullmatch(name) for name in file]
    numbers = sorted(int(match[1]) for match in names if match)
    if not numbers:
        raise UserError("there is no episode in it", file.filename, AGAIN)
    absent = next((i for i, number in enumerate(numbers) if number != i), None)
    if absent is not None:
        raise UserError(f"episode_{absent} is missing", file.filename, AGAIN)
    return len(numbers)


def lengths(path: Path) -> tuple[int, ...]:
    """Return the steps of each episode. Raises UserError if the file is missing or damaged."""
    state = path.stat() if path.is_file() else None
    return _lengths(path, None if state is None else (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=16)
def _lengths(path: Path, state: tuple[int, int] | None) -> tuple[int, ...]:
    """The cached lengths; ``state`` changes if the file does. Plans ask for them in every run."""
    with opened(path) as file:
        groups = [file[f"episode_{number}"] for number in range(episode_count(file))]
        shapes = [_dataset(group, "rewards").shape for group in groups]
    for number, shape in enumerate(shapes):
        if len(shape) != 1 or shape[0] == 0:
            what = f"rewards have the shape {shape}; there must be one per step, and a step"
            raise UserError(what, f"{path}: episode_{number}", AGAIN)
    return tuple(shape[0] for shape in shapes)


def values(group: h5py.Group, name: str, space: spaces.Space[Any]) -> Values:
    """Read values of a space: an array, or a dict or list of values for a Dict or Tuple.

    Raises UserError if the group does not hold values of this space.
    """
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = group.get(name)
        if not isinstance(parts, h5py.Group):
            raise refusal(group, f"there is no group {name!r}")
        if isinstance(space, spaces.Dict):
            return {key: values(parts, key, part) for key, part in space.items()}
        return [values(parts, f"_index_{i}", part) for i, part in enumerate(space)]
    # A set may hold its frames as arrays too, as those that memdt exports do.
    if is_image(space) and _dataset(group, name).shape[1:] != space.shape:
        return _images(group, name, space)
    kinds = "iufb" if isinstance(space, spaces.Box) else "iub"
    return array(group, name, kinds, space.shape or ())


def array(
    group: h5py.Group, name: str, kinds: str, shape: tuple[int, ...] = ()
) -> Shaped[np.ndarray, "rows ..."]:
    """Read rows of numbers.

    Args:
        group: of the episode.
        name: of the array.
        kinds: allowed kinds of numbers, as letters of numpy's ``dtype.kind``.
        shape: of each row.

    Raises:
        UserError: there is no such array, or it holds a value that is not finite.
    """
    dataset = _dataset(group, name)
    if dataset.dtype.kind not in kinds or dataset.ndim == 0 or dataset.shape[1:] != shape:
        actual = f"{dataset.dtype} of the shape {dataset.shape}"
        raise refusal(group, f"{name} are {actual}, each should have the shape {shape}")
    rows: np.ndarray = dataset[()]
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise refusal(group, f"{name} hold a value that is not finite")
    return rows


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    dataset = group.get(name)
    if isinstance(dataset, h5py.Group):
        names = ", ".join(dataset)
        raise refusal(
            group, f"{name} are a group of {names}, but one array by the space in metadata.json"
        )
    if not isinstance(dataset, h5py.Dataset):
        raise refusal(group, f"there is no array {name!r}")
    return dataset


def _images(
    group: h5py.Group, name: str, space: spaces.Space[Any]
) -> Shaped[np.ndarray, "rows ..."]:
    """Decode frames stored as JPEG, which is Minari's default."""
    try:
        frames = [np.array(Image.open(io.BytesIO(data.tobytes()))) for data in group[name]]
    except (OSError, AttributeError) as error:
        raise refusal(group, f"{name} hold no JPEG images ({error})") from None
    if any(frame.shape != space.shape for frame in frames):
        raise refusal(group, f"an image of {name} does not have the shape {space.shape}")
    return np.stack(frames)


def refusal(group: h5py.Group, what: str) -> UserError:
    """Return an error that says what is wrong with an episode."""
    return UserError(what, f"{group.file.filename}: {group.name.lstrip('/')}", AGAIN)
