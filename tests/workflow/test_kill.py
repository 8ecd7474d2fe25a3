"""Kill -9, twenty times, at any moment: the same command ends with the bytes of a quiet run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from safetensors import SafetensorError, safe_open

SEED = 20
STAGES, UPDATES = 3, 300
EXPERIMENT = f"""\
title: three stages that are killed
answers: {{paper: rate, item: none}}
environment: tmaze
set: {{evaluation.segments: [1, 2]}}
variants:
  memory: {{model: rate, set: {{training.segments: {STAGES}, training.memory_noise: 0.1}}}}
"""
COMMAND = (
    sys.executable, "-m", "snakemake", "--cores", "1",
    "--config", "scale=killed", "experiments=killed",
)  # fmt: skip
RUN = Path("data/runs/killed/killed/memory/seed_0")
LOGS = Path("data/logs/train/killed/killed/memory/seed_0")
KEPT = (
    "*.h5", "checkpoint.safetensors", "*.csv", "*.svg", "*manifest.json", "metrics.json",
    "report.html",
)  # fmt: skip


def make_killed(project: Any) -> Any:
    """Give a project a scale and an experiment of three stages, some seconds each."""
    scale = yaml.safe_load((project.root / "workflow/config/scales/smoke.yaml").read_text())
    for key in ("only", "experiments"):
        scale.pop(key, None)
    scale["meaningless"] = False
    del scale["defaults"]["training.segments"]
    scale["defaults"] |= {"training.updates_per_stage": [UPDATES], "training.log_every": 7}
    scale["environments"]["tmaze"]["dataset.lengths"] = [6, 12, 18]
    scale["models"]["rate"]["model.dropout"] = 0.1
    project.write("workflow/config/scales/killed.yaml", yaml.safe_dump(scale))
    project.write("workflow/config/experiments/killed.yaml", EXPERIMENT)
    project.edit("workflow/config/environments/tmaze.yaml", "\n  segments: 3", "\n  segments: 1")
    return project


@dataclass
class Run:
    """One command in the folder of a project, given again and again."""

    project: Any
    resumed: list[str] = field(default_factory=list)  # lines of the logs about resuming

    def start(self) -> subprocess.Popen[bytes]:
        environment = self.project.environment | {
            "MEMDT_SAVE_EVERY_SECONDS": "0.05",
            "MEMDT_DEVICE": "cpu",
        }
        with (self.project.root / "run.log").open("ab") as log:
            return subprocess.Popen(
                COMMAND, cwd=self.project.root, env=environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def collect_logs(self) -> None:
        """Each start of a stage overwrites its log."""
        for log in sorted((self.project.root / LOGS).glob("*.log")):
            lines = log.read_text(encoding="utf-8").splitlines()
            self.resumed += [line for line in lines if "goes on from update" in line]
            log.unlink()

    def position(self) -> int:
        """Updates that are saved, over all stages."""
        done = 0
        for number in range(1, STAGES + 1):
            folder = self.project.root / RUN / f"stage_{number}"
            if (folder / "manifest.json").exists():
                done += UPDATES
            else:
                done += saved(folder / "resume.safetensors")
        return done

    def log_tail(self) -> str:
        text: str = (self.project.root / "run.log").read_text(encoding="utf-8")
        return text[-3000:]


def saved(path: Path) -> int:
    """Updates in a resume state; none where there is none."""
    try:
        with safe_open(path, framework="np") as file:
            return int(
                json.loads(json.loads(file.metadata()["memdt"])["memdt"])["point"]["updates"]
            )
    except (OSError, SafetensorError):
        return 0


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a command and everything that it has started."""
    parent = psutil.Process(process.pid)
    parent.suspend()  # so that it starts nothing more
    family = [parent, *parent.children(recursive=True)]
    for member in family:
        member.kill()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    psutil.wait_procs(family, timeout=30)


def results(root: Path) -> dict[str, bytes]:
    """Everything but what is measured."""
    folders = (root / "data/datasets", root / "data/runs", root / "reports")
    files = (path for folder in folders for kind in KEPT for path in folder.rglob(kind))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@dataclass(frozen=True)
class Moment:
    """When to kill: so long after the command is given, or at so many updates more."""

    seconds: float | None
    updates: int
    pause: float  # after that

    def __str__(self) -> str:
        when = f"{self.updates} updates more" if self.seconds is None else f"{self.seconds:.2f} s"
        return f"{when} and {self.pause:.3f} s"

    def is_now(self, run: Run, position: int, seconds: float) -> bool:
        if self.seconds is not None:
            return seconds >= self.seconds
        return run.position() >= min(position + self.updates, STAGES * UPDATES)


def moments(first: float) -> list[Moment]:
    """Twenty: 10 while the command starts, 8 while a stage is trained, 2 after training.

    Those in training count updates, so that the run is not over before the last on any machine.
    """
    draws = random.Random(SEED)
    starting = [Moment(draws.uniform(0.0, 0.8 * first), 0, 0.0) for _ in range(10)]
    training = [Moment(None, draws.randint(1, 70), draws.uniform(0.0, 0.05)) for _ in range(8)]
    after = [Moment(None, STAGES * UPDATES, draws.uniform(0.0, 1.0)) for _ in range(2)]
    return draws.sample([*starting, *training], 18) + after


@pytest.mark.slow
def test_twenty_kills_change_no_byte(
    tmp_path: Path, make_project: Callable[[Path], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = Run(make_killed(make_project(tmp_path / "quiet")))
    shutil.copytree(quiet.project.root, tmp_path / "killed")
    killed = Run(type(quiet.project)(tmp_path / "killed"))
    for number, moment in enumerate(moments(finish(quiet)), 1):
        kill_at(killed, moment)
        with capsys.disabled():
            print(f"kill {number}: {moment}; {killed.position()} updates are saved")
    assert number == 20
    finish(killed)
    assert len(killed.resumed) >= 5, killed.resumed
    assert results(killed.project.root) == results(quiet.project.root)
    assert len(results(quiet.project.root)) >= 1 + 3 * STAGES + 2 + 4
    left = (killed.project.root / RUN).rglob("*")
    assert not [path for path in left if path.name.startswith((".", "resume"))]


def kill_at(run: Run, moment: Moment) -> None:
    """Give the command, and end all of it at a moment."""
    begun, position = time.monotonic(), run.position()
    process = run.start()
    while not moment.is_now(run, position, time.monotonic() - begun):
        assert process.poll() is None, f"ended before {moment}: {run.log_tail()}"
        assert time.monotonic() - begun < 120, f"{moment} never came: {run.log_tail()}"
        time.sleep(0.01)
    time.sleep(moment.pause)
    assert process.poll() is None, f"ended before {moment}: {run.log_tail()}"
    kill(process)
    run.collect_logs()


def finish(run: Run) -> float:
    """Let the command end; returns the seconds until the first update was saved."""
    begun = time.monotonic()
    process, first = run.start(), None
    while process.poll() is None:
        assert time.monotonic() - begun < 240, run.log_tail()
        if first is None and run.position():
            first = time.monotonic() - begun
        time.sleep(0.02)
    assert process.returncode == 0, run.log_tail()
    run.collect_logs()
    return first or 0.0
