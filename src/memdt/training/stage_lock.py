"""One process trains a stage at a time: a lock on its folder that dies with its owner."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from memdt.errors import UserError

WAIT_SECONDS = 10.0  # for a job whose Snakemake was killed to notice

_folders: dict[
    tuple[int, int], int
] = {}  # file descriptors, open for as long as this process lives


def hold_stage(folder: Path) -> bool:
    """Take a stage's folder for this process alone, until it ends; no file is made for it.

    Returns whether it is ours alone: some file systems have no locks. UserError where another
    process holds it, and still does after some seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    status = folder.stat()
    place = (status.st_dev, status.st_ino)
    if place not in _folders:
        handle = os.open(folder, os.O_RDONLY)
        if not _lock(handle, folder):
            return False
        _folders[place] = handle
    return True


def _lock(handle: int, folder: Path) -> bool:
    """Lock an open folder; False where its file system has no locks."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                what = "another process is training this stage"
                raise UserError(what, str(folder), "wait for it, or stop it") from None
            time.sleep(0.2)
        except OSError:
            return False
        else:
            return True
