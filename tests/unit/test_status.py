"""Status from files alone: done, running, failed, stopped, waiting."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from memdt.cli import status
from memdt.settings.runs import Run
from memdt.stopping import STOPPED
from memdt.workflow import upstream

RUN = Run("tmaze_table_2", "rate-3", 0)
PROGRESS = "tmaze_table_2/rate-3 seed 0 stage 2/3 | 50/100 | loss 0.2 | 10 updates/s | 5 s left"


@pytest.fixture
def jobs(config):
    """The jobs of one run of three stages; nothing has been made."""
    return status.jobs_of("quick", RUN)


def make(job) -> None:
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.write_text("{}")


def log(job, text: str, age: float = 0.0) -> None:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    job.log.write_text(text)
    os.utime(job.log, (time.time() - age,) * 2)


def test_a_run_is_its_stages_and_its_evaluation(jobs):
    assert [job.name for job in jobs] == ["stage 1/3", "stage 2/3", "stage 3/3", "evaluation"]


def test_a_run_of_other_checkpoints_is_only_evaluated(config):
    jobs = status.jobs_of("quick", Run("tmaze_figure_5", "rate-3", 0))
    assert [job.name for job in jobs] == ["evaluation"]


def test_nothing_yet_is_waiting(jobs):
    assert status.state_of("quick", RUN) == status.State("waiting")


def test_between_two_stages_it_waits_for_the_next(jobs):
    make(jobs[0])
    assert status.state_of("quick", RUN) == status.State("waiting", "for stage 2/3")


def test_on_a_cluster_a_job_waits_until_it_writes_and_then_says_where_it_is(jobs):
    Path(".snakemake").mkdir()
    log(jobs[0], "memdt: a failure of the attempt before\n", age=5)
    marker = upstream.record_path(jobs[0].output, "incomplete")
    marker.parent.mkdir()
    marker.write_text('{"external_jobid": "17"}')
    detail = "stage 1/3: job 17 of the cluster has not begun"
    assert status.state_of("quick", RUN) == status.State("waiting", detail)
    log(jobs[0], f"a run | cpu: some, 1 thread | node gpu1, job 17\n{PROGRESS}\n", age=-1)
    detail = f"stage 1/3: {PROGRESS} (node gpu1, job 17)"
    assert status.state_of("quick", RUN) == status.State("running", detail)


def test_the_last_line_of_the_log_is_shown_while_it_runs(jobs):
    make(jobs[0])
    log(jobs[1], f"earlier\n{PROGRESS}\n")
    assert status.state_of("quick", RUN) == status.State("running", f"stage 2/3: {PROGRESS}")


@pytest.mark.parametrize(
    "last",
    [
        "memdt: dataset: other settings -> rebuild it",
        "Traceback (most recent call last):\n  File\nValueError: no",
        "torch.OutOfMemoryError: no\nRuntimeError: no",
    ],
)
def test_a_failed_job_is_shown_with_its_log(jobs, last):
    log(jobs[0], f"{PROGRESS}\n{last}\n")
    state = status.state_of("quick", RUN)
    assert state.word == "failed"
    assert str(jobs[0].log) in state.detail


def test_a_silent_job_and_one_that_was_stopped_have_stopped(jobs):
    log(jobs[0], PROGRESS, age=status.SILENT_SECONDS + 5)
    assert status.state_of("quick", RUN).word == "stopped"
    for last in (STOPPED, f"{STOPPED} by SIGTERM; 50/100 updates are done"):
        log(jobs[0], f"{PROGRESS}\n{last}\n")
        assert status.state_of("quick", RUN).word == "stopped"


def test_a_state_that_could_not_be_saved_is_no_failure(jobs):
    log(jobs[0], f"note: resume.safetensors: cannot be written (No space)\n{PROGRESS}\n")
    assert status.state_of("quick", RUN).word == "running"


def test_a_run_with_all_its_files_is_done(jobs):
    for job in jobs:
        make(job)
    assert status.state_of("quick", RUN) == status.State("done")


def test_every_run_has_a_line(jobs, capsys):
    log(jobs[0], PROGRESS)
    status.show("quick", ["tmaze_table_2"])
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[1]: line.split()[2:] for line in lines if line.startswith("tmaze_")}
    assert rows["rate-3"] == ["·", "1", "2", "·", "·"]
    assert rows["dt-7"] == ["·", "·", "3", "·", "·"]
    assert any("tmaze_table_2/rate-3 seed 0: stage 1/3" in line for line in lines)


def job(rule: str, **wildcards: str) -> SimpleNamespace:
    keys = SimpleNamespace(**wildcards, keys=lambda: wildcards.keys(), get=wildcards.get)
    return SimpleNamespace(rule=SimpleNamespace(name=rule), wildcards=keys, log=[], output=[])


def test_the_plan_is_put_into_words():
    run = {"scale": "quick", "experiment": "e", "variant": "v", "seed": "0"}
    jobs = [job("all"), job("dataset", scale="quick"), job("report", scale="quick")]
    jobs += [job("train", **run, stage="1"), job("train", **run, stage="2")]
    jobs += [job("evaluate", **run)]
    first = status.plan_in_words(jobs).splitlines()[0]
    assert first == (
        "memdt: scale quick: 1 dataset, 2 training stages, 1 evaluation, 1 job for the report; "
        "1 run of e not finished"
    )


def test_failures_of_this_run_are_reported_and_older_ones_are_not(tmp_path):
    logs = {}
    for name, age in (("new", 0.0), ("old", 500.0)):
        logs[name] = tmp_path / f"{name}.log"
        logs[name].write_text(f"memdt: {name} failure\n")
        os.utime(logs[name], (time.time() - age,) * 2)
    failed = [SimpleNamespace(log=[path], output=[f"{path}.csv"]) for path in logs.values()]
    message = status.failure_in_words(failed, since=time.time() - 100)
    assert "new failure" in message
    assert str(logs["new"]) in message
    assert "old failure" not in message
    assert f"alone: snakemake --cores 1 {logs['new']}.csv" in message
    assert message.endswith("the same command continues from here")


def test_the_last_lines_of_a_traceback_are_shown(tmp_path):
    log = tmp_path / "job.log"
    lines = ["Traceback (most recent call last):", *(f"  step {n}" for n in range(20))]
    log.write_text("\n".join([*lines, "ValueError: no such shape"]))
    message = status.failure_in_words([SimpleNamespace(log=[log], output=["x.csv"])], 0.0)
    assert message.splitlines()[:2] == ["  step 13", "  step 14"]
    assert "ValueError: no such shape" in message


def test_the_last_line_says_where_the_report_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "reports" / "quick" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("")
    lines = status.end_in_words([job("report", scale="quick")], 61.0).splitlines()
    assert lines[0].startswith("memdt: done in 1 min")
    assert lines[-1] == "memdt: reports/quick/report.html"


def test_watching_shows_the_same_again_and_again(monkeypatch, capsys):
    shown = []

    def stop_at_the_third(seconds):
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(status, "show", lambda *about: shown.append(about))
    monkeypatch.setattr(status.time, "sleep", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        status.watch("quick", ["e"], 5.0)
    assert shown == [("quick", ["e"])] * 3
    assert "every 5 s; Ctrl-C ends this" in capsys.readouterr().out
