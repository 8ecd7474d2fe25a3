"""Jobs in SLURM without their Snakemake, with commands that only pretend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memdt.errors import UserError
from memdt.workflow import slurm


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Path:
    """A squeue that prints a file, and a scancel that takes the lines of its jobs from it."""
    programs = {
        "squeue": f'cat "{tmp_path}/queue"',
        "scancel": f'for i in "$@"; do sed -i "/^$i|/d" "{tmp_path}/queue"; done',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    work = tmp_path / "work|tree"  # a folder may be called so
    work.mkdir()
    (tmp_path / "link").symlink_to(work)
    monkeypatch.chdir(work)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(slurm.VARIABLE, raising=False)
    monkeypatch.setattr(slurm, "POLL_SECONDS", 0.05)
    (tmp_path / "queue").write_text(
        f"1|RUNNING|rule_train_wildcards_a_b|{work}\n"
        f"2|PENDING|rule_evaluate|{tmp_path}/link\n"
        f"3|RUNNING|rule_train|{tmp_path}\n"  # of another folder
        f"4|RUNNING|(null)|{work}\n"  # a shell of the user's
    )
    return tmp_path / "queue"


def test_jobs_of_this_folder_and_of_snakemake_are_found(cluster):
    assert slurm.jobs() == [slurm.SlurmJob("1", "RUNNING"), slurm.SlurmJob("2", "PENDING")]


def test_without_slurm_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.jobs() is None


def test_a_queue_that_cannot_be_asked_says_nothing(cluster):
    (cluster.parent / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert slurm.jobs() is None


def test_a_start_is_refused_with_what_to_do(cluster):
    jobs = slurm.jobs()
    assert jobs is not None
    with pytest.raises(UserError) as refused:
        slurm.settle(jobs)
    assert refused.value.line() == (
        "SLURM: 2 jobs of a Snakemake that is gone still queued or running -> wait for them "
        "(MEMDT_ORPHANS=wait), or end them: memdt cancel-jobs"
    )


def test_a_dry_run_is_never_refused(cluster, monkeypatch):
    assert "a dry run may show" in slurm.settle([slurm.SlurmJob("1", "RUNNING")], dry=True)


def test_cancelled_by_name_are_these_and_no_others(cluster, monkeypatch):
    monkeypatch.setenv(slurm.VARIABLE, "cancel")
    assert slurm.settle(slurm.jobs() or []).startswith("2 jobs of a Snakemake")
    left = [line.partition("|")[0] for line in cluster.read_text().splitlines()]
    assert left == ["3", "4"]


def test_waited_for_until_they_are_gone(cluster, monkeypatch, capsys):
    monkeypatch.setenv(slurm.VARIABLE, "wait")
    jobs = slurm.jobs() or []
    monkeypatch.setattr(slurm.time, "sleep", lambda seconds: cluster.write_text(""))
    assert "have ended" in slurm.settle(jobs)
    assert "waits for 2 jobs" in capsys.readouterr().err


def test_another_wish_is_refused(cluster, monkeypatch):
    monkeypatch.setenv(slurm.VARIABLE, "ignore")
    with pytest.raises(UserError, match="allowed: refuse, wait, cancel"):
        slurm.settle([slurm.SlurmJob("1", "RUNNING")])
