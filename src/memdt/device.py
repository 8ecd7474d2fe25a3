"""Choose the device that a step computes on, and report it.

    MEMDT_DEVICE           cpu, cuda, or one card: cuda:1; by default a GPU if there is one
    CUDA_VISIBLE_DEVICES   as a batch system sets it; torch sees no other cards

If torch sees several cards, steps that run in parallel in one folder take one each.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import torch

from memdt.errors import UserError
from memdt.provenance import device_name, threads

VARIABLE = "MEMDT_DEVICE"
LOCKS = Path(".snakemake")
# Messages of torch, cuBLAS and the driver when memory is full; only CUDA's has an exception.
FULL = (
    "not enough memory", "can't allocate memory", "CUDA out of memory",
    "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED",
)  # fmt: skip

_held: list[IO[str]] = []  # the lock of this process's card, for as long as it lives


def default_device() -> torch.device:
    """The device of MEMDT_DEVICE, or else a GPU if there is one, or else the CPU.

    Its name has no number, so that manifests do not depend on which card was free.
    """
    requested = _requested()
    if requested.index is not None and requested.type == "cuda":
        torch.cuda.set_device(requested.index)
    return torch.device(requested.type)


def prepare(what: str, precision: str = "float32") -> None:
    """Choose a device and print it; UserError if it is missing or lacks ``precision``."""
    device = default_device()
    if device.type == "cuda":
        if _requested().index is None:
            _take_free_card()
        if precision == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            reason = f"{device_name(str(device))} does not compute in bfloat16"
            raise UserError(reason, "training.precision", "set it to float32, or use a newer GPU")
    print(f"{what} | {in_words(device)}{batch_job()}", file=sys.stderr, flush=True)


def in_words(device: torch.device) -> str:
    """``cuda: NVIDIA H200, 1 thread``."""
    count = threads()
    return f"{device.type}: {device_name(str(device))}, {count} thread{'' if count == 1 else 's'}"


def batch_job() -> str:
    """`` | node gpu1, job 17`` in a batch system, so that the log shows where the job ran."""
    job = os.environ.get("SLURM_JOB_ID")
    node = os.environ.get("SLURMD_NODENAME") or platform.node()
    return f" | node {node}, job {job}" if job else ""


@contextlib.contextmanager
def naming_what_to_lower(setting: str) -> Iterator[None]:
    """Turn a full memory into one line that names the setting to lower."""
    try:
        yield
    except MemoryError:
        raise UserError("out of memory", "", f"lower {setting}, or the model's sizes") from None
    except RuntimeError as error:  # torch.OutOfMemoryError is one, too
        if not any(words in str(error) for words in FULL):
            raise
        what = f"out of memory on {device_name(str(default_device()))}"
        remedy = f"lower {setting} or the model's sizes, or ask for a larger machine"
        raise UserError(what, "", remedy) from None


def _requested() -> torch.device:
    text = os.environ.get(VARIABLE, "")
    if not text:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        requested = torch.device(text)
    except RuntimeError:
        requested = None
    if requested is None or requested.type not in ("cpu", "cuda"):
        raise UserError(f"{text!r} is no device", VARIABLE, "cpu, cuda or cuda:1")
    if requested.type == "cuda" and (requested.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        seen = f"torch {torch.__version__} sees {count or 'no'} GPU{'' if count == 1 else 's'}"
        raise UserError(f"there is no {text}: {seen}", VARIABLE, "memdt doctor says what is there")
    return requested


def _take_free_card() -> None:
    """Take the first card that no other step of this folder holds, or the first of all."""
    count = torch.cuda.device_count()
    if count < 2 or _held or not LOCKS.is_dir():
        return
    for index in range(count):
        card = torch.cuda.get_device_properties(index).uuid
        file = (LOCKS / f"gpu_{card}.lock").open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        _held.append(file)
        torch.cuda.set_device(index)
        return
