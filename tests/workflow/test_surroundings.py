"""Unusual folders, owners, terminals and clusters: Snakemake works or says one line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest

SNAKEMAKE = (sys.executable, "-m", "snakemake")
READING = (
    ("status", "--scale", "tiny", "--experiments", "tiny"),
    ("verify", "--scale", "tiny"),
    ("doctor",),
)
SLURM = ("--profile", "workflow/profiles/slurm", "-n")


def run(
    project: Any, *command: str, folder: str = ".", **variables: str
) -> subprocess.CompletedProcess[str]:
    """A command in a folder of the project, with more environment variables."""
    return subprocess.run(
        command, cwd=project.root / folder, env=project.environment | variables,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("option", ["--gres=gpu:a100:1", "--constraint=a100", "--qos=low"])
def test_words_that_slurm_refuses_at_submission_are_refused_when_planned(
    finished, selected, option
):
    done = run(finished, *SNAKEMAKE, *SLURM, *selected, MEMDT_SLURM_EXTRA=option)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"memdt: MEMDT_SLURM_EXTRA: '{option}' cannot be used -> ")
    assert "Traceback" not in done.stderr
    assert "Job stats" not in done.stdout


def test_documented_variables_ask_for_typed_cards_constraints_and_a_quality_of_service(finished):
    words = {"GRES": "gpu:a100:1", "CONSTRAINT": "a100|v100", "QOS": "low"}
    variables = {f"MEMDT_SLURM_{name}": value for name, value in words.items()}
    options = ("--config", "scale=paper", "experiments=tmaze_figure_5")
    done = run(finished, *SNAKEMAKE, *SLURM, *options, **variables)
    assert done.returncode == 0, done.stderr
    resources = re.search(r"^rule train:.*?^    resources: (.*?)$", done.stdout, re.S | re.M)
    assert resources is not None, done.stdout
    asked = set(resources[1].split(", "))
    assert {"gpu=0", "gres=gpu:a100:1", "constraint=a100|v100", "qos=low"} <= asked


def test_from_a_sub_folder_one_line_says_where_to_go(finished, selected):
    done = run(finished, *SNAKEMAKE, "-s", "../Snakefile", "-n", *selected, folder="docs")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("memdt: ")]
    assert lines == [
        f"memdt: {finished.root}/docs: there is no workflow/config here -> cd {finished.root}"
    ]
    assert "Traceback" not in done.stderr + done.stdout


def test_a_checkout_of_another_user_in_a_worktree_with_an_odd_name_and_an_ascii_terminal(
    finished, selected, tmp_path
):
    """All at once, because each start of Snakemake takes seconds."""
    project = type(finished)(tmp_path / "it's a project")
    main = type(finished)(tmp_path / "main")
    main.root.mkdir()
    main.done("git", "init", "--quiet")
    main.done("git", "commit", "--quiet", "--allow-empty", "-m", "first")
    main.done("git", "worktree", "add", "--quiet", "-b", "other", str(project.root))
    shutil.copytree(finished.root, project.root, symlinks=True, dirs_exist_ok=True)
    if os.geteuid() == 0:
        for path in (project.root, *project.root.rglob("*")):
            os.chown(path, 12345, 12345, follow_symlinks=False)
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    planned = run(project, *SNAKEMAKE, "-n", *selected, **ascii_only)
    assert planned.returncode == 0, planned.stderr
    assert "Nothing to be done" in planned.stdout + planned.stderr
    for verb in READING:
        done = run(project, sys.executable, "-m", "memdt", *verb, **ascii_only)
        assert done.returncode == 0, done.stdout + done.stderr


def read_only(project: Any, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in a namespace of its own in which the project cannot be written."""
    script = 'mount --bind . . && cd "$PWD" && mount -o remount,bind,ro . && exec "$@"'
    return run(project, "unshare", "--mount", "sh", "-c", script, "sh", *command)


def test_what_only_reads_works_in_a_project_that_cannot_be_written(finished, selected):
    if os.geteuid() or read_only(finished, "true").returncode:
        pytest.skip("only root may mount, and not in every container")
    memdt = (sys.executable, "-m", "memdt")
    for words in READING:
        done = read_only(finished, *memdt, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    locks = finished.root / ".snakemake/locks"
    shutil.rmtree(locks, ignore_errors=True)  # as after a run; a dry run makes it
    for command, where in (
        ((*SNAKEMAKE, "-n", *selected), ".snakemake/locks"),
        ((*SNAKEMAKE, "--cores", "1", *selected), ".snakemake"),
        ((*memdt, "table", "--experiment", "tiny", "--scale", "tiny"), "reports/tiny/tables"),
    ):
        done = read_only(finished, *command)
        assert done.returncode == 2, done.stdout + done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"memdt: {where}")
        assert "(Read-only file system)" in last
        assert "Traceback" not in done.stdout + done.stderr
