"""Open a dataset for training: in memory where it fits, else with observations left on disk.

Both give the same batches. What differs is where observations lie:

    in memory   one tensor, on the device that trains
    on disk     compressed chunks of the HDF5 file; a batch reads the stretches that it needs, so
                the memory of a job does not grow with the dataset (`read_ahead` hides the waiting)

Actions, rewards and returns are a few bytes a step and always in memory.
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
DEFAULT_LIMIT = 4 * 2**30
CHUNK_CACHE = 64 * 2**20  # bytes of decompressed chunks that HDF5 keeps
Batch = TypeVar("Batch")


def in_memory_bytes() -> int:
    """How large observations may be to be held in memory; MEMDT_IN_MEMORY_BYTES says otherwise."""
    text = os.environ.get(LIMIT, "") or str(DEFAULT_LIMIT)
    if not text.isdecimal():
        raise UserError(f"{text!r} is no number of bytes", LIMIT, f"such as {DEFAULT_LIMIT}")
    return int(text)


class ObservationsOnDisk:
    """The observations of a dataset in its file, indexed like a tensor of all steps."""

    def __init__(self, path: Path, chosen: Int[np.ndarray, " steps"] | None = None) -> None:
        """``chosen``: numbers of the steps that count, ascending; None: all."""
        self._dataset = h5py.File(path, "r", locking=False, rdcc_nbytes=CHUNK_CACHE)["observations"]
        self._chosen = chosen
        self.dtype = self._dataset.dtype
        self.shape = (
            len(self._dataset) if chosen is None else len(chosen),
            *self._dataset.shape[1:],
        )

    def __getitem__(self, index: Int[Tensor, "*batch time"]) -> Shaped[Tensor, "*batch time ..."]:
        """The observations of these steps. Along ``time`` they should lie close together."""
        steps = index.cpu().numpy()
        steps = steps if self._chosen is None else self._chosen[steps]
        rows = steps.reshape(-1, steps.shape[-1])
        read = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        for row, wanted in enumerate(rows):
            first, last = int(wanted.min()), int(wanted.max()) + 1
            read[row] = self._dataset[first:last][wanted - first]
        kind = np.uint8 if self.dtype == np.uint8 else np.float32
        tensor = torch.from_numpy(read.astype(kind, copy=False))
        return tensor.reshape(*steps.shape, *self.shape[1:]).to(index.device)


def open_episodes(
    path: Path,
    settings_digest: str | None,
    remedy: str,
    device: torch.device | str = "cpu",
    fraction: float = 1.0,
    frame_stack: int = 1,
) -> EpisodeTensors:
    """The episodes of a dataset, or a share of those of each of its groups.

    Args:
        path: the file.
        settings_digest: of the settings that it must have been made with; None skips this check.
        remedy: what a person should do about a file that is refused.
        device: where batches are wanted.
        fraction: share of each group's episodes; a larger share holds a smaller one.
        frame_stack: so many frames, the newest last, are one observation; joined when read.

    Raises:
        UserError: the file is missing, damaged, foreign, or was made with other settings.
    """
    lean, size = read_all_but_observations(path, settings_digest, remedy)
    chosen = lean.share_of_each_group(fraction)
    if size <= in_memory_bytes():
        store = read_episodes(path, settings_digest, remedy, looked_at=True)
        store = store if chosen.all() else store.select(chosen)
        return EpisodeTensors.from_store(store, device, frame_stack=frame_stack)
    steps = None if chosen.all() else np.flatnonzero(np.repeat(chosen, lean.lengths))
    lean = lean if chosen.all() else lean.select(chosen)
    on_disk = ObservationsOnDisk(path, steps)
    return EpisodeTensors.from_store(lean, device, on_disk, frame_stack=frame_stack)


def read_ahead(batch_of: Callable[[int], Batch]) -> Callable[[int], Batch]:
    """The same function of an update's number; the next batch is read while one is trained on.

    Whatever the function raises comes when that batch is asked for.
    """
    reader = ThreadPoolExecutor(1, thread_name_prefix="read ahead")
    waiting: dict[int, Future[Batch]] = {}

    def batch(number: int) -> Batch:
        pending = waiting.pop(number, None) or reader.submit(batch_of, number)
        answer = pending.result()
        waiting.clear()
        waiting[number + 1] = reader.submit(batch_of, number + 1)
        return answer

    return batch
