"""After a crash: stale locks go, a living run is left alone, jobs end with their Snakemake."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memdt.errors import UserError
from memdt.workflow import guard, slurm


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder as a killed Snakemake leaves it: locked, in the middle of one output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(guard, "_held", [])
    monkeypatch.setattr(slurm, "jobs", lambda: None)
    for name in ("PATH", guard.STARTED_BY):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/half.csv").write_text("a,b\n")
    snakemake_folder = tmp_path / ".snakemake"
    (snakemake_folder / "locks").mkdir(parents=True)
    (snakemake_folder / "locks" / "0.output.lock").write_text("data/half.csv\n")
    mark(snakemake_folder, "data/half.csv", None)
    return snakemake_folder


def mark(folder: Path, output: str, job: str | None) -> Path:
    """A marker as Snakemake writes it: long names in pieces, all but the last with an @."""
    name = base64.urlsafe_b64encode(output.encode()).decode()
    pieces = [name[i : i + 254] for i in range(0, len(name), 254)]
    marker = folder.joinpath("incomplete", *(f"@{p}" for p in pieces[:-1]), pieces[-1])
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps({"external_jobid": job}))
    return marker


def test_what_a_killed_run_left_is_removed_once(folder):
    assert guard.enter(folder) == [
        "the last run was stopped; its lock and 1 file that it was making are removed"
    ]
    assert not Path("data/half.csv").exists()
    assert not list(folder.rglob("*.lock"))[1:]  # but for our own
    assert guard.enter(folder) == []


def test_long_names_are_put_together_again(folder):
    name = f"data/{'x' * 120}/{'y' * 200}.csv"
    Path(name).parent.mkdir()
    Path(name).write_text("half")
    mark(folder, name, None)
    guard.enter(folder)
    assert not Path(name).exists()


def test_jobs_on_a_cluster_go_on_so_nothing_is_touched(folder):
    mark(folder, "data/other.csv", "4711")
    assert guard.enter(folder) == []
    assert Path("data/half.csv").exists()


def test_once_they_are_gone_what_they_left_is_cleared_up(folder, monkeypatch):
    mark(folder, "data/other.csv", "4711")
    monkeypatch.setattr(slurm, "jobs", list)
    assert guard.enter(folder)[0].startswith("the last run was stopped")
    assert not Path("data/half.csv").exists()


def test_a_start_beside_jobs_without_their_snakemake_is_refused(folder, monkeypatch):
    monkeypatch.setattr(slurm, "jobs", lambda: [slurm.SlurmJob("4711", "RUNNING")])
    with pytest.raises(UserError, match="SLURM: 1 job of a Snakemake that is gone"):
        guard.enter(folder)
    assert Path("data/half.csv").exists()


def test_a_living_run_is_left_alone(folder):
    code = "import time; from memdt.workflow import guard; from pathlib import Path; "
    code += f"guard.enter(Path({str(folder / 'other')!r}).parent); print('in', flush=True); "
    code += "time.sleep(60)"
    (folder / "locks" / "0.output.lock").unlink()
    (folder / "locks").rmdir()
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        (folder / "locks").mkdir()
        (folder / "locks" / "0.output.lock").write_text("data/half.csv\n")
        Path("data/half.csv").write_text("being written")
        mark(folder, "data/half.csv", None)
        assert guard.enter(folder) == []
        assert Path("data/half.csv").exists()
    finally:
        other.kill()
        other.wait()
    guard._held.clear()
    assert guard.enter(folder) != []


def test_a_job_ends_soon_after_its_snakemake(tmp_path):
    starter = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    code = "import time; from memdt.workflow import guard; guard.die_with_snakemake(0.05)\n"
    code += "try:\n  time.sleep(30)\nexcept KeyboardInterrupt: print('told')"
    environment = os.environ | {guard.STARTED_BY: str(starter.pid)}
    job = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    time.sleep(1.0)
    assert job.poll() is None
    starter.kill()
    starter.wait()
    assert job.communicate(timeout=15)[0] == "told\n"


def test_a_job_started_by_hand_watches_nobody(monkeypatch):
    monkeypatch.delenv(guard.STARTED_BY, raising=False)
    before = len(guard.threading.enumerate())
    guard.die_with_snakemake()
    assert len(guard.threading.enumerate()) == before
