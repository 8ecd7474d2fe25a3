"""Training that is stopped, killed or out of disk ends, when started again, with the same bytes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from made_up.stage_files import result, state
from memdt.data.access import LIMIT
from memdt.data.make import make_dataset
from memdt.environments import tmaze
from memdt.errors import UserError
from memdt.files import remove_temporaries
from memdt.set_aside import FOLDER, set_aside
from memdt.settings.schema import DatasetSettings, RunSettings
from memdt.training.course import Course
from memdt.training.resume import EVERY, NAME, save_every_seconds
from memdt.training.train import TrainingJob, train_stage

UPDATES = 6
SIZES = {"layers": 1, "heads": 2, "width": 8, "head_width": 4, "feed_forward_width": 8}
RATE = {"name": "rate", "memory_tokens": 2, "dropout": 0.2, **SIZES}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "full gradient": (RATE, {}),
    "detached": (RATE, {"gradient_through_memory": "detached"}),
    "memory noise": (RATE, {"memory_noise": 0.5}),
    "idle segments": (RATE, {"idle_segments": 2, "memory_noise": 0.1}),
    "gate and charge": ({**RATE, "memory_update": "binary_gate"}, {"write_cost": 0.1}),
    "bfloat16": (RATE, {"precision": "bfloat16"}),
    "windows": ({"name": "decision_transformer", "dropout": 0.2, **SIZES}, {"start": "random"}),
    "cache": ({"name": "transformer_xl", "cache_length": 9, "dropout": 0.2, **SIZES}, {}),
    "lstm": ({"name": "behaviour_cloning_lstm", "width": 8}, {"schedule": "cosine"}),
    "target network": ({"name": "conservative_q", "width": 8}, {"schedule": "linear"}),
    "no weights": ({"name": "random"}, {}),
    "demonstrations": ({"name": "pdt", "demonstration_steps": 2, "dropout": 0.2, **SIZES}, {}),
    "adapters": (RATE, {"adapter": {"layers": ("*attention*", "head"), "rank": 2, "dropout": 0.2}}),
    "some parameters": (RATE, {"trainable": ("head.*", "memory"), "data_fraction": 0.5}),
}


class Killed(BaseException):
    """What a test throws into training; nothing catches it, as nothing catches SIGKILL."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few short episodes of up to three segments."""
    run = settings({"name": "random"})
    path = tmp_path_factory.mktemp("data") / "dataset.h5"
    made_of = DatasetSettings(environment=run.environment, dataset=run.dataset)
    make_dataset(made_of, path, source_digest="s")
    return path


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(EVERY, "0")
    monkeypatch.setenv("MEMDT_DEVICE", "cpu")


def settings(model: dict[str, Any], **training: object) -> RunSettings:
    return RunSettings.model_validate(
        {
            "environment": {
                "name": "tmaze",
                "module": "tmaze",
                "parameters": tmaze.Settings().model_dump(),
            },
            "dataset": {"source": "played", "lengths": (5, 10, 15), "episodes_per_length": 6},
            "segment_length": 5,
            "model": model,
            "training": {
                "segments": 3, "curriculum": False, "updates_per_stage": (UPDATES,),
                "batch_size": 4, "learning_rate": 1e-2, "weight_decay": 0.1, "log_every": 4,
                "warmup_updates": 2, **training,
            },
            "evaluation": {"segments": (1,), "episodes": 1, "target_return": 1.0},
            "seeds": (0,),
        }
    )  # fmt: skip


def job(case: str, dataset: Path, out: str) -> TrainingJob:
    model, training = CASES[case]
    return TrainingJob(settings(model, **training), 1, 0, dataset, None, Path(out))


def killed_after(updates: int, job: TrainingJob) -> None:
    """Train until ``updates`` updates are saved, then die; random numbers are drawn meanwhile."""
    done = 0
    update = Course._update

    def mortal(self: Course) -> None:
        nonlocal done
        if done == updates:
            raise Killed
        done += 1
        update(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Course, "_update", mortal)
        with pytest.raises(Killed):
            train_stage(job)
    torch.rand(17)


@functools.cache
def undisturbed(case: str, dataset: Path, folder: Path) -> dict[str, bytes]:
    train_stage(job(case, dataset, str(folder)))
    return result(folder)


@pytest.fixture(scope="module")
def straight(
    dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, bytes]]:
    """The outputs of a case that ran without a stop, made once."""
    root = tmp_path_factory.mktemp("straight")
    return lambda case: undisturbed(case, dataset, root / case.replace(" ", "_"))


@pytest.mark.parametrize("case", CASES)
def test_a_stop_after_any_update_changes_no_byte(case, dataset, straight, capsys):
    for updates in (1, 3, 4, 5):  # a row of the curve ends at 4
        again = job(case, dataset, f"stopped_{updates}")
        killed_after(updates, again)
        assert not (again.out / "checkpoint.safetensors").exists()
        train_stage(again)
        assert result(again.out) == straight(case)
        assert f"goes on from update {updates}/{UPDATES}" in capsys.readouterr().err
        assert not (again.out / NAME).exists()


@pytest.mark.parametrize("case", ["idle segments", "windows", "target network"])
def test_observations_left_on_disk_change_no_byte(case, dataset, straight, monkeypatch):
    monkeypatch.setenv(LIMIT, "0")
    again = job(case, dataset, "out")
    killed_after(3, again)
    train_stage(again)
    assert result(again.out) == straight(case)


def test_many_stops_change_no_byte(dataset, straight):
    again = job("memory noise", dataset, "out")
    for _ in range(UPDATES - 1):
        killed_after(1, again)
    assert state(again.out)["point"]["resumed"] == UPDATES - 2
    train_stage(again)
    assert result(again.out) == straight("memory noise")


def test_a_stop_between_the_last_update_and_the_outputs_is_gone_on_with(
    dataset, straight, monkeypatch
):
    again = job("full gradient", dataset, "out")
    with monkeypatch.context() as patch:
        patch.setattr("memdt.training.train.write_text", fail)
        with pytest.raises(Killed):
            train_stage(again)
    train_stage(again)
    assert result(again.out) == straight("full gradient")


def fail(*_: object) -> None:
    raise Killed


def test_what_was_spent_before_is_kept(dataset):
    again = job("full gradient", dataset, "out")
    killed_after(2, again)
    first = state(again.out)["point"]["seconds"]
    killed_after(2, again)
    second = state(again.out)["point"]["seconds"]
    assert 0 < first[0] < second[0]
    assert 0 < first[1] < second[1]


def with_settings(job: TrainingJob) -> TrainingJob:
    return replace(job, settings=settings(RATE, learning_rate=0.5))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (with_settings, "settings"),
        (lambda job: replace(job, seed=1), "seed"),
        (lambda job: replace(job, source_digest="another"), "source"),
    ],
    ids=["settings", "seed", "source"],
)
def test_a_state_of_something_else_is_set_aside(change, word, dataset, straight, capsys):
    again = job("full gradient", dataset, "data/runs/out")
    killed_after(3, change(again))
    left = (again.out / NAME).read_bytes()
    train_stage(again)
    assert result(again.out) == straight("full gradient")
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert f"differs in {word}; it is set aside as {FOLDER}/data/runs/out/{NAME}" in notes[0]
    assert (FOLDER / again.out / NAME).read_bytes() == left


def test_a_state_from_another_start_is_set_aside(dataset, capsys):
    two = settings(RATE, segments=2, curriculum=True)
    starts = []
    for seed in (0, 1):
        train_stage(TrainingJob(two, 1, seed, dataset, None, Path(f"start_{seed}")))
        starts.append(Path(f"start_{seed}/checkpoint.safetensors"))
    train_stage(TrainingJob(two, 2, 0, dataset, starts[0], Path("straight")))
    killed_after(3, TrainingJob(two, 2, 0, dataset, starts[1], Path("out")))
    train_stage(TrainingJob(two, 2, 0, dataset, starts[0], Path("out")))
    assert result("out") == result("straight")
    assert "differs in start" in capsys.readouterr().err


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-100],
    "empty": lambda content: b"",
    "a flipped bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "zeros": lambda content: bytes(len(content)),
    "text": lambda content: b"not a state",
}


@pytest.mark.parametrize("damage", [*DAMAGES, "a checkpoint", "pickle"])
def test_a_damaged_or_foreign_state_is_set_aside(damage, dataset, straight, capsys):
    again = job("full gradient", dataset, "data/runs/out")
    killed_after(3, again)
    path = again.out / NAME
    if damage in DAMAGES:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    elif damage == "pickle":
        torch.save({"a": torch.zeros(1)}, path)
    else:
        path.write_bytes(straight("full gradient")["checkpoint.safetensors"])
    train_stage(again)
    assert result(again.out) == straight("full gradient")
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert "resume state" in notes[0]
    assert (FOLDER / again.out / NAME).is_file()


def test_setting_aside_keeps_what_is_there_already(tmp_path):
    for text in ("one", "two", "three"):
        path = Path("data/runs/file.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        where = set_aside(path)
        assert where.read_text() == text
        assert not path.exists()
    names = sorted(path.name for path in (FOLDER / "data/runs").iterdir())
    assert names == ["file.1.csv", "file.2.csv", "file.csv"]


def test_a_file_outside_the_project_stays_beside_its_place(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "file.csv").write_text("a")
    monkeypatch.chdir(tmp_path / "here")
    assert set_aside(tmp_path / "file.csv") == tmp_path / "file.csv.set_aside"


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_a_bad_interval_is_one_clear_line(text, monkeypatch):
    monkeypatch.setenv(EVERY, text)
    with pytest.raises(UserError, match=f"{EVERY}: '{text}' is not a number of seconds"):
        save_every_seconds()


def test_by_default_a_state_is_saved_every_minute(monkeypatch, dataset):
    monkeypatch.delenv(EVERY)
    assert save_every_seconds() == 60
    again = job("full gradient", dataset, "out")
    killed_after(3, again)
    assert not (again.out / NAME).exists()


def test_a_failing_save_is_reported_and_training_goes_on(dataset, straight, monkeypatch, capsys):
    again = job("full gradient", dataset, "out")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        killed_after_quietly(again)
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 3
    assert "No space left on device" in notes[0]
    assert "training continues" in notes[0]
    train_stage(again)
    assert result(again.out) == straight("full gradient")


def killed_after_quietly(job: TrainingJob) -> None:
    killed_after(3, job)
    assert list(job.out.iterdir()) == []


def full_disk(_: object) -> None:
    raise OSError(28, os.strerror(28))


def test_what_a_killed_process_was_writing_is_removed(dataset):
    again = job("no weights", dataset, "out")
    again.out.mkdir()
    left = [again.out / f".{name}.ab1_x9yz.safetensors" for name in ("resume.safetensors", "a.b")]
    for path in [*left, again.out / ".keep", again.out / ".hidden.csv"]:
        path.write_text("half")
    train_stage(again)
    hidden = sorted(path.name for path in again.out.glob(".*"))
    assert hidden == [".hidden.csv", ".keep"]
    remove_temporaries(Path("there is none"))


# ---- a graphics card -----------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_stop_on_a_graphics_card_changes_no_byte(dataset, monkeypatch):
    monkeypatch.setenv("MEMDT_DEVICE", "cuda")
    for case in ("memory noise", "detached", "gate and charge"):
        once = job(case, dataset, f"once {case}")
        train_stage(once)
        again = job(case, dataset, f"again {case}")
        killed_after(3, again)
        train_stage(again)
        assert result(again.out) == result(once.out)


@pytest.mark.parametrize("model", [RATE, {"name": "conservative_q", "width": 8}])
def test_a_loss_that_is_no_number_ends_the_stage_and_the_state_before_is_kept(
    dataset, tmp_path, model, monkeypatch, capsys
):
    run = settings(model)
    out = tmp_path / "out"
    learnt = Course._update

    def spoil(course: Course) -> None:
        if course.point.updates == 2:
            for parameter in course.learner.policy.parameters():
                parameter.data.fill_(torch.nan)
        learnt(course)

    monkeypatch.setattr(Course, "_update", spoil)
    with pytest.raises(UserError, match=r"loss is nan at update 3 of stage 1.*learning_rate"):
        train_stage(TrainingJob(run, 1, 0, dataset, None, out))
    assert [path.name for path in out.iterdir() if path.suffix != ".lock"] == [NAME]
    monkeypatch.setattr(Course, "_update", learnt)
    train_stage(TrainingJob(run, 1, 0, dataset, None, out))
    assert "goes on from update 2/" in capsys.readouterr().err
