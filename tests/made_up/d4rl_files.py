"""Small files with the layout of D4RL's, and whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
from gymnasium import spaces

from memdt.environments.spaces import Spaces
from memdt.environments.task import Task

WIDTH, ACTIONS = 5, 2


def lab() -> Task:
    """The task that the files are of."""
    known = Spaces(
        spaces.Box(-np.inf, np.inf, (WIDTH,), np.float32), spaces.Box(-1, 1, (ACTIONS,), np.float32)
    )
    return Task(SimpleNamespace(__name__="tests.lab", spaces_of=lambda settings: known), None)


def arrays(lengths, ends, kind="f4", flags=bool):
    """The arrays of a file. ``ends``: t terminal, o timeout, b both, - neither, an episode each."""
    rng, steps = np.random.default_rng(0), sum(lengths)
    offsets = np.append(0, np.cumsum(lengths)).astype(int)
    seen = rng.normal(size=(steps + len(lengths), WIDTH)).astype(kind)
    seen[:, 3:] = 0.0
    rows = np.arange(steps) + np.repeat(np.arange(len(lengths)), lengths)
    contents = {
        "observations": seen[rows],
        "next_observations": seen[rows + 1],
        "actions": rng.uniform(-0.9, 0.9, (steps, ACTIONS)).astype(kind),
        "rewards": np.arange(steps, dtype=kind),
        "terminals": np.zeros(steps, flags),
        "timeouts": np.zeros(steps, flags),
    }
    for last, end in zip(offsets[1:] - 1, ends, strict=True):
        contents["terminals"][last] = end in "tb"
        contents["timeouts"][last] = end in "ob"
    return contents


def write(path: Path, content) -> Path:
    """The file."""
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            file[name] = values
    return path
