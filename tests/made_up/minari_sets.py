"""Small data sets in Minari's layout, whole and spoilt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def box(low: Any, high: Any, shape: Sequence[int], dtype: str = "float32") -> dict[str, Any]:
    """A Box as JSON."""
    bounds = {name: np.full(shape, one).tolist() for name, one in (("low", low), ("high", high))}
    return {"type": "Box", "dtype": dtype, "shape": list(shape), **bounds}


class MinariSet:
    """A data set of episodes with 3 numbers to see and 2 to do; rewards of episode i are i."""

    def __init__(self, root: Path, lengths: Sequence[int], identifier: str = "lab/made-v0") -> None:
        self.root, self.identifier = root, identifier
        self.folder = root / identifier / "data"
        self.folder.mkdir(parents=True)
        random = np.random.default_rng(0)
        with h5py.File(self.main, "w") as file:
            for number, steps in enumerate(lengths):
                group = file.create_group(f"episode_{number}")
                group.attrs.update({"id": number, "total_steps": steps, "seed": 100 + number})
                group["observations"] = random.normal(size=(steps + 1, 3))
                group["actions"] = random.uniform(-1, 1, (steps, 2)).astype(np.float32)
                group["rewards"] = np.full(steps, float(number))
                group["terminations"] = np.zeros(steps, bool)
                group["truncations"] = np.arange(steps) == steps - 1
                group.create_group("infos")
        self.metadata.write_text("{}")
        self.tell(
            dataset_id=identifier, total_episodes=len(lengths), total_steps=sum(lengths),
            minari_version="0.5.3", data_format="hdf5",
            observation_space=json.dumps(box(-np.inf, np.inf, (3,), "float64")),
            action_space=json.dumps(box(-1.0, 1.0, (2,))),
        )  # fmt: skip

    @property
    def main(self) -> Path:
        return self.folder / "main_data.hdf5"

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata.json"

    def tell(self, **changed: Any) -> None:
        """Change keys of the metadata; None takes one away."""
        content = {**json.loads(self.metadata.read_text()), **changed}
        kept = {key: value for key, value in content.items() if value is not None}
        self.metadata.write_text(json.dumps(kept))

    def put(self, number: int, **arrays: Any) -> None:
        """Change arrays of an episode; None takes one away, a dict becomes a group."""
        with h5py.File(self.main, "a") as file:
            group = file[f"episode_{number}"]
            for name, array in arrays.items():
                if name in group:
                    del group[name]
                if array is not None:
                    _write(group, name, array)

    def array(self, number: int, name: str) -> np.ndarray:
        with h5py.File(self.main) as file:
            return file[f"episode_{number}"][name][()]


def _write(group: h5py.Group, name: str, array: Any) -> None:
    if not isinstance(array, dict):
        group[name] = array
        return
    below = group.create_group(name)
    for key, one in array.items():
        _write(below, key, one)
