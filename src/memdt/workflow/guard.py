"""Continue after a crash without asking: a lock that dies with its owner, and jobs that do too.

Snakemake's own lock outlives a killed Snakemake, and so do the jobs that it started. The Snakefile
therefore takes a lock that the kernel drops when its process ends, however it ends. A process that
holds it alone knows that Snakemake's lock in this folder is stale, and may remove it together with
the unfinished outputs. Jobs check once a second that the Snakemake that started them still runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO

from memdt import stopping
from memdt.errors import UserError
from memdt.workflow import slurm, upstream

STARTED_BY = "MEMDT_STARTED_BY"  # the process id of the Snakemake that a job belongs to
PATIENCE_SECONDS = 30.0  # that an interrupted job gets to tidy up

_held: list[IO[str]] = []  # lock files; the lock lasts as long as its file stays open
cleared: set[Path] = set()  # outputs that a stopped run was making


def enter(folder: Path = upstream.FOLDER, dry: bool = False) -> list[str]:
    """Take the lock of this project's folder, and clear up after a run that was killed.

    Several Snakemakes may work in the folder at once; Snakemake itself decides which files each may
    touch. A process that is alone keeps the lock to itself until `let_others_in`. A ``dry`` run
    clears nothing up.

    Returns:
        Notes for the user about what was cleared up.

    Raises:
        UserError: if jobs on a cluster have lost their Snakemake and still run, or if a run that
            is not dry cannot write to the folder.
    """
    enter_as_job()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _held.append((folder / "memdt.lock").open("a", encoding="utf-8"))
    except OSError as error:
        if dry:  # a plan only needs read access to the project
            return []
        remedy = "run as the owner of the folder, or copy the project"
        raise UserError(f"cannot be written ({error.strerror})", str(folder), remedy) from None
    if not is_alone():
        return []
    left = slurm.jobs()
    if not left:
        return [] if dry else clear_up(folder, whatever_is_marked=left is not None)
    note = slurm.settle(left, dry)
    gone = not dry and slurm.jobs() == []
    return [note, *(clear_up(folder, whatever_is_marked=True) if gone else [])]


def is_alone() -> bool:
    """Whether no other Snakemake works in this folder; none starts until `let_others_in`."""
    if not _held:
        return False
    try:
        fcntl.flock(_held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody is at work here, or the file system has no locks
        return False
    return True


def is_anyone_here(folder: Path = upstream.FOLDER) -> bool:
    """Whether a Snakemake works in this folder; for other processes."""
    try:
        with (folder / "memdt.lock").open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no folder, or the file system has no locks
        return False
    return False


def let_others_in() -> None:
    """Share the lock, once the work that needs the folder alone is done."""
    with contextlib.suppress(OSError, IndexError):
        fcntl.flock(_held[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)


def enter_as_job() -> None:
    """Set what jobs inherit: their Snakemake's process id, and its Python and code.

    The inner Snakemake that a cluster starts for one job does only this.
    """
    os.environ[STARTED_BY] = str(os.getpid())
    _put_first("PATH", Path(sys.executable).parent)  # .venv need not be activated
    _put_first("PYTHONPATH", Path(__file__).parents[2])  # .venv may hold another clone's code


def _put_first(variable: str, folder: Path) -> None:
    others = os.environ.get(variable)
    os.environ[variable] = os.pathsep.join([str(folder), *([others] if others else [])])


def clear_up(folder: Path, whatever_is_marked: bool = False) -> list[str]:
    """Remove what a stopped run left: its lock, and its unfinished outputs.

    Outputs are written atomically, but Snakemake has no record of what made the unfinished ones. A
    cluster's jobs continue without their Snakemake. So nothing is touched if an output is marked as
    made by such a job, unless ``whatever_is_marked`` says that the cluster has none left.
    """
    unfinished = upstream.unfinished(folder)
    if not (unfinished or upstream.is_locked(folder)):
        return []
    if not whatever_is_marked and any(map(upstream.cluster_job, unfinished.values())):
        return []
    removed = sum(output.is_file() for output in unfinished)
    cleared.update(unfinished)
    for output, marker in unfinished.items():
        output.unlink(missing_ok=True)
        marker.unlink()
    upstream.unlock(folder)
    files = f"{removed} file{'' if removed == 1 else 's'} that it was making"
    return [f"the last run was stopped; its lock and {files} are removed"]


def die_with_snakemake(every_seconds: float = 1.0) -> None:
    """Interrupt this process once the Snakemake that started it is gone, if one did."""
    starter = os.environ.get(STARTED_BY, "")
    if starter.isdecimal():
        # A shell makes background processes ignore SIGINT, but jobs are stopped by it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_watch, args=(int(starter), every_seconds), daemon=True).start()


def _watch(starter: int, every_seconds: float) -> None:
    while _alive(starter):
        time.sleep(every_seconds)
    stopping.interrupt()
    time.sleep(PATIENCE_SECONDS)
    os._exit(130)  # sys.exit would end this thread alone


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True
