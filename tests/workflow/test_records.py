"""Ledgers: Snakemake believes a file for its content, not for lying there and not for its time."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
from typing import Any

from memdt.files import sha256

CLONING = {"train cloning 1", "evaluate cloning"}
MEMORY = {"train memory 1", "train memory 2", "evaluate memory"}
REPORT = {"table", "claims", "metrics", "report"}
EPISODES = "data/runs/tiny/tiny/cloning/seed_0/episodes.csv"
DATASET = "data/datasets/tiny/tmaze.h5"


def without_records(project: Any) -> Any:
    """As a clone that has pulled: no record of Snakemake's, and times in no order."""
    shutil.rmtree(project.root / ".snakemake")
    files = [path for part in ("data", "reports") for path in (project.root / part).rglob("*")]
    random.Random(0).shuffle(files)
    for seconds, path in enumerate(files):
        os.utime(path, (1.7e9 + seconds, 1.7e9 + seconds))
    return project


def test_files_without_records_are_taken_over_by_their_content(done_project, reruns, selected):
    project = without_records(done_project)
    first = project.snakemake("-n", *selected)
    assert "memdt: 18 files found as recorded, and taken over" in first.stderr
    assert reruns(project) == set()
    experiment = "workflow/config/experiments/tiny.yaml"
    project.edit(
        experiment, "{training.segments: 2}", "{training.segments: 2, training.beta_1: 0.8}"
    )
    assert reruns(project) == MEMORY | REPORT


def test_without_ledgers_nothing_is_believed(done_project, reruns):
    for ledger in done_project.root.rglob("*records.jsonl"):
        ledger.unlink()
    assert reruns(without_records(done_project)) == {"dataset"} | MEMORY | CLONING | REPORT


def test_a_file_edited_by_hand_is_made_anew_unless_the_edit_is_undone(
    done_project, reruns, selected
):
    path = done_project.root / EPISODES
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("as_published", "as_I_like"), encoding="utf-8")
    dry_run = done_project.snakemake("-n", *selected)
    assert f"memdt: 1 file not as recorded, to be made anew: {EPISODES}" in dry_run.stderr
    assert "its content is not what was recorded" in dry_run.stdout  # Snakemake's own reason
    assert reruns(done_project) == {"evaluate cloning"} | REPORT
    path.write_text(text, encoding="utf-8")
    assert reruns(done_project) == set()


def test_an_edit_beside_another_snakemake_does_not_get_into_the_table(done_project, selected):
    """The lock is held as by any other Snakemake, and as on a file system without locks."""
    path = done_project.root / EPISODES
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("as_published", "as_I_like"), encoding="utf-8")
    with (done_project.root / ".snakemake/memdt.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        planned = done_project.snakemake("-n", *selected, "--", "reports/tiny/tables/tiny.csv")
    assert f"memdt: 1 file not as recorded, to be made anew: {EPISODES}" in planned.stderr
    assert "rule evaluate:" in planned.stdout


def test_damage_under_the_old_time_is_planned_anew_and_dry_runs_write_nothing(done_project, reruns):
    path = done_project.root / DATASET
    status = path.stat()
    path.write_bytes(path.read_bytes() + b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    ledgers = {file: file.read_bytes() for file in done_project.root.rglob("*records.jsonl")}
    assert reruns(done_project) == {"dataset"} | MEMORY | CLONING | REPORT
    assert {file: file.read_bytes() for file in ledgers} == ledgers
    assert done_project.memdt("verify").returncode == 1


def test_options_with_which_nothing_can_be_promised_are_refused(done_project, selected):
    project = done_project
    project.write("profile/config.yaml", "rerun-triggers: [mtime]\n")
    for options in (("--profile", "profile", "-n"), ("--touch", "--cores", "1")):
        refused = project.snakemake(*options, *selected)
        assert refused.returncode == 2
        assert "file times alone rerun nothing here" in refused.stderr.splitlines()[-1]


def test_runs_that_lie_on_another_disk_are_retrained_after_a_change(done_project, reruns, tmp_path):
    runs = done_project.root / "data/runs/tiny"
    shutil.move(runs, tmp_path / "scratch")
    runs.symlink_to(tmp_path / "scratch")
    shutil.rmtree(done_project.root / ".snakemake")
    old, new = "{training.segments: 2}", "{training.segments: 2, training.beta_1: 0.8}"
    done_project.edit("workflow/config/experiments/tiny.yaml", old, new)
    assert reruns(done_project) == MEMORY | REPORT


def test_what_is_made_anew_is_kept(done_project, selected):
    path = done_project.root / EPISODES
    path.write_text("edited\n", encoding="utf-8")
    run = done_project.snakemake("--cores", "1", *selected)
    assert "memdt: 1 replaced files are kept in data/set_aside" in run.stderr
    assert (done_project.root / "data/set_aside" / EPISODES).read_text() == "edited\n"
    assert path.read_text() != "edited\n"
    again = done_project.snakemake("--cores", "1", "--force", EPISODES, *selected)
    assert again.returncode == 0
    assert "are kept" not in again.stderr  # the same bytes came out


def test_times_alone_rerun_nothing(done_project, reruns):
    os.utime(done_project.root / DATASET)
    os.utime(done_project.root / "data/published/rate.csv")
    assert reruns(done_project) == set()


def test_another_input_is_noticed_whatever_its_time_and_size(done_project, reruns, selected):
    """Snakemake goes by times alone for files over 1 MB; it is told to take these for such."""
    path = done_project.root / DATASET
    with path.open("ab") as file:
        file.write(b"\0")
    os.utime(path, (1.6e9, 1.6e9))
    for ledger in done_project.root.glob("data/datasets/**/*records.jsonl"):
        text = ledger.read_text(encoding="utf-8")
        digest = text.split('"sha256": "')[1][:64]
        ledger.write_text(text.replace(digest, sha256(path)), encoding="utf-8")
    options = ("--max-checksum-file-size", "0", *selected)
    planned = done_project.snakemake("-n", *options)
    assert "rule dataset" not in planned.stdout
    assert planned.stdout.count("rule train:") == 3


def test_a_ledger_that_is_cut_short_vouches_for_nothing(done_project, reruns):
    ledger = done_project.root / "data/runs/tiny/tiny/records.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-40])
    assert reruns(without_records(done_project)) == MEMORY | CLONING | REPORT
