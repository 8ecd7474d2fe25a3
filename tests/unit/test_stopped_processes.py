"""A training process that is signalled, out of disk or started twice."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from made_up.stage_files import result, state
from memdt import stopping
from memdt.errors import UserError
from memdt.training import stage_lock
from memdt.training.resume import EVERY, NAME

# ---- signals, in this process --------------------------------------------------------------


def test_a_signal_is_noted_and_the_second_of_its_kind_is_raised():
    before = [signal.getsignal(number) for number in stopping.SIGNALS]

    def signalled() -> None:
        with stopping.noted() as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGUSR1)
            stopping.interrupt()  # our own Ctrl-C does not come on top of another's signal
            assert signals == [signal.SIGTERM, signal.SIGUSR1]
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(stopping.Stopped) as stopped:
        signalled()
    assert stopped.value.status == 143
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before


def test_a_signal_that_comes_too_late_to_be_seen_is_raised_afterwards():
    def late() -> None:
        with stopping.noted():
            os.kill(os.getpid(), signal.SIGUSR1)

    with pytest.raises(stopping.Stopped) as stopped:
        late()
    assert stopped.value.status == 138


def test_what_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.noted() as signals:
            os.kill(os.getpid(), signal.SIGINT)
        assert signals == []
    finally:
        signal.signal(signal.SIGINT, before)


# ---- whole processes -----------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """Stage 1 of a run in a copy of the project, long enough to be met in the middle."""

    project: Any
    straight: dict[str, bytes]

    def start(
        self, out: Path, every: str = "0.05", program: Sequence[str] = ("-m", "memdt"),
        **options: Any,
    ) -> subprocess.Popen[str]:  # fmt: skip
        command = [
            sys.executable, *program, "train", "--experiment", "tmaze_table_2",
            "--variant", "rate-3", "--scale", "smoke", "--out", str(out),
        ]  # fmt: skip
        environment = self.project.environment | {EVERY: every, "MEMDT_DEVICE": "cpu"}
        return subprocess.Popen(
            command, cwd=self.project.root, env=environment, stderr=subprocess.PIPE, text=True,
            # Whoever runs the tests in the background ignores SIGINT, and children inherit that.
            **{"preexec_fn": functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)}
            | options,
        )  # fmt: skip

    def run(self, out: Path, **options: Any) -> tuple[int, str]:
        """Run to the end; returns the exit status and the messages."""
        process = self.start(out, **options)
        messages = process.communicate(timeout=120)[1]
        return process.returncode, messages


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path], Any]) -> Stage:
    root = tmp_path_factory.mktemp("project")
    project = make_project(root / "project")
    scale = "workflow/config/scales/smoke.yaml"
    project.edit(
        scale, "\n  training.updates_per_stage: [2]", "\n  training.updates_per_stage: [250]"
    )
    project.edit(scale, "model.dropout: 0.0", "model.dropout: 0.1")
    done = project.memdt("dataset", "--environment", "tmaze", "--scale", "smoke")
    assert done.returncode == 0, done.stderr
    made = Stage(project, {})
    status, messages = made.run(root / "straight", every="1000")
    assert status == 0, messages
    return replace(made, straight=result(root / "straight"))


def in_the_middle(process: subprocess.Popen[str], out: Path) -> None:
    """Wait for the first state."""
    until((out / NAME).exists, process)


def until(happens: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not happens():
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "status", "by"),
    [
        (signal.SIGTERM, 143, " by SIGTERM"),
        (signal.SIGUSR1, 138, " by SIGUSR1"),
        (signal.SIGINT, 130, ""),
    ],
)
def test_a_signal_saves_and_the_same_command_ends_with_the_same_bytes(
    stage, tmp_path, number, status, by
):
    out = tmp_path / "out"
    process = stage.start(out)
    in_the_middle(process, out)
    process.send_signal(number)
    messages = process.communicate(timeout=60)[1]
    assert process.returncode == status
    match = re.fullmatch(
        rf"memdt: stopped{by}; (\d+)/250 updates are done; "
        "the same command continues from there",
        messages.splitlines()[-1],
    )
    assert match, messages
    assert state(out)["point"]["updates"] == int(match[1])
    assert [path.name for path in out.iterdir()] == [NAME]
    status, messages = stage.run(out)
    assert status == 0, messages
    assert f"goes on from update {match[1]}/250" in messages
    assert result(out) == stage.straight


# Once the file `wait` is there, the next save takes forever; a file `saving` tells that it began.
SLOW_SAVES = """
import os, pathlib, sys, time
from memdt.__main__ import main
wait, saving, sync = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), os.fsync
def slow(file):
    if wait.exists():
        saving.touch()
        time.sleep(1000)
    sync(file)
os.fsync = slow
sys.exit(main(sys.argv[3:]))
"""


def test_a_second_interrupt_ends_a_save_at_once_and_keeps_the_state_before_it(stage, tmp_path):
    out, wait, saving = (tmp_path / name for name in ("out", "wait", "saving"))
    process = stage.start(out, program=("-c", SLOW_SAVES, str(wait), str(saving)))
    in_the_middle(process, out)
    wait.touch()
    until(saving.exists, process)
    left = (out / NAME).read_bytes()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # the first one lets the save end
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert message.splitlines()[-1] == "memdt: stopped; nothing half-written is left"
    assert (out / NAME).read_bytes() == left
    assert [path.name for path in out.iterdir()] == [NAME]
    assert stage.run(out)[0] == 0
    assert result(out) == stage.straight


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_drops_in_a_destructor_still_ends_the_step():
    class Dropping:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)  # the handler runs, and what it raises is dropped

    with pytest.raises(stopping.Stopped) as ended, stopping.raised():
        Dropping()
    assert ended.value.status == 143


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_before_training_a_signal_ends_the_step_at_once(stage, tmp_path, number, status):
    """In the first moments it kills as always; a shell gives both the same status."""
    process = stage.start(tmp_path / "out", every="1000")
    deadline = time.monotonic() + 30
    while not (tmp_path / "out").exists():  # the dataset is about to be read
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    messages = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert messages.splitlines()[-1].startswith("memdt: stopped by SIG")


def limited(size: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_no_room_for_states_stops_no_training(stage, tmp_path):
    room = len(stage.straight["curve.csv"]) + len(stage.straight["checkpoint.safetensors"])
    assert room < 40_000  # a state is larger
    status, messages = stage.run(
        tmp_path / "out", every="0.5", preexec_fn=functools.partial(limited, 40_000)
    )
    assert status == 0, messages
    notes = [line for line in messages.splitlines() if line.startswith("note: ")]
    assert notes
    assert all(f"{NAME}: cannot be written (File too large)" in line for line in notes)
    assert result(tmp_path / "out") == stage.straight


def stopped_in_the_middle(stage: Stage, out: Path) -> bytes:
    """Start, stop by a signal; the state that is left."""
    process = stage.start(out)
    in_the_middle(process, out)
    process.terminate()
    messages = process.communicate(timeout=60)[1]
    assert process.returncode == 143, messages
    return (out / NAME).read_bytes()


def goes_on_when_there_is_room(stage: Stage, out: Path, left: bytes, messages: str) -> None:
    last = messages.splitlines()[-1]
    assert re.match(r"memdt: .*(curve\.csv|checkpoint\.safetensors): cannot be written \(", last)
    assert last.endswith("-> free some space; the same command continues")
    assert "Traceback" not in messages
    assert (out / NAME).read_bytes() == left
    assert not list(out.glob(".*"))


def test_no_room_for_outputs_is_one_line_and_the_state_is_kept(stage, tmp_path):
    out = tmp_path / "out"
    left = stopped_in_the_middle(stage, out)
    status, messages = stage.run(out, every="0.5", preexec_fn=functools.partial(limited, 1000))
    assert status == 2
    goes_on_when_there_is_room(stage, out, left, messages)
    assert stage.run(out)[0] == 0
    assert result(out) == stage.straight


@pytest.mark.slow
def test_a_full_disk_keeps_the_state(stage, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "memdt-test", str(out)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not allowed: {mounted.stderr.strip()}")
    try:
        left = stopped_in_the_middle(stage, out)
        fill(out / "filler")
        status, messages = stage.run(out, every="0.5")
        assert status == 2
        assert f"{NAME}: cannot be written (No space left on device)" in messages
        goes_on_when_there_is_room(stage, out, left, messages)
        (out / "filler").unlink()
        assert stage.run(out)[0] == 0
        assert result(out) == stage.straight
    finally:
        subprocess.run(["umount", "--lazy", str(out)], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def test_a_second_process_on_the_same_stage_refuses(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_lock, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(stage_lock, "_descriptors", {})
    out = tmp_path / "out"
    code = "import sys, time; from pathlib import Path; from memdt.training import stage_lock; "
    code += "stage_lock.hold_stage(Path(sys.argv[1])); print('in', flush=True); time.sleep(60)"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(UserError, match="another process is training this stage") as refused:
            stage_lock.hold_stage(out)
        assert refused.value.where == str(out)
    finally:
        other.kill()
        other.wait()
    assert stage_lock.hold_stage(out)
    assert stage_lock.hold_stage(out)  # it is ours
    assert list(out.iterdir()) == []


def test_without_locks_training_goes_on(tmp_path, monkeypatch):
    def none(*_: object) -> None:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(fcntl, "flock", none)
    monkeypatch.setattr(stage_lock, "_descriptors", {})
    assert not stage_lock.hold_stage(tmp_path / "out")
