"""DVC over Snakemake: whoever is asked redoes what has changed, and nothing is taken for good that
nobody has checked. Every command here is one that people type.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

RUNS = "data/runs/tiny/tiny"
CHECKPOINT = f"{RUNS}/memory/seed_0/stage_2/checkpoint.safetensors"
EXPERIMENT = "workflow/config/experiments/tiny.yaml"
EPISODES = f"{RUNS}/cloning/seed_0/episodes.csv"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, finished: Any) -> Any:
    """A project whose `dvc repro` is done, pushed to a local remote and committed. Do not touch."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copytree(finished.root, folder / "project", symlinks=True)
    project = type(finished)(folder / "project")
    project.done("memdt", "pipeline")
    project.done("git", "init", "--quiet")
    project.done("dvc", "remote", "add", "--quiet", "--default", "store", str(folder / "store"))
    project.done("git", "add", "--all")
    project.done("git", "commit", "--quiet", "--message", "settings")
    project.done("dvc", "repro")
    project.done("dvc", "push")
    project.done("git", "add", "--all")
    project.done("git", "commit", "--quiet", "--message", "results")
    return project


@pytest.fixture
def copy(kept: Any, tmp_path: Path) -> Any:
    """The project with its data, to edit."""
    shutil.copytree(kept.root, tmp_path / "project", symlinks=True)
    return type(kept)(tmp_path / "project")


@pytest.fixture
def clone(kept: Any, tmp_path: Path) -> Any:
    """A fresh clone in another folder that has pulled."""
    kept.done("git", "clone", "--quiet", str(kept.root), str(tmp_path / "clone"))
    project = type(kept)(tmp_path / "clone")
    project.done("dvc", "pull")
    return project


def planned_stages(project: Any) -> set[str]:
    """The stages that `dvc repro` would run, were nothing before them to change."""
    return set(json.loads(project.run("dvc", "status", "--json").stdout))


def lock_of(project: Any) -> str:
    return (project.root / "dvc.lock").read_text(encoding="utf-8")


def test_a_clone_that_pulls_and_restores_has_nothing_to_do(clone, kept, reruns):
    output = clone.done("memdt", "restore")
    assert "memdt: 18 files found as recorded, and taken over" in output
    assert output.strip().endswith("memdt: nothing is left to do")
    assert reruns(clone) == set()
    assert planned_stages(clone) == set()
    assert clone.done("dvc", "repro").count("didn't change, skipping") == 3
    assert lock_of(clone) == lock_of(kept)


@pytest.mark.slow
def test_a_clone_redoes_what_an_edit_changes_and_refuses_a_touch(clone, reruns):
    """Seen with the plain tools: old checkpoints recorded under the new setting, in silence."""
    touched = clone.run("snakemake", "--touch", "--cores", "1")
    assert touched.returncode != 0
    assert "--touch: it would vouch for files" in touched.stderr
    before = {name: (clone.root / name).read_bytes() for name in (CHECKPOINT, EPISODES)}
    clone.edit(EXPERIMENT, "{training.segments: 2}", "{training.segments: 2, training.beta_1: 0.5}")
    expected = {"train memory 1", "train memory 2", "evaluate memory"}
    assert {job for job in reruns(clone) if "memory" in job or "cloning" in job} == expected
    assert "jobs are left to do" in clone.done("memdt", "restore")  # and it does not hide it
    output = clone.done("dvc", "repro")
    assert "replaced files are kept in data/set_aside" in output
    assert (clone.root / CHECKPOINT).read_bytes() != before[CHECKPOINT]
    assert (clone.root / EPISODES).read_bytes() == before[EPISODES]
    set_aside = clone.root / "data/set_aside" / CHECKPOINT
    assert set_aside.read_bytes() == before[CHECKPOINT]
    assert reruns(clone) == set()
    assert planned_stages(clone) == set()


@pytest.mark.slow
def test_an_experiment_in_a_temporary_folder_is_really_trained(copy):
    """Seen with the plain tools: no Snakemake records there, so nothing was trained again."""
    override = f"{EXPERIMENT}:+variants.memory.set.training.beta_1=0.5"
    copy.done("dvc", "exp", "run", "--queue", "--name", "slower", "--set-param", override)
    copy.done("dvc", "queue", "start")
    copy.done("dvc", "queue", "logs", "slower", "--follow", timeout=600)
    listed = copy.done("dvc", "exp", "list", "--name-only")
    assert "slower" in listed
    copy.done("dvc", "exp", "apply", "slower")
    manifest = json.loads((copy.root / CHECKPOINT).with_name("manifest.json").read_text())
    assert manifest["settings"]["training"]["beta_1"] == 0.5
    assert copy.memdt("verify").returncode == 0


@pytest.mark.slow
def test_runs_that_the_settings_no_longer_ask_for_are_set_aside(copy):
    """Seen with the plain tools: the files of a removed task stayed and counted."""
    content = yaml.safe_load((copy.root / EXPERIMENT).read_text(encoding="utf-8"))
    del content["variants"]["cloning"]
    copy.write(EXPERIMENT, yaml.safe_dump(content))
    output = copy.done("dvc", "repro")
    assert "5 files of runs that the settings no longer ask for" in output
    assert not (copy.root / EPISODES).exists()
    assert (copy.root / "data/set_aside" / EPISODES).is_file()
    assert "cloning" not in (copy.root / RUNS / "records.jsonl").read_text(encoding="utf-8")


def test_restore_refuses_what_dvc_does_not_know(clone):
    (clone.root / EPISODES).write_text("condition,segments\n", encoding="utf-8")
    (clone.root / "reports/tiny/claims.csv").unlink()
    done = clone.memdt("restore")
    assert done.returncode == 2
    assert f"memdt: modified: {EPISODES}" in done.stderr
    assert "memdt: deleted: reports/tiny/claims.csv" in done.stderr
    assert "2 differences from dvc.lock" in done.stderr.splitlines()[-1]
    assert not (clone.root / ".snakemake/metadata").exists()  # nothing was taken over


def test_restore_takes_over_files_that_came_another_way_than_by_pulling(kept, tmp_path):
    """DVC then knows what a folder should amount to, and has no list of what is in it."""
    kept.done("git", "clone", "--quiet", str(kept.root), str(tmp_path / "clone"))
    project = type(kept)(tmp_path / "clone")
    for part in ("data/datasets", "data/runs", "reports/tiny"):
        shutil.copytree(kept.root / part, project.root / part)  # not even the times are kept
    assert "memdt: nothing is left to do" in project.done("memdt", "restore")
    with (project.root / EPISODES).open("a", encoding="utf-8") as file:
        file.write("\n")
    done = project.memdt("restore")
    assert done.returncode == 2
    assert f"memdt: modified: {RUNS}/" in done.stderr


@pytest.mark.slow
def test_the_lock_is_the_same_without_any_record_of_snakemake(copy):
    before = lock_of(copy)
    shutil.rmtree(copy.root / ".snakemake")
    copy.done("dvc", "repro", "--force")
    assert lock_of(copy) == before


@pytest.mark.slow
def test_the_lock_is_the_same_when_everything_is_made_again(copy):
    before = lock_of(copy)
    for folder in (".snakemake", "data/runs", "data/datasets", "reports"):
        shutil.rmtree(copy.root / folder)
    copy.done("dvc", "repro", "--force", timeout=600)
    assert lock_of(copy) == before


@pytest.mark.slow
def test_another_scale_leaves_this_ones_entries_alone(copy):
    copy.edit("workflow/config/config.yaml", "scale: tiny", "scale: smoke")
    copy.done("dvc", "repro", "datasets@smoke")
    stages = yaml.safe_load(lock_of(copy))["stages"]
    assert {"datasets@tiny", "tiny@tiny", "report@tiny", "datasets@smoke"} == set(stages)


def test_one_experiment_can_be_pulled_alone(kept, tmp_path):
    kept.done("git", "clone", "--quiet", str(kept.root), str(tmp_path / "clone"))
    project = type(kept)(tmp_path / "clone")
    project.done("dvc", "pull", "tiny@tiny")
    assert (project.root / CHECKPOINT).is_file()
    assert not (project.root / "reports/tiny").exists()


def test_metrics_and_plots_show_something(copy):
    assert "tiny.memory" in copy.done("dvc", "metrics", "show")
    path = copy.root / "reports/tiny/metrics.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["tiny"]["memory"] += 0.25
    path.write_text(json.dumps(content), encoding="utf-8")
    assert "0.25" in copy.done("dvc", "metrics", "diff")
    copy.done("dvc", "plots", "show", "--out", "plots")
    page = (copy.root / "plots/index.html").read_text(encoding="utf-8")
    assert '"field": "reproduced_mean"' in page
    assert '"field": "variant"' in page  # the template of .dvc/plots was found


@pytest.mark.slow
def test_dvc_enters_only_stages_that_an_edit_may_reach(copy, reruns):
    """The table of edits in docs/output.md: what DVC enters, and what Snakemake does there."""
    actual, expected = {}, {}
    for name, file, change, stages, jobs in EDITS:
        apply(copy, file, change)
        actual[name], expected[name] = (planned_stages(copy), reruns(copy)), (stages, jobs)
        copy.done("git", "checkout", "--quiet", ".")
        copy.done("git", "clean", "--quiet", "--force", "--", "src", "workflow")
    assert {k: v for k, v in actual.items() if v != expected[k]} == {}
    assert reruns(copy) == set()


REPORT = {"table", "claims", "metrics", "report"}
MEMORY = {"train memory 1", "train memory 2", "evaluate memory"}
CLONING = {"train cloning 1", "evaluate cloning"}
DATASETS, TRAINED, REPORTED = {"datasets@tiny"}, {"tiny@tiny"}, {"report@tiny"}
CODE = "\nCHANGED = 1\n"
# What is edited, the file, text to append or (old, new); stages that DVC enters, jobs that run.
EDITS: list[tuple[str, str, Any, set[str], set[str]]] = [
    ("a comment in code", "src/memdt/models/rate.py", "\n# why\n", TRAINED, set()),
    (
        "a docstring", "src/memdt/training/losses.py", ("The loss over", "A loss over"),
        TRAINED, set(),
    ),
    ("a comment in settings", "workflow/config/models/rate.yaml", "\n# why\n", set(), set()),
    ("an unused module", "src/memdt/models/transformer_xl.py", CODE, set(), set()),
    ("a new module", "src/memdt/models/another.py", CODE, set(), set()),
    ("one model", "src/memdt/models/behaviour_cloning_mlp.py", CODE, TRAINED, CLONING | REPORT),
    (
        "the environment", "src/memdt/environments/tmaze.py", CODE,
        DATASETS | TRAINED, {"dataset"} | MEMORY | CLONING | REPORT,
    ),
    ("the loss", "src/memdt/training/losses.py", CODE, TRAINED, MEMORY | CLONING | REPORT),
    (
        "the evaluation", "src/memdt/evaluation/rollout.py", CODE,
        TRAINED, {"evaluate memory", "evaluate cloning"} | REPORT,
    ),
    ("the report", "src/memdt/report/style.css", "\nb { color: red }\n", REPORTED, {"report"}),
    ("a published number", "data/published/rate.csv", "\n", REPORTED, REPORT),
    (
        "a seed added", "workflow/config/scales/tiny.yaml",
        ("seeds:\n  - 0\n", "seeds:\n  - 0\n  - 1\n"),
        DATASETS | TRAINED | REPORTED, MEMORY | CLONING | REPORT,
    ),
    (
        "a variant added", EXPERIMENT, "  guessing: {model: random}\n",
        TRAINED | REPORTED, {"train guessing 1", "evaluate guessing"} | REPORT,
    ),
    (
        "the budget of the scale", "workflow/config/scales/tiny.yaml",
        ("updates_per_stage:\n  - 2\n", "updates_per_stage:\n  - 3\n"),
        DATASETS | TRAINED | REPORTED, MEMORY | CLONING | REPORT,
    ),
]  # fmt: skip


def apply(project: Any, name: str, change: str | tuple[str, str]) -> None:
    if isinstance(change, tuple):
        project.edit(name, *change)
        return
    path = project.root / name
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(text + change, encoding="utf-8")


# ---- remotes ---------------------------------------------------------------------------------


SLOW = pytest.mark.slow


@pytest.fixture(params=["folder", pytest.param("ssh", marks=SLOW), pytest.param("s3", marks=SLOW)])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[list[str]]]:
    """The commands by which a clone learns of a remote, a real server on this machine."""
    with REMOTES[request.param](tmp_path) as commands:
        yield [["dvc", "remote", *command] for command in commands]


def test_what_one_clone_pushes_another_pulls(kept, copy, remote, tmp_path, reruns):
    for command in remote:
        copy.done(*command)
    copy.done("dvc", "push", "--remote", "there")
    kept.done("git", "clone", "--quiet", str(kept.root), str(tmp_path / "clone"))
    clone = type(kept)(tmp_path / "clone")
    for command in remote:
        clone.done(*command)
    clone.done("dvc", "pull", "--remote", "there")
    assert "memdt: nothing is left to do" in clone.done("memdt", "restore")
    assert (clone.root / CHECKPOINT).read_bytes() == (kept.root / CHECKPOINT).read_bytes()
    assert planned_stages(clone) == set()
    config = (clone.root / ".dvc/config").read_text(encoding="utf-8")
    assert "there" not in config  # what is private is in config.local, which git ignores


@contextlib.contextmanager
def folder(root: Path) -> Iterator[list[list[str]]]:
    yield [["add", "--local", "there", str(root / "folder")]]


@contextlib.contextmanager
def ssh(root: Path) -> Iterator[list[list[str]]]:
    """An SSH server of this user's own, with a key made for it."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        pytest.skip("needs sshd (Debian: openssh-server)")
    root = root / "ssh"
    (root / "store").mkdir(parents=True)
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)]
        subprocess.run(key, check=True)
    port = free_port()
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": root / "host", "PidFile": "none",
        "AuthorizedKeysFile": root / "user.pub", "StrictModes": "no", "UsePAM": "no",
        "PasswordAuthentication": "no", "Subsystem": "sftp internal-sftp",
    }  # fmt: skip
    lines = [f"{key} {value}" for key, value in settings.items()]
    (root / "config").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd's unprivileged part lives
    with (root / "log").open("w") as log:
        server = subprocess.Popen([program, "-D", "-e", "-f", str(root / "config")], stderr=log)
    try:
        wait_for_port(port)
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{root / 'store'}"
        yield [
            ["add", "--local", "there", address],
            ["modify", "--local", "there", "keyfile", str(root / "user")],
        ]
    finally:
        server.terminate()
        server.wait(timeout=10)


@contextlib.contextmanager
def s3(root: Path) -> Iterator[list[list[str]]]:
    """An S3 server in this process."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    names = {"access_key_id": "key", "secret_access_key": "secret"}
    keys = {f"aws_{name}": value for name, value in names.items()}
    boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys).create_bucket(
        Bucket="store"
    )
    try:
        yield [
            ["add", "--local", "there", "s3://store/memdt"],
            ["modify", "--local", "there", "endpointurl", address],
            ["modify", "--local", "there", "region", "us-east-1"],
            *(["modify", "--local", "there", name, value] for name, value in names.items()),
        ]
    finally:
        server.stop()


REMOTES = {"folder": folder, "ssh": ssh, "s3": s3}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_port(port: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.1)
