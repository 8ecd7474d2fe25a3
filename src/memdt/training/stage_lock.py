"""A lock on a stage's folder, so that only one process trains it; it ends with that process."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from memdt.errors import UserError

WAIT_SECONDS = 10.0  # enough for a job to notice that its Snakemake was killed

# File descriptors by device and inode. They stay open, as closing one would release its lock.
_descriptors: dict[tuple[int, int], int] = {}


def hold_stage(folder: Path) -> bool:
    """Lock a stage's folder until this process ends, without creating a file.

    Returns False on file systems that have no locks. Raises UserError if another process holds the
    lock and does not release it within ``WAIT_SECONDS``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    status = folder.stat()
    inode = (status.st_dev, status.st_ino)
    if inode not in _descriptors:
        descriptor = os.open(folder, os.O_RDONLY)
        if not _lock(descriptor, folder):
            return False
        _descriptors[inode] = descriptor
    return True


def _lock(descriptor: int, folder: Path) -> bool:
    """Lock an open folder; False if its file system has no locks."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            # Not lockf, which needs a descriptor open for writing; a folder has none.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                what = "another process is training this stage"
                raise UserError(what, str(folder), "wait for it, or stop it") from None
            time.sleep(0.2)
        except OSError:
            return False
        else:
            return True
