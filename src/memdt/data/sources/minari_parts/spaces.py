"""Spaces as Minari writes them to ``metadata.json``, and their values as vectors.

Source: ``minari/serialization.py`` of Minari 0.5.4.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Int, Shaped

Values = Any  # an array, or a dict or sequence of values for a Dict or Tuple space

IMAGE_SIDE = 32  # pixels; Minari does not treat smaller arrays as images


def as_json(space: spaces.Space[Any]) -> str:
    """Return the space as JSON text.

    Raises:
        TypeError: the space is neither a Box nor a Discrete space.
    """
    if isinstance(space, spaces.Box):
        content: dict[str, Any] = {
            "type": "Box",
            "dtype": str(space.dtype),
            "shape": list(space.shape),
            "low": space.low.tolist(),
            "high": space.high.tolist(),
        }
    elif isinstance(space, spaces.Discrete):
        content = {"type": "Discrete", "dtype": "int64", "start": int(space.start)}
        content["n"] = int(space.n)
    else:
        raise TypeError(f"a {type(space).__name__} space is not exported")
    return json.dumps(content)


def from_json(content: Any) -> spaces.Space[Any]:
    """Return the space that JSON text, or the mapping in it, describes.

    Raises:
        ValueError, KeyError, TypeError: the description is invalid or of an unsupported type.
    """
    fields = json.loads(content) if isinstance(content, str) else dict(content)
    kind = fields["type"]
    if kind == "Box":
        low, high = (np.array(fields[name], dtype=fields["dtype"]) for name in ("low", "high"))
        return spaces.Box(low, high, tuple(fields["shape"]), np.dtype(fields["dtype"]).type)
    if kind == "Discrete":
        return spaces.Discrete(fields["n"], start=fields["start"])
    if kind == "MultiBinary":
        return spaces.MultiBinary(fields["n"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(np.array(fields["nvec"]), start=np.array(fields["start"]))
    if kind == "Dict":
        return spaces.Dict({key: from_json(part) for key, part in fields["subspaces"].items()})
    if kind == "Tuple":
        return spaces.Tuple([from_json(part) for part in fields["subspaces"]])
    raise ValueError(f"a {kind} space is not read")


def is_image(space: spaces.Space[Any]) -> bool:
    """Whether Minari treats values of this space as images, which it stores as JPEG by default."""
    if not isinstance(space, spaces.Box) or len(space.shape) not in (2, 3):
        return False
    full_range = bool((space.low == 0).all() and (space.high == 255).all())
    return space.dtype == np.uint8 and min(space.shape[:2]) >= IMAGE_SIDE and full_range


def selected(space: spaces.Space[Any], keys: Sequence[str] | None) -> spaces.Space[Any]:
    """Return the part of a Dict space that the keys name, or the space itself without keys."""
    if keys is None or not isinstance(space, spaces.Dict):
        return space
    return spaces.Dict({key: space[key] for key in keys}, sort_keys=space.sort_keys)


def flattened_shape(space: spaces.Space[Any]) -> tuple[int, ...]:
    """Return the shape of a row of :func:`flattened`."""
    if isinstance(space, spaces.Box) and len(space.shape) in (1, 3):
        return space.shape
    return spaces.flatten_space(space).shape or ()


def flattened(space: spaces.Space[Any], values: Values) -> Shaped[np.ndarray, "rows ..."]:
    """Return values as vectors, one row for each, like ``gymnasium.spaces.flatten``.

    Vectors and frames are returned unchanged.

    >>> flattened(spaces.Discrete(3), np.array([2, 0]))
    array([[0, 0, 1],
           [1, 0, 0]])

    Raises:
        ValueError: the values are not in this space.
    """
    if isinstance(space, spaces.Box):
        rows: np.ndarray = values
        return rows if len(space.shape) in (1, 3) else rows.reshape(len(rows), -1)
    if isinstance(space, spaces.Discrete):
        return _one_hot(int(space.n), values - space.start)
    if isinstance(space, spaces.MultiDiscrete):
        columns = (values - space.start).reshape(len(values), -1).T
        pairs = zip(space.nvec.ravel().tolist(), columns, strict=True)
        return np.concatenate([_one_hot(*pair) for pair in pairs], axis=1)
    if isinstance(space, spaces.Dict):
        parts = [flattened(subspace, values[key]) for key, subspace in space.items()]
    elif isinstance(space, spaces.Tuple):
        parts = [flattened(subspace, part) for subspace, part in zip(space, values, strict=True)]
    else:
        parts = [values]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def _one_hot(count: int, choices: Int[np.ndarray, " rows"]) -> Int[np.ndarray, "rows choices"]:
    if not (choices.min() >= 0 and choices.max() < count):
        raise ValueError(f"a choice is not among {count}")
    rows: np.ndarray = np.eye(count, dtype=np.int64)[choices]
    return rows
