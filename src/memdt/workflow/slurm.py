"""Count, wait for or cancel SLURM jobs of this folder whose Snakemake is gone.

A cluster's jobs outlive a Snakemake that is killed. A new Snakemake does not know of them, submits
the same jobs again, and both write the same files. So it refuses to start while there are any,
unless MEMDT_ORPHANS says what to do with them. Without SLURM this module does nothing.
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
CANCEL_SECONDS = 180.0  # that cancelled jobs get to end; training saves its state meanwhile


@dataclass(frozen=True)
class SlurmJob:
    """A job that is queued or running."""

    number: str
    state: str


def jobs(folder: Path | None = None) -> list[SlurmJob] | None:
    """This user's jobs that Snakemake submitted from a folder; None if SLURM gives no answer."""
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
        for number, state, comment, working_folder in rows
        if comment.startswith(("rule_", "group_")) and Path(working_folder).resolve() == here
    ]


def cancel(submitted: Sequence[SlurmJob]) -> None:
    """Cancel these jobs and no others, and wait until they are gone."""
    if not submitted:
        return
    command = ["scancel", *(job.number for job in submitted)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    deadline = time.monotonic() + CANCEL_SECONDS
    numbers = {job.number for job in submitted}
    while left := [job for job in jobs() or () if job.number in numbers]:
        if time.monotonic() > deadline:
            reason = done.stderr or f"{count(left)} still there after {CANCEL_SECONDS:.0f} s"
            raise UserError(f"scancel: {reason}", "SLURM", "look at squeue --me")
        time.sleep(1.0)


def settle(orphans: Sequence[SlurmJob], dry: bool = False) -> str:
    """Wait for or cancel jobs that have lost their Snakemake, as MEMDT_ORPHANS says.

    Returns:
        A note for the user, once no such job is left or if this is only a dry run.

    Raises:
        UserError: if starting now would make the same files a second time.
    """
    what = f"{count(orphans)} of a Snakemake that is gone still queued or running"
    if dry:
        return f"{what}; a dry run may show them as if they were not"
    policy = os.environ.get(VARIABLE) or "refuse"
    if policy == "wait":
        _wait()
        return f"{count(orphans)} of a Snakemake that is gone have ended; what they made counts"
    if policy == "cancel":
        cancel(orphans)
        return f"{count(orphans)} of a Snakemake that is gone have been cancelled"
    if policy != "refuse":
        raise UserError(f"{policy!r} is unknown", VARIABLE, "allowed: refuse, wait, cancel")
    remedy = f"wait for them ({VARIABLE}=wait), or end them: memdt cancel-jobs"
    raise UserError(what, "SLURM", remedy)


def _wait() -> None:
    before = 0
    while left := jobs():
        if len(left) != before:
            note = f"note: waits for {count(left)} of a Snakemake that is gone"
            print(note, file=sys.stderr, flush=True)
        before = len(left)
        time.sleep(POLL_SECONDS)


def count(submitted: Sequence[SlurmJob]) -> str:
    """``1 job``, ``3 jobs``."""
    return f"{len(submitted):,} job{'' if len(submitted) == 1 else 's'}"
