"""Where the episodes of a flat D4RL file begin and end."""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np
from jaxtyping import Bool, Int, Shaped

from memdt.errors import UserError

REMEDY = "fetch the published file again, or mend your own"
ARRAYS = ("observations", "actions", "rewards", "terminals")
OPTIONAL = ("timeouts", "next_observations")
SCALARS = ("rewards", "terminals", "timeouts")  # one number a step


@dataclass(frozen=True)
class Borders:
    """The whole episodes of a file; ``notes`` says what was odd about their borders."""

    ends: Int[np.ndarray, " episodes"]  # the row after each episode's last one
    terminated: Bool[np.ndarray, " episodes"]
    notes: dict[str, str]

    @property
    def offsets(self) -> Int[np.ndarray, " borders"]:
        """The first row of each episode, then the row after the last one."""
        return np.append(0, self.ends)


def find(file: h5py.File, time_limit: int) -> Borders:
    """The borders that flags or, where there are no timeouts, the time limit draw.

    Where both flags stand at a step the episode ended by itself. Steps after the last border are of
    an episode that the end of the file has cut; its return is not known, so they are left out.

    Raises:
        UserError: no episode is whole, or one is longer than the environment allows.
    """
    check_layout(file)
    notes: dict[str, str] = {}
    terminals = column(file, "terminals").astype(bool)
    if "timeouts" in file:
        timeouts = column(file, "timeouts").astype(bool)
    else:
        timeouts = _at_limit(terminals, time_limit)
        notes["timeouts"] = f"not in the file; episodes are cut after {time_limit:,} steps"
    both = int((terminals & timeouts).sum())
    if both:
        notes["both flags"] = f"{both:,} steps are terminal and timed out: taken as terminal"
    ends = np.flatnonzero(terminals | timeouts) + 1
    if not len(ends):
        raise UserError("no step ends an episode", file.filename, REMEDY)
    lengths = np.diff(np.append(0, ends))
    if lengths.max() > time_limit:
        which = int(lengths.argmax())
        what = (
            f"an episode has {lengths[which]:,} steps (from row {ends[which] - lengths[which]:,} "
            f"on), but {time_limit:,} are allowed: a border is missing"
        )
        raise UserError(what, file.filename, f"{REMEDY}, or set dataset.time_limit")
    # Cut by the end of the file: its returns-to-go would lack the rewards after that.
    left = len(terminals) - int(ends[-1])
    if left:
        notes["unfinished episode"] = f"{left:,} steps at the end of the file are left out"
    single = int((lengths == 1).sum())
    if single:
        notes["episodes of one step"] = f"{single:,}"
    return Borders(ends, terminals[ends - 1], notes)


def _at_limit(terminals: Bool[np.ndarray, " rows"], limit: int) -> Bool[np.ndarray, " rows"]:
    """A timeout after every ``limit`` steps without a terminal one."""
    timeouts = np.zeros(len(terminals), dtype=bool)
    begin = 0
    for end in [*(np.flatnonzero(terminals) + 1).tolist(), len(terminals)]:
        timeouts[np.arange(begin + limit - 1, end, limit)] = True
        begin = end
    return timeouts


def check_layout(file: h5py.File) -> None:
    """UserError where an array is missing, is not of numbers, or has too few or too many rows."""
    steps = len(_dataset(file, "rewards"))
    if steps == 0:
        raise UserError("there is no step in it", f"{file.filename}: rewards", REMEDY)
    for name in (*ARRAYS, *(name for name in OPTIONAL if name in file)):
        dataset = _dataset(file, name)
        if len(dataset) != steps:
            what = f"it has {len(dataset):,} rows, rewards have {steps:,}"
            raise UserError(what, f"{file.filename}: {name}", REMEDY)
        if name in SCALARS and dataset.shape not in ((steps,), (steps, 1)):
            what = f"it has the shape {dataset.shape}, but must hold one number per step"
            raise UserError(what, f"{file.filename}: {name}", REMEDY)


def column(file: h5py.File, name: str) -> Shaped[np.ndarray, " rows"]:
    """One number a step; some files have (N, 1) arrays."""
    values: np.ndarray = file[name][()]
    return values.reshape(-1)


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    array = file.get(name)
    if not isinstance(array, h5py.Dataset) or array.dtype.kind not in "biuf" or not array.ndim:
        raise UserError("there is no array of numbers", f"{file.filename}: {name}", REMEDY)
    return array
