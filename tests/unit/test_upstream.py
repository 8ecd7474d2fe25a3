"""Faults of Snakemake and its SLURM plugin, and that `upstream` mends them.

The tests named ``test_upstream_…`` run what is installed as it is. Where one of them fails,
upstream has changed, and its part of `memdt.workflow.upstream` may no longer be needed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import snakemake_executor_plugin_slurm as plugin
from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord
from snakemake.persistence.file import FilePersistence
from snakemake.scheduling.job_scheduler import JobRateLimiter, JobScheduler
from snakemake.settings.types import MaxJobsPerTimespan

from memdt.workflow import upstream

# ---- how often the scheduler looks -----------------------------------------------------------


class Scheduler(JobScheduler):
    """One that only counts how often it is to look; two jobs a second may start."""

    def __init__(self, started: int = 2, awaits_input: bool = False) -> None:
        self._open_jobs = threading.Semaphore(0)
        self.job_rate_limiter = JobRateLimiter(MaxJobsPerTimespan(2))
        self.job_rate_limiter.register_jobs(started)
        self.workflow = SimpleNamespace(dag=SimpleNamespace(queue_input_jobs=awaits_input))

    def looks(self) -> int:
        """How many looks have been asked for since the last call."""
        count = 0
        while self._open_jobs.acquire(blocking=False):
            count += 1
        return count

    def looks_after(self, times: int) -> int:
        """How many looks come of it, within a second or, where there are some, soon after them."""
        for _ in range(times):
            self._schedule_reevalutation(0.05)
        deadline = time.monotonic() + 1
        while not (count := self.looks()) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        return count + self.looks()


@pytest.fixture
def one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    own = JobScheduler._schedule_reevalutation
    monkeypatch.setattr(JobScheduler, "_schedule_reevalutation", own)  # put back afterwards
    upstream.reschedule_only_when_needed()


def test_upstream_sets_a_timer_for_every_look():
    assert Scheduler(started=0).looks_after(5) == 5


@pytest.mark.usefixtures("one_timer")
def test_one_look_serves_all_that_ask_for_it():
    assert Scheduler().looks_after(5) == 1


@pytest.mark.usefixtures("one_timer")
def test_whoever_asks_during_a_look_gets_another_one():
    scheduler = Scheduler()
    scheduler._schedule_reevalutation(0.01)
    assert scheduler._open_jobs.acquire(timeout=10)
    assert scheduler.looks_after(1) == 1


@pytest.mark.usefixtures("one_timer")
@pytest.mark.parametrize(("awaits_input", "looks"), [(False, 0), (True, 1)])
def test_below_the_limit_only_input_that_comes_later_is_looked_for(awaits_input, looks):
    assert Scheduler(started=1, awaits_input=awaits_input).looks_after(3) == looks


# ---- SIGTERM ---------------------------------------------------------------------------------

SIGNALLED = """
import os, signal, sys, time
from unittest.mock import MagicMock
from snakemake.scheduling.job_scheduler import JobScheduler
from memdt.workflow import upstream
scheduler = JobScheduler(MagicMock(), MagicMock(), MagicMock(), MagicMock())
if sys.argv[1] == "patched":
    upstream.handle_sigterm_in_a_thread()
with scheduler._lock:  # as the main thread holds it, now and then
    print("signalled", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
while scheduler._user_kill is None:
    time.sleep(0.01)
os._exit(7)
"""


@pytest.mark.parametrize(("patch", "status"), [("none", None), ("patched", 7)])
def test_upstream_hangs_where_sigterm_meets_the_lock(patch, status):
    process = subprocess.Popen(
        [sys.executable, "-c", SIGNALLED, patch], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "signalled\n"
        if status is None:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=3)
        else:
            assert process.wait(timeout=60) == status
    finally:
        process.kill()
        process.wait()


def test_sigterm_does_not_wait_in_the_main_thread():
    signals = []
    lock = threading.Lock()

    def handler(number: int, frame: object) -> None:
        with lock:
            signals.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        upstream.handle_sigterm_in_a_thread()
        with lock:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
        time.sleep(0.1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signals == [signal.SIGTERM]


# ---- the SLURM plugin ------------------------------------------------------------------------


class Cluster:
    """The plugin's executor without a SLURM: answers to its questions are given beforehand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: dict[str, str] | None) -> None:
        self.answers = list(answers)
        self.executor = plugin.Executor.__new__(plugin.Executor)
        settings = SimpleNamespace(
            status_attempts=1,
            init_seconds_before_status_checks=20,
            keep_successful_logs=True,
            requeue=False,
        )
        vars(self.executor).update(
            logger=MagicMock(), run_uuid="run", status_rate_limiter=asyncio.Lock(),
            _next_seconds_between_status_checks=20, get_status_command=lambda: "squeue",
            workflow=SimpleNamespace(executor_settings=settings), _preemption_warning=False,
            _failed_nodes=set(), _status_query_calls=0, _status_query_failures=0,
            _status_query_total_seconds=0.0, _status_query_min_seconds=None,
            _status_query_max_seconds=0.0, _status_query_cycle_rows=[],
            report_job_success=MagicMock(), report_job_error=MagicMock(),
        )  # fmt: skip
        monkeypatch.setattr(plugin, "query_job_status", self.query)
        monkeypatch.setattr(plugin, "get_min_job_age", lambda: 300)
        monkeypatch.setattr(plugin, "is_query_tool_available", lambda tool: True)

    async def query(self, command: str, logger: object) -> tuple[dict[str, str] | None, float]:
        return self.answers.pop(0), 0.1

    def ended(self, *numbers: str) -> dict[str, str]:
        """How jobs have ended once all answers are used up; those that are waited for lack."""
        active = [
            SimpleNamespace(external_jobid=n, aux={"slurm_logfile": Path("x")}) for n in numbers
        ]

        async def check() -> list[Any]:
            return [job async for job in self.executor.check_active_jobs(active)]

        while self.answers:
            active = asyncio.run(check())
        reports = {
            "success": self.executor.report_job_success,
            "error": self.executor.report_job_error,
        }
        return {
            call.args[0].external_jobid: word
            for word, report in reports.items()
            for call in report.call_args_list
        }


ANSWERS = ({"1": "RUNNING", "2": "CANCELLED by 0", "3": "PREEMPTED"}, {"3": "PREEMPTED"})


def test_upstream_waits_for_jobs_that_slurm_has_ended(monkeypatch):
    assert Cluster(monkeypatch, *ANSWERS).ended("1", "2", "3") == {}


def test_jobs_that_slurm_has_ended_are_reported(monkeypatch):
    cluster = Cluster(monkeypatch, *ANSWERS)
    upstream.end_every_slurm_job()
    assert cluster.ended("1", "2", "3") == {"1": "success", "2": "error", "3": "error"}


def test_no_answer_ends_no_job(monkeypatch):
    states = [{"1": "RUNNING", "2": "CANCELLED by 0", "3": "PREEMPTED"}, None, {"2": "CANCELLED"}]
    Cluster(monkeypatch, *states)
    upstream.end_every_slurm_job()
    answers = [asyncio.run(plugin.query_job_status("squeue --name x", None))[0] for _ in range(3)]
    assert answers == [
        {"1": "RUNNING", "2": "CANCELLED", "3": "CANCELLED"},
        None,
        {"1": "COMPLETED", "2": "CANCELLED", "3": "COMPLETED"},  # 1 and 3 are forgotten
    ]


# ---- records ---------------------------------------------------------------------------------

SNAKEFILE = """
from memdt.workflow import upstream
if config.get("patched"):
    upstream.record_outputs_on_nodes()
rule one:
    output: "one.txt"
    params: config.get("value", 1)
    shell: "echo {params} > {output}"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with a workflow of one rule; the current one."""
    monkeypatch.chdir(tmp_path)
    Path("Snakefile").write_text(SNAKEFILE)
    return tmp_path


def snakemake(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("patched", [False, True])
def test_upstream_does_not_record_what_a_job_on_a_node_has_made(folder, patched):
    options = ("--mode", "remote", "--nolock", "--target-jobs", "one:", "--allowed-rules", "one")
    done = snakemake(*options, *(("--config", "patched=1") if patched else ()))
    assert done.returncode == 0, done.stderr
    assert Path("one.txt").is_file()
    assert (upstream.read_record(Path("one.txt")) is not None) == patched


def test_upstream_believes_a_file_that_has_no_record(folder):
    assert snakemake().returncode == 0
    changed = ("-n", "--config", "value=2")
    assert "Params have changed" in snakemake(*changed).stdout
    shutil.rmtree(".snakemake")
    assert "Nothing to be done" in snakemake(*changed).stdout
    upstream.write_record(Path("one.txt"), {"params": ["1"]})
    assert "Params have changed" in snakemake(*changed).stdout


def test_upstream_is_locked_out_by_a_run_that_was_killed(folder):
    (upstream.FOLDER / "locks").mkdir(parents=True)
    (upstream.FOLDER / "locks" / "0.output.lock").write_text("one.txt\n")
    refused = snakemake()
    assert refused.returncode != 0
    assert "cannot be locked" in refused.stderr
    upstream.unlock()
    assert snakemake().returncode == 0


NAMES = ("one.txt", f"data/{'x' * 120}/{'y' * 200}.csv")  # one record in one piece, one in two


@pytest.fixture
def persistence(folder) -> FilePersistence:
    return FilePersistence(path=folder / upstream.FOLDER)


@pytest.mark.parametrize("name", NAMES)
def test_records_are_those_of_snakemake(persistence, name):
    assert upstream.RECORD_FORMAT == RECORD_FORMAT_VERSION
    output = Path(name)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.touch()
    record = MetadataRecord(rule="one", params=["1"], record_format_version=6, incomplete=False)
    persistence._write_record(name, record)
    assert upstream.read_record(output) == record.model_dump()
    upstream.write_record(output, {"rule": "two", "params": ["2"]})
    persistence.deactivate_cache()
    written = persistence._read_record(name)
    assert written is not None
    assert (written.rule, written.params, written.incomplete) == ("two", ["2"], False)
    assert written.endtime == output.stat().st_mtime


@pytest.mark.parametrize("name", NAMES)
def test_markers_are_those_of_snakemake(persistence, name):
    persistence._mark_incomplete(name, "17")
    ((output, marker),) = upstream.unfinished().items()
    assert (output, upstream.cluster_job(marker)) == (Path(name), "17")
    assert upstream.is_unfinished(output)
    persistence._mark_incomplete(name, None)
    assert upstream.cluster_job(marker) is None
    persistence._unmark_incomplete(name)
    assert upstream.unfinished() == {}
    assert upstream.cluster_job(marker) is None


def test_locks_are_those_of_snakemake(persistence):
    assert not upstream.is_locked()
    persistence._write_locks("output", ["one.txt"])
    assert upstream.is_locked()
    upstream.unlock()
    assert list(persistence._read_locks()) == []
