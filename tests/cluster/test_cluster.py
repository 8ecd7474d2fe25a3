"""On a real SLURM: the bytes of a laptop, and what becomes of each fault. `make test-cluster`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

ROOT, PAGE = Path(__file__).parents[2], "docs/cluster.md"
STAGE = "memory/seed_0/stage_1"
LOG = f"data/logs/train/tiny/tiny/{STAGE}.log"
ONE_STAGE = f"data/runs/tiny/tiny/{STAGE}/checkpoint.safetensors"
SLOW = "slow=0.15"  # 200 updates last half a minute
EACH_JOB = {
    "rule_dataset_wildcards_tiny_tmaze",
    "rule_train_wildcards_tiny_tiny_memory_0_1",
    "rule_train_wildcards_tiny_tiny_memory_0_2",
    "rule_train_wildcards_tiny_tiny_cloning_0_1",
    "rule_evaluate_wildcards_tiny_tiny_memory_0",
    "rule_evaluate_wildcards_tiny_tiny_cloning_0",
}


def completed(cluster) -> Counter[str]:
    """How often each job has succeeded."""
    return Counter(name for name, state, _, _ in cluster.accounts() if state == "COMPLETED")


def assert_each_once(cluster) -> None:
    cluster.wait_for(lambda: sum(completed(cluster).values()) >= len(EACH_JOB), seconds=20)
    assert completed(cluster) == Counter(EACH_JOB)


def stage_results(results: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in results.items() if f"/{STAGE}/" in name}


def test_a_run_over_four_nodes_leaves_the_bytes_of_a_laptop(cluster, laptop):
    assert cluster.run() == 0, cluster.output()
    assert cluster.results() == laptop
    assert_each_once(cluster)
    for name, _, resources, node in cluster.accounts():
        trains_or_plays = name.startswith(("rule_train", "rule_evaluate"))
        assert ("gres/gpu=1" in resources) == trains_or_plays, name
        assert node.startswith("gpu" if trains_or_plays else "cpu")
    left = [path for path in (cluster.root / "data/logs/slurm").rglob("*") if path.is_file()]
    assert left == []


def test_a_cancelled_job_is_reported_and_nothing_hangs(cluster):
    cluster = cluster.having(LAB_FAULT=SLOW)
    process = cluster.start("--retries", "0")
    cluster.wait_for(lambda: cluster.saved(STAGE), process)
    queue = cluster.lab.run("squeue", "-h", "-o", "%i|%k")
    number = next(n for n, k in (r.split("|") for r in queue.split()) if k.endswith("memory_0_1"))
    cluster.lab.run("scancel", number)
    assert process.wait(timeout=200) == 1
    assert re.search(
        rf"SLURM-job '{number}' failed, SLURM status is: 'CANCELLED'", cluster.output()
    )
    assert completed(cluster)["rule_evaluate_wildcards_tiny_tiny_cloning_0"] == 1  # others went on
    assert cluster.saved(STAGE)  # for the next start


def test_after_sigterm_nothing_finished_is_repeated(cluster, laptop):
    slow = cluster.having(LAB_FAULT=SLOW)
    process = slow.start()
    slow.wait_for(lambda: slow.saved(STAGE), process)
    process.terminate()
    assert process.wait(timeout=120) != 0  # once the jobs that run have ended
    assert "Will exit after finishing currently running jobs" in slow.output()
    assert cluster.run() == 0, cluster.output()
    assert cluster.results() == laptop
    assert_each_once(cluster)


def kill_in_mid_run(cluster, *options: str) -> None:
    process = cluster.start(*options)
    cluster.wait_for(lambda: cluster.saved(STAGE), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=20)


def test_after_sigkill_a_start_is_refused_until_the_jobs_are_gone(cluster, laptop):
    kill_in_mid_run(cluster.having(LAB_FAULT=SLOW))
    before = cluster.output()
    assert cluster.run(timeout=60) == 2
    last = cluster.output()[len(before) :].splitlines()[-1]
    assert re.fullmatch(r"memdt: SLURM: \d jobs? of a Snakemake that is gone .*cancel-jobs", last)
    assert cluster.having(MEMDT_ORPHANS="wait").run() == 0, cluster.output()
    assert cluster.results() == laptop
    assert_each_once(cluster)


PAGES = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", PAGE))


def as_told(command: str, *but: str) -> list[str]:
    """A command that stands in README or on the page, in words; ``but`` for parts left out."""
    assert command in PAGES, command
    return [word for word in shlex.split(command) if word not in but]


def test_a_plain_user_who_follows_the_page_gets_the_bytes_of_a_laptop(plain_cluster, laptop):
    user = plain_cluster
    for command in ("sinfo -o '%P %l %G %m'", "sacctmgr show assoc user=$USER format=account,qos"):
        words = [word.replace("$USER", user.user) for word in as_told(command)]
        assert user.do(*words).stdout.count("gpu" if "sinfo" in command else "lab")
    doctor = as_told("srun --partition=gpu --gpus=1 .venv/bin/memdt doctor", ".venv/bin/memdt")
    examined = user.do(*doctor[:-1], "memdt", doctor[-1])
    assert "snakemake" in examined.stdout, examined.stderr
    looked = user.do(*as_told("snakemake --profile workflow/profiles/slurm -n"))
    assert re.search(r"^train +3$", looked.stdout, re.MULTILINE), looked.stderr

    run = as_told("snakemake --profile workflow/profiles/slurm")[1:]
    slow = user.having(LAB_FAULT="slow=0.5")
    kill_in_mid_run(slow, *run)
    seen = user.do(*as_told("memdt status"))
    assert re.search(r"running: tiny/memory .*\(node gpu\d, job \d+\)", seen.stdout), seen.stdout
    assert user.run(*run, timeout=60) == 2
    assert user.output().splitlines()[-1].endswith("or end them: memdt cancel-jobs")
    cancelled = user.do(*as_told("memdt cancel-jobs"))
    assert re.fullmatch(r"\d jobs? cancelled\n", cancelled.stdout), cancelled.stderr
    stopped = user.do("memdt", "status").stdout
    assert "stopped: tiny/memory seed 0: stage 1/2: memdt: stopped by SIGTERM" in stopped

    assert user.run(*run) == 0, user.output()
    assert "goes on from update" in (user.root / LOG).read_text()
    # Manifests name the Python, and the report's ledger the manifests.
    same = (".safetensors", ".csv", ".h5", ".npz", ".svg")
    cluster_files, laptop_files = (
        {name: content for name, content in results.items() if name.endswith(same)}
        for results in (user.results(), laptop)
    )
    assert cluster_files == laptop_files
    assert_each_once(user)


def test_a_job_at_its_time_limit_goes_on_to_the_same_bytes(cluster, laptop):
    # Two minutes; only SIGTERM saves a state.
    cluster = cluster.having(LAB_FAULT="slow=0.6", MEMDT_SAVE_EVERY_SECONDS="10000")
    assert cluster.run("--set-resources", "train:runtime=attempt", "--", ONE_STAGE) == 0
    states = [state for name, state, _, _ in cluster.accounts() if name.endswith("memory_0_1")]
    assert states == ["TIMEOUT", "COMPLETED"]
    assert "goes on from update" in (cluster.root / LOG).read_text()
    stage_files, expected = stage_results(cluster.results()), stage_results(laptop)
    assert stage_files == expected
    assert len(stage_files) == 3


def test_a_job_that_is_pre_empted_goes_on_when_its_node_is_free(cluster, laptop):
    slow = cluster.having(LAB_FAULT="slow=0.3")
    process = slow.start("--", ONE_STAGE)
    slow.wait_for(lambda: slow.saved(STAGE), process)
    urgent = ("--partition=urgent", "--account=lab", "--nodes=2", "--exclusive", "--time=1")
    slow.lab.run("sbatch", *urgent, "--output=/dev/null", "--wrap", "sleep 20")
    assert process.wait(timeout=300) == 0, slow.output()
    states = [state for name, state, _, _ in slow.accounts() if name.endswith("memory_0_1")]
    assert states == ["PREEMPTED", "COMPLETED"]
    assert stage_results(slow.results()) == stage_results(laptop)


def test_where_one_job_fails_the_others_go_on(cluster):
    cluster = cluster.having(LAB_FAULT="fail=memory")
    assert cluster.run("--retries", "0") == 1
    assert completed(cluster)["rule_evaluate_wildcards_tiny_tiny_cloning_0"] == 1
    assert "RuntimeError: a fault that a test asked for" in cluster.output()
    assert f"log: {LOG}" in cluster.output()
    status = cluster.project.memdt("status", "--scale", "tiny", "--experiments", "tiny")
    assert "failed: tiny/memory seed 0: stage 1/2: RuntimeError: a fault" in status.stdout


def test_a_job_on_a_node_that_dies_runs_on_another(cluster, laptop):
    slow = cluster.having(LAB_FAULT="slow=0.3")
    process = slow.start("--", ONE_STAGE)
    slow.wait_for(lambda: slow.saved(STAGE), process)
    ((_, node),) = slow.running("train")
    slow.lab.break_node(node)
    try:
        assert process.wait(timeout=300) == 0, slow.output()
    finally:
        slow.lab.start_node(node)
    rows = [row for row in slow.accounts() if row[0].endswith("memory_0_1")]
    assert [row[1] for row in rows] == ["NODE_FAIL", "COMPLETED"]
    assert rows[1][3] != node
    assert stage_results(slow.results()) == stage_results(laptop)


def test_a_job_without_enough_memory_gets_more(cluster, laptop):
    cluster = cluster.having(LAB_FAULT="memory=memory")
    assert cluster.run("--set-resources", "train:mem_mb=attempt*1200", "--", ONE_STAGE) == 0
    rows = [row for row in cluster.accounts() if row[0].endswith("memory_0_1")]
    assert [row[1] for row in rows] in (["OUT_OF_MEMORY", "COMPLETED"], ["FAILED", "COMPLETED"])
    assert "mem=1200M" in rows[0][2]
    assert "mem=2400M" in rows[1][2]
    assert stage_results(cluster.results()) == stage_results(laptop)


def test_dvc_writes_the_same_lock_from_the_cluster(cluster, tmp_path):
    project = cluster.project
    profile = "workflow/profiles/slurm/profile.yaml"
    project.edit(profile, "before-status-checks: 20", "before-status-checks: 3")
    project.done("memdt", "pipeline")
    project.done("git", "init", "--quiet")
    laptop = type(project)(tmp_path / "laptop")
    shutil.copytree(project.root, laptop.root)
    laptop.done("dvc", "repro", timeout=600)
    environment = cluster.having(SNAKEMAKE_PROFILE="workflow/profiles/slurm").environment
    done = subprocess.run(
        ["dvc", "repro"], cwd=cluster.root, env=environment, timeout=900,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (cluster.root / "dvc.lock").read_bytes() == (laptop.root / "dvc.lock").read_bytes()
    assert_each_once(cluster)
