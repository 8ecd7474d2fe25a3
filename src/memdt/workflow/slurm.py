"""Jobs of this folder in SLURM whose Snakemake is gone: counted, waited for or cancelled.

A cluster's jobs outlive a Snakemake that is killed. One that starts meanwhile does not know of
them, submits them once more, and both write the same files. So a start ends in one line while there
are any, unless MEMDT_ORPHANS says what is to become of them. Nothing is asked where SLURM is not.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memdt.errors import UserError

VARIABLE = "MEMDT_ORPHANS"  # refuse, wait or cancel
POLL_SECONDS = 10.0
CANCEL_SECONDS = 180.0  # for SLURM to end what is cancelled; training saves its state meanwhile
DRY = {"-n", "-np", "-pn", "--dry-run", "--dryrun"}


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


def settle(found: Sequence[SlurmJob]) -> str:
    """What becomes of jobs without Snakemake, as MEMDT_ORPHANS says; a note for people.

    Returns once none is left, or nothing is to be done but a dry run. UserError where a start would
    make the same files a second time.
    """
    wanted = os.environ.get(VARIABLE) or "refuse"
    if wanted == "wait":
        _wait()
        return f"{count(found)} of a Snakemake that is gone have ended; what they made counts"
    if wanted == "cancel":
        cancel(found)
        return f"{count(found)} of a Snakemake that is gone have been cancelled"
    what = f"{count(found)} of a Snakemake that is gone still queued or running"
    if DRY & set(sys.argv):
        return f"{what}; a dry run may show them as if they were not"
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


def mend_plugin() -> None:
    """Let every job of Snakemake's SLURM plugin come to an end; seen with 2.8.

    It waits for ever for a job that was pre-empted, that accounting calls "CANCELLED by 0", or that
    SLURM has forgotten because nobody asked for a while.
    """
    plugin: Any = sys.modules.get("snakemake_executor_plugin_slurm")
    asked = getattr(plugin, "query_job_status", None)
    if asked is None:
        return
    seen: set[str] = set()

    async def mended(command: str, logger: Any) -> Any:
        found, seconds = await asked(command, logger)
        if found is None:  # SLURM gave no answer
            return found, seconds
        told = {job: _plain(state) for job, state in found.items()}
        if command.startswith("squeue"):  # and its outputs, which are whole, say whether it failed
            told |= dict.fromkeys(seen - told.keys(), "COMPLETED")
        seen.update(found)
        return told, seconds

    plugin.query_job_status = mended


def let_jobs_record() -> None:
    """Let the Snakemake on a node record what its job has made, as whoever submitted it would.

    Snakemake leaves that to the one that submitted the job, which may be gone by then; what was
    finished meanwhile would have nothing that vouches for it.
    """
    persistence: Any = importlib.import_module("snakemake.persistence").PersistenceBase
    finished = persistence.finished

    async def recorded(self: Any, job: Any) -> None:
        settings = self.dag.workflow.remote_execution_settings
        before, settings.immediate_submit = settings.immediate_submit, True
        try:
            await finished(self, job)
        finally:
            settings.immediate_submit = before

    persistence.finished = recorded


def _plain(state: str) -> str:
    """One word that the plugin knows."""
    word = (state.split() or ["UNKNOWN"])[0]
    return "CANCELLED" if word in ("PREEMPTED", "REVOKED") else word


def count(found: Sequence[SlurmJob]) -> str:
    """``1 job``, ``3 jobs``."""
    return f"{len(found):,} job{'' if len(found) == 1 else 's'}"
