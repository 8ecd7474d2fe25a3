"""Continue after a crash without asking: a lock that dies with its owner, and jobs that do too.

Snakemake's own lock outlives a killed Snakemake, and so do the jobs that it had started. Here the
Snakefile takes a lock that the kernel drops when its process ends, however it ends. Whoever gets it
alone knows that Snakemake's lock in this folder belongs to nobody, and may remove it together with
the outputs that were being made. Jobs look once a second whether the Snakemake that started them is
still there.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO

STARTED_BY = "MEMDT_STARTED_BY"  # the process id of the Snakemake that a job belongs to
PATIENCE_SECONDS = 30.0  # for an interrupted job to tidy up

_held: list[IO[str]] = []  # open for as long as this process lives


def enter(folder: Path = Path(".snakemake")) -> list[str]:
    """Take the lock of this project's folder, clearing up after a run that was killed.

    Returns what was cleared up, in words. Several Snakemakes may be in the folder at once; which
    files each may touch is Snakemake's own business.
    """
    enter_as_job()
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "memdt.lock").open("a", encoding="utf-8")
    _held.append(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody is at work here, or the file system has no locks
        told: list[str] = []
    else:
        told = clear_up(folder)
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return told


def enter_as_job() -> None:
    """What jobs inherit: whom they belong to, and the Python that runs Snakemake as ``python``.

    This alone is what the inner Snakemake does that a cluster starts for one job.
    """
    os.environ[STARTED_BY] = str(os.getpid())
    here = str(Path(sys.executable).parent)  # .venv need not be activated
    os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])


def clear_up(folder: Path) -> list[str]:
    """Remove what is left of a run that was stopped: its lock, and the outputs it was at.

    Outputs are written whole or not at all, but Snakemake has no record of what made these. A
    cluster's jobs go on without their Snakemake: where there are any, nothing is touched.
    """
    markers = [path for path in sorted((folder / "incomplete").rglob("*")) if path.is_file()]
    locked = any((folder / "locks").glob("*.lock"))
    if not (locked or markers) or any(_on_a_cluster(marker) for marker in markers):
        return []
    removed = 0
    for marker in markers:
        output = _output_of(marker.relative_to(folder / "incomplete"))
        removed += output.is_file()
        output.unlink(missing_ok=True)
        marker.unlink()
    shutil.rmtree(folder / "locks", ignore_errors=True)
    files = f"{removed} file{'' if removed == 1 else 's'} that it was making"
    return [f"the last run was stopped; its lock and {files} are removed"]


def _on_a_cluster(marker: Path) -> bool:
    try:
        return json.loads(marker.read_text(encoding="utf-8")).get("external_jobid") is not None
    except ValueError:  # the run was killed while it wrote the marker, so no job was started
        return False


def _output_of(marker: Path) -> Path:
    """The output that Snakemake marked: its path is the marker's name in base 64, in pieces."""
    name = "".join(part.removeprefix("@") for part in marker.parts)
    return Path(base64.urlsafe_b64decode(name).decode())


def die_with_snakemake(every_seconds: float = 1.0) -> None:
    """Interrupt this process once the Snakemake that started it is gone; no effect without one."""
    starter = os.environ.get(STARTED_BY, "")
    if starter.isdecimal():
        # What a shell starts in the background ignores Ctrl-C; a job must be able to end by it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_watch, args=(int(starter), every_seconds), daemon=True).start()


def _watch(starter: int, every_seconds: float) -> None:
    while _alive(starter):
        time.sleep(every_seconds)
    os.kill(os.getpid(), signal.SIGINT)  # a signal, because it also ends a system call
    time.sleep(PATIENCE_SECONDS)
    os._exit(130)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
