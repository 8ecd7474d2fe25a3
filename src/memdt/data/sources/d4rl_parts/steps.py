"""Read the steps of a D4RL file in parts, and check them."""

from __future__ import annotations

from dataclasses import dataclass, field

import h5py
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, Shaped

from memdt.data.episodes import NO_SEED, EpisodeStore
from memdt.data.sources.d4rl_parts.borders import REMEDY, SCALARS, Borders
from memdt.environments.spaces import Spaces
from memdt.environments.task import ALL
from memdt.errors import UserError

CLOSE = 1e-5  # in float32: infos hold the simulator's float64


@dataclass
class StepReader:
    """Reads the steps of episodes and counts irregularities."""

    file: h5py.File
    borders: Borders
    task_spaces: Spaces
    outside: int = 0  # actions beyond the bounds of their space
    farthest: float = 0.0  # beyond a bound
    at_bounds: int = 0  # actions exactly at one
    jumps: int = 0  # steps whose next observation is not the row below
    first_jump: int = 0
    low: Float[np.ndarray, " width"] | None = field(default=None, init=False)
    high: Float[np.ndarray, " width"] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        arrays = {"observations": self.task_spaces.observation, "actions": self.task_spaces.action}
        for name, space in arrays.items():
            assert isinstance(space, spaces.Box)
            shape = self.file[name].shape[1:]
            if shape != space.shape:
                what = f"they have the shape {shape}, those of the environment {space.shape}"
                remedy = "is dataset.id a set of this environment?"
                raise UserError(what, f"{self.file.filename}: {name}", remedy)

    def part(self, first: int, last: int) -> EpisodeStore:
        """The episodes from ``first`` up to, but not including, ``last``."""
        offsets = self.borders.offsets[first : last + 1]
        rows = slice(int(offsets[0]), int(offsets[-1]))
        observations = self._numbers("observations", rows)
        rewards = self._numbers("rewards", rows).reshape(-1)
        ends = offsets[1:] - rows.start
        terminated = self.borders.terminated[first:last]
        count = last - first
        # Over all parts, to note the dimensions that never change.
        low, high = observations.min(axis=0), observations.max(axis=0)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        return EpisodeStore(
            observations=observations,
            actions=self._actions(rows),
            rewards=rewards,
            offsets=offsets - rows.start,
            final_observations=self._final(observations, rows, ends),
            terminated=terminated,
            truncated=~terminated,
            seeds=np.full(count, NO_SEED, np.int64),
            groups=np.full(count, ALL),
            later_steps=np.zeros(count, np.int64),
            later_returns=np.zeros(count),
        )

    def _numbers(self, name: str, rows: slice) -> Float[np.ndarray, "rows ..."]:
        """These rows as float32; UserError if one is not finite."""
        values: np.ndarray = self.file[name][rows].astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
        if len(bad):
            what = f"step {rows.start + int(bad[0]):,} is not finite"
            raise UserError(what, f"{self.file.filename}: {name}", REMEDY)
        return values

    def _actions(self, rows: slice) -> Float[np.ndarray, "rows actions"]:
        """Actions clipped to the bounds of their space, as the simulator does itself."""
        space = self.task_spaces.action
        assert isinstance(space, spaces.Box)
        actions = self._numbers("actions", rows)
        beyond = np.maximum(actions - space.high, space.low - actions).max(axis=1)
        self.outside += int((beyond > 0).sum())
        self.at_bounds += int((beyond == 0).sum())
        self.farthest = max(self.farthest, float(beyond.max()))
        within: np.ndarray = np.clip(actions, space.low, space.high)
        return within

    def _final(
        self,
        observations: Float[np.ndarray, "rows width"],
        rows: slice,
        ends: Shaped[np.ndarray, " episodes"],
    ) -> Float[np.ndarray, "episodes width"]:
        """The observation after each episode's last step, or before it if the file has no other."""
        if "next_observations" not in self.file:
            last: np.ndarray = observations[ends - 1]
            return last
        following = self._numbers("next_observations", rows)
        inside = np.ones(len(observations), dtype=bool)
        inside[ends - 1] = False
        inside = np.flatnonzero(inside)
        jumps = inside[(following[inside] != observations[inside + 1]).any(axis=1)]
        if len(jumps) and not self.jumps:
            self.first_jump = rows.start + int(jumps[0])
        self.jumps += len(jumps)
        final: np.ndarray = following[ends - 1]
        return final

    def notes(self) -> dict[str, str]:
        """Irregularities and how they were handled; complete once all parts are read."""
        notes = dict(self.borders.notes)
        columns = [name for name in SCALARS if name in self.file and self.file[name].ndim == 2]
        if columns:
            notes["arrays of one column"] = f"{', '.join(columns)}: read as one number a step"
        if self.outside:
            notes["actions out of bounds"] = (
                f"{self.outside:,} steps, by {self.farthest:.3g} at most: cut off at the bounds"
            )
        if self.at_bounds:
            notes["actions at a bound"] = f"{self.at_bounds:,} steps; a tanh never gets there"
        if self.jumps:
            notes["next observations"] = (
                f"differ from the row below in {self.jumps:,} steps inside of episodes, "
                f"first in row {self.first_jump:,}"
            )
        elif "next_observations" not in self.file:
            notes["next observations"] = "not in the file; the last one stands for what followed"
        assert self.low is not None
        constant = np.flatnonzero(self.low == self.high).tolist()
        if constant:
            notes["constant observations"] = f"dimensions {constant}"
        return notes | state_notes(self.file) | policy_notes(self.file)


def state_notes(file: h5py.File) -> dict[str, str]:
    """Whether ``infos/qpos`` and ``qvel`` hold the state before or after the step.

    ``collect_data.py`` of D4RL records them before the step; the published v2 files
    hold those after it.
    """
    if "infos/qpos" not in file or "infos/qvel" not in file or "next_observations" not in file:
        return {}
    rows = slice(0, 1000)
    positions = file["infos/qpos"][rows]
    width = file["observations"].shape[1]
    kept = width - file["infos/qvel"].shape[1]  # the first positions are hidden from the policy
    shown = positions[:, positions.shape[1] - kept :] if kept > 0 else positions[:, :0]
    if not shown.shape[1]:
        return {}
    for name, word in (("observations", "before"), ("next_observations", "after")):
        if np.allclose(shown, file[name][rows][:, : shown.shape[1]], atol=CLOSE):
            return {"infos/qpos": f"the state {word} each step"}
    return {"infos/qpos": "neither the state before nor after each step"}


def policy_notes(file: h5py.File) -> dict[str, str]:
    """The policy that collected the data, if the file names it."""
    names = ("metadata/algorithm", "metadata/iteration")
    values = [file[name][()] for name in names if name in file]
    words = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
    return {"behaviour policy": " of iteration ".join(words)} if words else {}
