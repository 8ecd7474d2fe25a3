"""Jobs of this folder in SLURM whose Snakemake is gone: counted, waited for or cancelled.

A cluster's jobs outlive a Snakemake that is killed. One that starts meanwhile does not know of
them, submits them once more, and both write the same files. So a start ends in one line while there
are any, unless MEMDT_ORPHANS says what is to become of them. Nothing is asked where SLURM is not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memdt.errors import UserError

VARIABLE = "MEMDT_ORPHANS"  # refuse, wait or cancel
POLL_SECONDS = 10.0
CANCEL_SECONDS = 180.0  # for SLURM to end what is cancelled; training saves its state meanwhile


@dataclass(frozen=True)
class SlurmJob:
    """A job that is queued or running."""

    number: str
    state: str


def jobs(folder: Path | None = None) -> list[SlurmJob] | None:
    """This user's jobs that Snakemake has submitted from a folder; None where SLURM cannot say."""
    if shutil.which("squeue") is None:
        return None
    # Snakemake's plugin writes the rule into a job's comment.
    command = ["squeue", "-h", "-u", str(os.getuid()), "-o", "%i|%T|%k|%Z"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    here = (folder or Path.cwd()).resolve()
    rows = [line.split("|", 3) for line in done.stdout.splitlines() if line.count("|") >= 3]
    return [
        SlurmJob(number, state)
        for number, state, comment, place in rows
        if comment.startswith(("rule_", "group_")) and Path(place).resolve() == here
    ]


def cancel(found: Sequence[SlurmJob]) -> None:
    """Cancel these jobs and no others, and wait until they are gone."""
    if not found:
        return
    command = ["scancel", *(job.number for job in found)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    deadline = time.monotonic() + CANCEL_SECONDS
    numbers = {job.number for job in found}
    while left := [job for job in jobs() or () if job.number in numbers]:
        if time.monotonic() > deadline:
            told = done.stderr or f"{count(left)} still there after {CANCEL_SECONDS:.0f} s"
            raise UserError(f"scancel: {told}", "SLURM", "look at squeue --me")
        time.sleep(1.0)


def settle(found: Sequence[SlurmJob], dry: bool = False) -> str:
    """What becomes of jobs without Snakemake, as MEMDT_ORPHANS says; a note for people.

    Returns once none is left, or nothing is to be done but a dry run. UserError where a start would
    make the same files a second time.
    """
    what = f"{count(found)} of a Snakemake that is gone still queued or running"
    if dry:
        return f"{what}; a dry run may show them as if they were not"
    wanted = os.environ.get(VARIABLE) or "refuse"
    if wanted == "wait":
        _wait()
        return f"{count(found)} of a Snakemake that is gone have ended; what they made counts"
    if wanted == "cancel":
        cancel(found)
        return f"{count(found)} of a Snakemake that is gone have been cancelled"
    if wanted != "refuse":
        raise UserError(f"{wanted!r} is unknown", VARIABLE, "allowed: refuse, wait, cancel")
    remedy = f"wait for them ({VARIABLE}=wait), or end them: memdt cancel-jobs"
    raise UserError(what, "SLURM", remedy)


def _wait() -> None:
    before = 0
    while left := jobs():
        if len(left) != before:
            told = f"note: waits for {count(left)} of a Snakemake that is gone"
            print(told, file=sys.stderr, flush=True)
        before = len(left)
        time.sleep(POLL_SECONDS)


def count(found: Sequence[SlurmJob]) -> str:
    """``1 job``, ``3 jobs``."""
    return f"{len(found):,} job{'' if len(found) == 1 else 's'}"
