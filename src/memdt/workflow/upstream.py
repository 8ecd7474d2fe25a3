"""All patches of Snakemake and its SLURM plugin, in one module.

Each patch names the fault and its upstream issue. ``tests/unit/test_upstream.py`` shows each fault
in unpatched upstream code, so that a test fails once a patch is no longer needed. All faults occur
with Snakemake 9.20 and 9.27 and with the SLURM plugin 2.7 and 2.8.

Upstream's extension points do not reach these places:

- A scheduler plugin chooses among jobs that are ready. `JobScheduler` decides when to ask it.
- An executor plugin of our own, derived from the SLURM one, would have to copy the 250 lines of
  `check_active_jobs`, which queries SLURM and evaluates the answer in one function. Its options
  would be ``--memdt-…``, and Snakemake would load it from whichever clone is installed in .venv.
- A logger plugin receives events but cannot change anything.
- `PersistenceBase` writes records of the jobs that it runs, with current parameters. It has no
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
    """Let the scheduler set one timer at a time, and only if a timer is needed.

    Snakemake starts at most 100 jobs a second by default, and its command line cannot lift that
    limit. After every pass over the ready jobs it sets a timer for another pass, whether or not the
    limit was reached, and every job that ends adds a pass of its own. After a thousand jobs it
    makes a thousand passes a second and keeps a core busy. Every other event that lets a job start
    triggers a pass anyway.

    Upstream: snakemake/snakemake#3744 (open) counts the passes,
    snakemake/snakemake-executor-plugin-slurm#203 the lines that they log.
    """
    scheduler: Any = importlib.import_module("snakemake.scheduling.job_scheduler").JobScheduler
    if not hasattr(scheduler, "_schedule_reevalutation"):
        return
    pending = "_memdt_timer_is_set"

    def schedule(self: Any, delay: float) -> None:
        def look() -> None:
            setattr(self, pending, False)  # before the pass, which may set the next timer
            self._open_jobs.release()

        limit = self.job_rate_limiter
        needed = limit is None or self.workflow.dag.queue_input_jobs or not limit.get_free_jobs()
        if needed and not getattr(self, pending, False):
            setattr(self, pending, True)
            threading.Timer(delay, look).start()

    scheduler._schedule_reevalutation = schedule


def handle_sigterm_in_a_thread() -> None:
    """Let SIGTERM end Snakemake whenever it comes; call this once the scheduler exists.

    Snakemake's handler takes the scheduler's lock in the main thread. If the main thread already
    holds it, Snakemake hangs forever. Another thread can wait for the lock instead. A reentrant
    lock would not help: the handler also releases a semaphore, which has a lock of its own.

    Upstream: no issue known.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler):

        def handle(number: int, frame: FrameType | None) -> None:
            threading.Thread(target=handler, args=(number, frame), daemon=True).start()

        signal.signal(signal.SIGTERM, handle)


# ---- SLURM -----------------------------------------------------------------------------------


def end_every_slurm_job() -> None:
    """Let Snakemake's SLURM plugin see the end of every job that SLURM has ended.

    The plugin waits forever for a job that was pre-empted and not requeued, that accounting calls
    ``CANCELLED by 0``, or that SLURM has forgotten because its record expired.

    Upstream, snakemake/snakemake-executor-plugin-slurm: #109 and #132 made it wait for pre-empted
    jobs, which is right for those that SLURM requeues. No issue known for the other two;
    Snakemake-Profiles/slurm#22 fixed the same ``CANCELLED by`` in the plugin's predecessor.
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
        if command.startswith("squeue"):  # Snakemake still checks a forgotten job's outputs
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
    patterns: dict[str, str] = getattr(module, "get_forbidden_slurm_options", dict)()
    matches = (name for pattern, name in patterns.items() if re.search(pattern, options))
    return next(matches, "")


def _plain_state(state: str) -> str:
    """A SLURM state as one word that the plugin knows."""
    word = (state.split() or ["UNKNOWN"])[0]
    return "CANCELLED" if word in ("PREEMPTED", "REVOKED") else word


def record_outputs_on_nodes() -> None:
    """Let the Snakemake that runs a job on a node record the job's outputs.

    Snakemake leaves that to the process that submitted the job. If that process is killed
    meanwhile, the outputs have no record and would be made again.

    Upstream: no issue known.
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
    """Call ``refuse`` once Snakemake has read its options, which is after the Snakefile.

    It gets the names of the active triggers, and whether files are only touched or planned. A dry
    run plans unfinished outputs anew; other runs have removed them by then (`guard.clear_up`).

    Upstream: no issue known. A Snakefile sees none of these options while it is read.
    """
    execute = workflow.execute

    def checked(executor_plugin: Any, *arguments: Any, **options: Any) -> Any:
        triggers = tuple(sorted(one.name.lower() for one in workflow.dag_settings.rerun_triggers))
        refuse(triggers, executor_plugin.common_settings.touch_exec, dry)
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


def refuse_options(triggers: tuple[str, ...], touches: bool, dry: bool = False) -> None:
    """Raise UserError for options that would let stale files pass as up to date.

    Also where a ``dry`` run would end in a traceback: Snakemake makes a folder even then.
    """
    lacking = [name for name in NEEDED_TRIGGERS if name not in triggers]
    if lacking:
        what = f"without {', '.join(lacking)} a changed setting would rerun nothing"
        where = "rerun-triggers (command line or Snakemake profile)"
        raise UserError(what, where, "leave it out: file times alone rerun nothing here")
    if touches:
        what = "it would vouch for files that other settings or code have made"
        raise UserError(what, "--touch", "leave it out: file times alone rerun nothing here")
    locks = FOLDER / "locks"
    try:
        if dry:
            locks.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "memdt status, verify and plan work here; or copy the project"
        raise UserError(f"cannot be written ({error.strerror})", str(locks), remedy) from None


# ---- Snakemake's records ---------------------------------------------------------------------
# The files of its `FilePersistence`. They are read and written without that class: importing
# Snakemake takes half a second, too long for `memdt status`, and its functions for single records
# are private anyway. A test compares both.
#
# Upstream: snakemake/snakemake#2210 asks for a way to update records, #2977 for files that can be
# shared together with their records (both open).


def record_path(output: Path | str, kind: str = "metadata") -> Path:
    """Where Snakemake keeps its record of an output: its name in base 64, split into folders."""
    name = base64.urlsafe_b64encode(str(output).encode()).decode()
    longest = os.pathconf(FOLDER, "PC_NAME_MAX") - 1
    pieces = [name[at : at + longest] for at in range(0, len(name), longest)]
    return FOLDER.joinpath(kind, *(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


class Records:
    """Snakemake's records of files, and the file times that it compares.

    A dry run keeps what it writes in memory, where its Snakemake reads it, because showing a plan
    must not change what the next run relies on.
    """

    def __init__(self, dry: bool = False) -> None:
        self.dry = dry
        self._records: dict[str, dict[str, Any]] = {}
        self._times: dict[str, float] = {}

    def read(self, output: Path) -> dict[str, Any] | None:
        """The record of a file; None if there is none, or if it is incomplete."""
        return self._records.get(output.as_posix()) or read_record(output)

    def write(self, output: Path, record: dict[str, Any]) -> None:
        """Write Snakemake's record of a file as it is now."""
        content = _whole_record(record, self.time(output))
        if self.dry:
            self._records[output.as_posix()] = content
        else:
            path = record_path(output)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content), encoding="utf-8")

    def time(self, path: Path | str) -> float:
        """When a file was changed, as Snakemake sees it: for a link, the link's own time."""
        return self._times.get(Path(path).as_posix()) or os.lstat(path).st_mtime

    def set_time(self, path: Path, seconds: float) -> None:
        """Change the time of a file and of its record."""
        record = self.read(path)
        if self.dry:
            self._times[path.as_posix()] = seconds
        else:
            # A link may lead into a shared cache, whose files are not ours to change.
            os.utime(path, (seconds, seconds), follow_symlinks=False)
        if record is not None:
            self.write(path, record)

    def show_snakemake(self) -> None:
        """Let this process's Snakemake plan with what a dry run keeps in memory."""
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
    """Snakemake's record of a file; None if there is none, or if it is incomplete."""
    try:
        record = json.loads(record_path(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(record, dict) and record.get("record_format_version") == RECORD_FORMAT
    return record if whole and not record.get("incomplete") else None


def write_record(output: Path, record: dict[str, Any]) -> None:
    """Write Snakemake's record of a file as it is now."""
    Records().write(output, record)


def _whole_record(record: dict[str, Any], modified: float) -> dict[str, Any]:
    # Outputs of one job share a number; Snakemake's own differs from process to process.
    job = hashlib.sha256(json.dumps([record.get("rule"), record.get("log")]).encode())
    return {
        "input": [], "input_checksums": {}, "record_format_version": RECORD_FORMAT,
        "job_hash": int(job.hexdigest()[:12], 16), **record,
        "starttime": modified, "endtime": modified, "incomplete": False, "external_jobid": None,
    }  # fmt: skip


# ---- leftovers of a killed run ---------------------------------------------------------------
# `snakemake --unlock` and `--rerun-incomplete` are upstream's way. Both rely on a person to know
# that no other Snakemake is running; here a lock of the kernel tells (`guard.py`).


def unfinished(folder: Path = FOLDER) -> dict[Path, Path]:
    """The outputs that Snakemake has begun and not finished, each with its marker."""
    root, outputs = folder / "incomplete", {}
    for marker in sorted(path for path in root.rglob("*") if path.is_file()):
        name = "".join(part.removeprefix("@") for part in marker.relative_to(root).parts)
        outputs[Path(base64.urlsafe_b64decode(name).decode())] = marker
    return outputs


def is_unfinished(output: Path) -> bool:
    """Whether Snakemake has begun to make this file and not finished it."""
    return record_path(output, "incomplete").exists()


def cluster_job(marker: Path) -> str | None:
    """The number of the cluster's job that makes an unfinished output; None if there is none."""
    try:
        number = json.loads(marker.read_text(encoding="utf-8")).get("external_jobid")
    except (FileNotFoundError, ValueError):  # finished, or Snakemake died while writing the marker
        return None
    return None if number is None else str(number)


def is_locked(folder: Path = FOLDER) -> bool:
    """Whether a Snakemake, dead or alive, has locked the files of this folder."""
    return any((folder / "locks").glob("*.lock"))


def unlock(folder: Path = FOLDER) -> None:
    """Remove Snakemake's locks, whichever process they belong to."""
    shutil.rmtree(folder / "locks", ignore_errors=True)
