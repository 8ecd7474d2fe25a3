"""Open a dataset for training, in memory if it fits, and otherwise with observations on disk.

Both give the same batches. They differ in where observations are stored:

    in memory   one tensor, on the device that trains
    on disk     compressed chunks of the HDF5 file; a batch reads the rows that it needs, so a job's
                memory does not grow with the dataset (`read_ahead` hides the time of reading)

Actions, rewards and returns take a few bytes per step and are always in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from memdt.data.episode_file import read_all_but_observations, read_episodes
from memdt.data.segments import EpisodeTensors
from memdt.errors import UserError

LIMIT = "MEMDT_IN_MEMORY_BYTES"
DEFAULT_LIMIT = 3 * 2**30  # half a million frames of Atari are more, the sets of ViZDoom less
CHUNK_CACHE = 64 * 2**20  # bytes of decompressed chunks that HDF5 caches
Batch = TypeVar("Batch")


def in_memory_bytes() -> int:
    """Return the largest size of observations to hold in memory, in bytes.

    MEMDT_IN_MEMORY_BYTES overrides the default of 3 GiB. Raises UserError if it is not a number.
    """
    text = os.environ.get(LIMIT, "") or str(DEFAULT_LIMIT)
    if not text.isdecimal():
        what = f"{text!r} is not a number of bytes"
        raise UserError(what, LIMIT, f"set it to a number such as {DEFAULT_LIMIT}")
    return int(text)


class ObservationsOnDisk:
    """The observations of a dataset in its file, indexed like a tensor of all steps."""

    def __init__(self, path: Path, selected: Int[np.ndarray, " steps"] | None = None) -> None:
        """Open the file; ``selected``: ascending numbers of the steps to use; None: all."""
        self._dataset = h5py.File(path, "r", locking=False, rdcc_nbytes=CHUNK_CACHE)["observations"]
        self._selected = selected
        self.dtype = self._dataset.dtype
        self.shape = (
            len(self._dataset) if selected is None else len(selected),
            *self._dataset.shape[1:],
        )

    def __getitem__(self, index: Int[Tensor, "*batch time"]) -> Shaped[Tensor, "*batch time ..."]:
        """Read the observations of these steps, which should lie close together along ``time``."""
        steps = index.cpu().numpy()
        steps = steps if self._selected is None else self._selected[steps]
        rows = steps.reshape(-1, steps.shape[-1])
        observations = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        # h5py reads a range much faster than a list of rows, so each row reads its whole range.
        for row, numbers in enumerate(rows):
            first, last = int(numbers.min()), int(numbers.max()) + 1
            observations[row] = self._dataset[first:last][numbers - first]
        # Frames stay bytes, a quarter of the memory; encoders turn them into floats.
        kind = np.uint8 if self.dtype == np.uint8 else np.float32
        tensor = torch.from_numpy(observations.astype(kind, copy=False))
        return tensor.reshape(*steps.shape, *self.shape[1:]).to(index.device)


def open_episodes(
    path: Path,
    settings_digest: str | None,
    remedy: str,
    device: torch.device | str = "cpu",
    fraction: float = 1.0,
    frame_stack: int = 1,
    best_fraction: float = 1.0,
) -> EpisodeTensors:
    """Open the episodes of a dataset, or a share of each of its groups.

    Args:
        path: the HDF5 file.
        settings_digest: of the settings that it must have been made with; None skips this check.
        remedy: what the user should do about a file that is refused.
        device: of the batches.
        fraction: share of each group's episodes, from 0 to 1. A larger share includes every
            smaller one.
        best_fraction: of these, the episodes of the highest returns that hold this share of steps.
        frame_stack: number of consecutive frames, the newest last, that form one observation.

    Raises:
        UserError: the file is missing, damaged, foreign, or was made with other settings.
    """
    lean, size = read_all_but_observations(path, settings_digest, remedy)
    selected = lean.share_of_each_group(fraction)
    # Of the share alone: the best episodes must not be chosen from data that is left out.
    if best_fraction < 1:
        selected = lean.best(best_fraction, selected)
    if size <= in_memory_bytes():
        store = read_episodes(path, settings_digest, remedy, verified=True)
        store = store if selected.all() else store.select(selected)
        return EpisodeTensors.from_store(store, device, frame_stack=frame_stack)
    steps = None if selected.all() else np.flatnonzero(np.repeat(selected, lean.lengths))
    lean = lean if selected.all() else lean.select(selected)
    on_disk = ObservationsOnDisk(path, steps)
    return EpisodeTensors.from_store(lean, device, on_disk, frame_stack=frame_stack)


def read_ahead(batch_of: Callable[[int], Batch]) -> Callable[[int], Batch]:
    """Return a function that gives the same batches, and reads each one ahead of time.

    A thread reads the batch of the next update during the current one. If reading fails, the
    exception is raised when that batch is requested.
    """
    # One thread, because h5py runs one call at a time: a second would only wait.
    reader = ThreadPoolExecutor(1, thread_name_prefix="read ahead")
    pending: dict[int, Future[Batch]] = {}

    def batch(number: int) -> Batch:
        future = pending.pop(number, None) or reader.submit(batch_of, number)
        current = future.result()
        pending.clear()  # a batch that nobody requested would stay in memory
        pending[number + 1] = reader.submit(batch_of, number + 1)
        return current

    return batch
