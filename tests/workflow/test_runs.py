"""A run from nothing to a report, what it leaves, and what becomes of one that is killed."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = "data/runs/tiny/tiny"


def results(root: Path) -> dict[str, bytes]:
    """Everything that must come out the same: not what is measured."""
    kept = ("*.h5", "checkpoint.safetensors", "curve.csv", "episodes.csv", "tables/*.csv",
            "*manifest.json", "metrics.json", "report.html")  # fmt: skip
    files = (path for kind in kept for path in root.rglob(kind) if ".snakemake" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_every_file_is_where_the_documentation_says(finished):
    for name in (
        "data/datasets/tiny/tmaze.h5",
        f"{RUN}/memory/seed_0/stage_1/checkpoint.safetensors",
        f"{RUN}/memory/seed_0/stage_2/curve.csv",
        f"{RUN}/memory/seed_0/stage_2/manifest.json",
        f"{RUN}/cloning/seed_0/episodes.csv",
        "reports/tiny/tables/tiny.csv",
        "reports/tiny/claims.csv",
        "reports/tiny/metrics.json",
        "reports/tiny/report.html",
        "reports/tiny/cost.html",
    ):
        assert (finished.root / name).is_file(), name
    assert not list(finished.root.rglob(f"{RUN}/**/.*"))  # no temporary file stays


def test_the_run_says_what_it_plans_and_where_the_report_is(finished):
    log = (finished.root / "run.log").read_text(encoding="utf-8")
    assert "memdt: scale tiny: 1 dataset, 3 training stages, 2 evaluations" in log
    assert "memdt: reports/tiny/report.html" in log


def test_the_manifest_names_what_made_the_checkpoint(finished):
    path = finished.root / RUN / "memory/seed_0/stage_2/manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    assert manifest["threads"] == 1
    assert manifest["seed"] == 0
    assert len(manifest["source_digest"]) == len(manifest["settings_digest"]) == 16
    assert manifest["packages"]["torch"]
    assert set(manifest["files"]) == {"checkpoint.safetensors", "curve.csv"}
    measured = json.loads(path.with_name("measured.json").read_text(encoding="utf-8"))
    assert measured["peak_memory_bytes"] > 50e6
    assert measured["wall_seconds"] > 0


def test_what_was_made_is_verified(finished):
    done = finished.memdt("verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" files match\n")


def test_status_knows_that_all_is_done(finished):
    done = finished.memdt("status", "--scale", "tiny", "--experiments", "tiny")
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("tiny")]
    assert lines == [
        ["tiny", "memory", "1", "·", "·", "·", "·"],
        ["tiny", "cloning", "1", "·", "·", "·", "·"],
    ]


@pytest.mark.slow
def test_a_killed_run_is_continued_by_the_same_command_to_the_same_bytes(
    tiny_project, finished, selected
):
    log = tiny_project.root / "first.log"
    with log.open("w") as file:
        first = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", *selected],
            cwd=tiny_project.root, env=tiny_project.environment, stdout=file, stderr=file,
        )  # fmt: skip
    wait_for(lambda: "rule train" in log.read_text(), first)
    jobs = children(first.pid)
    first.kill()
    first.wait(timeout=30)
    wait_for(lambda: not any(map(alive, jobs)), None)  # its jobs do not outlive it
    again = tiny_project.snakemake("--cores", "2", *selected)
    assert again.returncode == 0, again.stderr
    assert "memdt: the last run was stopped" in again.stderr
    assert results(tiny_project.root) == results(finished.root)


def test_an_interrupted_run_leaves_nothing_that_is_trusted(tiny_project, selected):
    # So many updates that no stage is through before the interrupt, however busy the machine.
    scale = "workflow/config/scales/tiny.yaml"
    tiny_project.edit(scale, "updates_per_stage:\n  - 2\n", "updates_per_stage:\n  - 20000\n")
    log = tiny_project.root / "first.log"
    with log.open("w") as file:
        first = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", *selected],
            cwd=tiny_project.root, env=tiny_project.environment, stdout=file, stderr=file,
            start_new_session=True,
            # Whoever runs the tests in the background ignores SIGINT, and children inherit that.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    wait_for(lambda: "rule train" in log.read_text(), first)
    os.killpg(first.pid, signal.SIGINT)  # as Ctrl-C does
    assert first.wait(timeout=60) != 0
    left = [path for path in tiny_project.root.glob("data/runs/**/*") if path.is_file()]
    assert {path.name for path in left} <= {"resume.safetensors"}
    next_plan = tiny_project.snakemake("-n", *selected)
    assert next_plan.returncode == 0, next_plan.stderr
    assert "train " in next_plan.stdout


def test_settings_that_change_while_a_run_is_on_are_refused(done_project):
    """A job planned with other settings must not write under the old record."""
    done = done_project.memdt(
        "train", "--experiment", "tiny", "--variant", "cloning", "--scale", "tiny",
        "--settings-digest", "0123456789abcdef",
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip().endswith("run snakemake again")


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("data/datasets/tiny/tmaze.h5", "train"),
        (f"{RUN}/cloning/seed_0/stage_1/checkpoint.safetensors", "evaluate"),
    ],
)
def test_a_truncated_file_is_refused_with_the_command_that_mends_it(done_project, name, verb):
    path = done_project.root / name
    path.write_bytes(path.read_bytes()[:-100])
    done = done_project.memdt(
        verb, "--experiment", "tiny", "--variant", "cloning", "--scale", "tiny"
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert name in done.stderr
    assert "snakemake" in done.stderr.splitlines()[-1]


def children(parent: int) -> list[int]:
    """Process ids of everything below a process."""
    import psutil

    return [process.pid for process in psutil.Process(parent).children(recursive=True)]


def alive(process: int) -> bool:
    import psutil

    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, process: subprocess.Popen[bytes] | None, seconds: float = 90) -> None:
    """Return once the condition holds; fail where the process ends or time runs out before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, "ended too early"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
