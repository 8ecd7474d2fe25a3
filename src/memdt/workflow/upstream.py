"""Everything that reaches into Snakemake or its SLURM plugin, in one module.

Each part names the fault, its upstream issue and the versions that were seen to have it.
``tests/unit/test_upstream.py`` shows the fault in upstream as it is, so that a test fails once a
part is no longer needed. All of them were seen with Snakemake 9.20 and 9.27 and with the SLURM
plugin 2.7 and 2.8.

What upstream offers for such needs does not reach these places:

- A scheduler plugin chooses among jobs that are ready. When it is asked is up to `JobScheduler`.
- An executor plugin of our own, derived from the SLURM one, would have to copy the 250 lines of
  `check_active_jobs`, which asks SLURM and judges the answer in one go. Its options would be
  ``--memdt-…``, and Snakemake would load it from whichever clone is installed in .venv.
- A logger plugin hears of events and changes nothing.
- `PersistenceBase` writes records of the jobs that it runs, with today's parameters. It has no
  public function for a record that was made elsewhere.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from memdt.errors import UserError

FOLDER = Path(".snakemake")
TAKE_OVER = "MEMDT_TAKE_OVER"  # set by `memdt restore`: its dry run is there to take files over
NEEDED_TRIGGERS = ("mtime", "params", "input")
RECORD_FORMAT = 6  # of Snakemake's records; below it, parameters are not compared


# ---- Snakemake's scheduler -------------------------------------------------------------------


def reschedule_only_when_needed() -> None:
    """Let the scheduler set one timer at a time, and only where a timer is needed.

    Snakemake starts at most 100 jobs a second unless told otherwise, and its command line cannot
    lift that limit. After every look at the jobs that are ready it sets a timer for another look,
    whether the limit was reached or not, and every job that ends adds a look of its own. After a
    thousand jobs it looks a thousand times a second and keeps a core busy. Whatever else lets a job
    start makes Snakemake look anyway.

    Upstream: snakemake/snakemake#3744 (open) counts the looks,
    snakemake/snakemake-executor-plugin-slurm#203 the lines that they log.
    """
    scheduler: Any = importlib.import_module("snakemake.scheduling.job_scheduler").JobScheduler
    if not hasattr(scheduler, "_schedule_reevalutation"):
        return
    pending = "_memdt_timer_is_set"

    def schedule(self: Any, delay: float) -> None:
        def look() -> None:
            setattr(self, pending, False)  # before the look, which may ask for another one
            self._open_jobs.release()

        limit = self.job_rate_limiter
        needed = limit is None or self.workflow.dag.queue_input_jobs or not limit.get_free_jobs()
        if needed and not getattr(self, pending, False):
            setattr(self, pending, True)
            threading.Timer(delay, look).start()

    scheduler._schedule_reevalutation = schedule


def handle_sigterm_in_a_thread() -> None:
    """Let SIGTERM end Snakemake whenever it comes; call this once the scheduler exists.

    Snakemake's handler takes the scheduler's lock in the main thread. If the main thread holds it
    when the signal comes, Snakemake hangs for ever. Another thread may wait for the lock. Making it
    reentrant would not do: the handler also releases a semaphore, which has a lock of its own.

    Upstream: no issue found.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler):

        def handle(number: int, frame: FrameType | None) -> None:
            threading.Thread(target=handler, args=(number, frame), daemon=True).start()

        signal.signal(signal.SIGTERM, handle)


# ---- SLURM -----------------------------------------------------------------------------------


def end_every_slurm_job() -> None:
    """Let every job that SLURM has ended be ended for Snakemake's SLURM plugin as well.

    The plugin waits for ever for a job that was pre-empted and is not requeued, that accounting
    calls ``CANCELLED by 0``, or that SLURM has forgotten because nobody asked for a while.

    Upstream, snakemake/snakemake-executor-plugin-slurm: #109 and #132 made it wait for pre-empted
    jobs, which are right for those that SLURM requeues. No issue found for the other two;
    Snakemake-Profiles/slurm#22 mended the same ``CANCELLED by`` in the plugin's forerunner.
    """
    plugin: Any = sys.modules.get("snakemake_executor_plugin_slurm")
    query = getattr(plugin, "query_job_status", None)
    if query is None:
        return
    seen: set[str] = set()

    async def query_and_translate(command: str, logger: Any) -> Any:
        states, seconds = await query(command, logger)
        if states is None:  # SLURM gave no answer
            return states, seconds
        known = {job: _plain_state(state) for job, state in states.items()}
        if command.startswith("squeue"):  # whether a forgotten job failed, its outputs will tell
            known |= dict.fromkeys(seen - known.keys(), "COMPLETED")
        seen.update(states)
        return known, seconds

    plugin.query_job_status = query_and_translate


def managed_slurm_option(options: str) -> str:
    """What of these options of sbatch the SLURM plugin refuses, but only when a job is submitted.

    Upstream, snakemake/snakemake-executor-plugin-slurm: #466 and #248 ask for such options.
    """
    try:
        module: Any = importlib.import_module("snakemake_executor_plugin_slurm.validation")
    except ImportError:
        return ""
    patterns = getattr(module, "get_forbidden_slurm_options", dict)()
    found = (name for pattern, name in patterns.items() if re.search(pattern, options))
    return next(found, "")


def _plain_state(state: str) -> str:
    """One word that the plugin knows."""
    word = (state.split() or ["UNKNOWN"])[0]
    return "CANCELLED" if word in ("PREEMPTED", "REVOKED") else word


def record_outputs_on_nodes() -> None:
    """Let the Snakemake that runs a job on a node record what the job has made.

    Snakemake leaves that to the process that submitted the job. If that one was killed meanwhile,
    nothing vouches for the outputs, and they would be made again.

    Upstream: no issue found.
    """
    persistence: Any = importlib.import_module("snakemake.persistence").PersistenceBase
    finished = persistence.finished

    async def finished_and_recorded(self: Any, job: Any) -> None:
        settings = self.dag.workflow.remote_execution_settings
        before, settings.immediate_submit = settings.immediate_submit, True
        try:
            await finished(self, job)
        finally:
            settings.immediate_submit = before

    persistence.finished = finished_and_recorded


# ---- options that would let a wrong file pass ------------------------------------------------


def check_options(workflow: Any, refuse: Callable[..., None], dry: bool) -> None:
    """Ask ``refuse`` once Snakemake has read its options, which is after the Snakefile.

    It gets the names of the triggers that are on, and whether files are only to be touched. A dry
    run plans unfinished outputs anew; other runs have removed them by then (`guard.clear_up`).

    Upstream: no issue found. A Snakefile sees none of these options while it is read.
    """
    execute = workflow.execute

    def checked(executor_plugin: Any, *arguments: Any, **options: Any) -> Any:
        triggers = tuple(sorted(one.name.lower() for one in workflow.dag_settings.rerun_triggers))
        refuse(triggers, executor_plugin.common_settings.touch_exec)
        if dry and hasattr(workflow.dag_settings, "force_incomplete"):
            workflow.dag_settings.force_incomplete = True
            _keep_no_cache_where_nothing_can_be_written()
        return execute(executor_plugin, *arguments, **options)

    workflow.execute = checked


def _keep_no_cache_where_nothing_can_be_written() -> None:
    """A dry run of a project that is only readable ends well, without the cache of its times."""
    persistence: Any = importlib.import_module("snakemake.persistence").PersistenceBase
    save = persistence.save_iocache

    def save_if_possible(self: Any) -> None:
        with contextlib.suppress(OSError):
            save(self)

    persistence.save_iocache = save_if_possible


def refuse_options(triggers: tuple[str, ...], touches: bool) -> None:
    """UserError for options of the command line or a profile with which nothing can be promised."""
    lacking = [name for name in NEEDED_TRIGGERS if name not in triggers]
    if lacking:
        what = f"without {', '.join(lacking)} a changed setting would rerun nothing"
        where = "rerun-triggers (command line or Snakemake profile)"
        raise UserError(what, where, "leave it out: file times alone rerun nothing here")
    if touches:
        what = "it would vouch for files that other settings or code have made"
        raise UserError(what, "--touch", "leave it out: file times alone rerun nothing here")


# ---- Snakemake's records ---------------------------------------------------------------------
# The files of its `FilePersistence`. They are read and written without that class, because it needs
# Snakemake (half a second, which `memdt status` should not take) and its functions for single
# records are private as well. A test compares both.
#
# Upstream: snakemake/snakemake#2210 asks for a way to update records, #2977 for files that can be
# shared with theirs (both open).


def record_path(output: Path | str, kind: str = "metadata") -> Path:
    """Where Snakemake keeps its record of an output: the name in base 64, in pieces."""
    name = base64.urlsafe_b64encode(str(output).encode()).decode()
    longest = os.pathconf(FOLDER, "PC_NAME_MAX") - 1
    pieces = [name[at : at + longest] for at in range(0, len(name), longest)]
    return FOLDER.joinpath(kind, *(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


class Records:
    """Snakemake's records of files, and the times of files, which it compares.

    In a dry run what is written is kept in memory, and Snakemake reads it there: a look at the plan
    must not change what the next run will believe.
    """

    def __init__(self, dry: bool = False) -> None:
        self.dry = dry
        self._records: dict[str, dict[str, Any]] = {}
        self._times: dict[str, float] = {}

    def read(self, output: Path) -> dict[str, Any] | None:
        """The record of a file; None where there is none, or none that can be relied on."""
        return self._records.get(output.as_posix()) or read_record(output)

    def write(self, output: Path, record: dict[str, Any]) -> None:
        """Give Snakemake a record of a file as it is now."""
        content = _whole_record(record, self.time(output))
        if self.dry:
            self._records[output.as_posix()] = content
        else:
            _write_record(output, content)

    def time(self, path: Path | str) -> float:
        """When a file was changed, as Snakemake sees it: a link has a time of its own."""
        return self._times.get(Path(path).as_posix()) or os.lstat(path).st_mtime

    def set_time(self, path: Path, seconds: float) -> None:
        """Change a file's time, and with it that of its record."""
        record = self.read(path)
        if self.dry:
            self._times[path.as_posix()] = seconds
        else:
            # Not that of a file in a cache that a link leads to: it may be somebody else's.
            os.utime(path, (seconds, seconds), follow_symlinks=False)
        if record is not None:
            self.write(path, record)

    def show_snakemake(self) -> None:
        """Let this process's Snakemake plan with what a dry run has only kept in memory."""
        if self.dry:
            _read_records_from(self._records)
            _read_times_from(self._times)


def _read_records_from(records: dict[str, dict[str, Any]]) -> None:
    module: Any = importlib.import_module("snakemake.persistence")
    files: Any = importlib.import_module("snakemake.persistence.file").FilePersistence
    read = files._read_record

    def read_kept(self: Any, key: str) -> Any:
        kept = records.get(key)
        return read(self, key) if kept is None else module.MetadataRecord.model_validate(kept)

    files._read_record = read_kept


def _read_times_from(times: dict[str, float]) -> None:
    module: Any = importlib.import_module("snakemake.io")
    own = module._IOFile.mtime_uncached

    async def kept_time(self: Any, *arguments: Any, **options: Any) -> Any:
        kept = times.get(Path(str(self.file)).as_posix())
        if kept is None:
            return await own(self, *arguments, **options)
        return module.Mtime(local=kept)

    module._IOFile.mtime_uncached = kept_time


def read_record(output: Path) -> dict[str, Any] | None:
    """Snakemake's record of a file; None where there is none, or none that can be relied on."""
    try:
        record = json.loads(record_path(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(record, dict) and record.get("record_format_version") == RECORD_FORMAT
    return record if whole and not record.get("incomplete") else None


def write_record(output: Path, record: dict[str, Any]) -> None:
    """Give Snakemake a record of a file as it is now."""
    Records().write(output, record)


def _whole_record(record: dict[str, Any], modified: float) -> dict[str, Any]:
    # Outputs of one job share a number; Snakemake's own differs from process to process.
    job = hashlib.sha256(json.dumps([record.get("rule"), record.get("log")]).encode())
    return {
        "input": [], "input_checksums": {}, "record_format_version": RECORD_FORMAT,
        "job_hash": int(job.hexdigest()[:12], 16), **record,
        "starttime": modified, "endtime": modified, "incomplete": False, "external_jobid": None,
    }  # fmt: skip


def _write_record(output: Path, content: dict[str, Any]) -> None:
    path = record_path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


# ---- what a run that was killed leaves -------------------------------------------------------
# `snakemake --unlock` and `--rerun-incomplete` are upstream's way. Both ask a person to know that
# no other Snakemake is at work; here a lock of the kernel's says so (`guard.py`).


def unfinished(folder: Path = FOLDER) -> dict[Path, Path]:
    """The outputs that Snakemake has begun and not noted as done, each with its marker."""
    markers = sorted(path for path in (folder / "incomplete").rglob("*") if path.is_file())
    return {_output_of(marker.relative_to(folder / "incomplete")): marker for marker in markers}


def _output_of(marker: Path) -> Path:
    name = "".join(part.removeprefix("@") for part in marker.parts)
    return Path(base64.urlsafe_b64decode(name).decode())


def is_unfinished(output: Path) -> bool:
    """Whether Snakemake has begun to make this file and not noted that it is done."""
    return record_path(output, "incomplete").exists()


def cluster_job(marker: Path) -> str | None:
    """The number of the cluster's job that makes an unfinished output; None where there is none."""
    try:
        number = json.loads(marker.read_text(encoding="utf-8")).get("external_jobid")
    except (FileNotFoundError, ValueError):  # done, or Snakemake was killed while it wrote this
        return None
    return None if number is None else str(number)


def is_locked(folder: Path = FOLDER) -> bool:
    """Whether a Snakemake has locked the files of this folder, alive or not."""
    return any((folder / "locks").glob("*.lock"))


def unlock(folder: Path = FOLDER) -> None:
    """Remove Snakemake's locks, whoever they belong to."""
    shutil.rmtree(folder / "locks", ignore_errors=True)
