"""Files that are replaced or do not fit keep a name."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from memdt import set_aside


@pytest.fixture(autouse=True)
def project_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_name_that_is_taken_gets_a_number():
    for text in ("one", "two", "three"):
        set_aside.set_aside(written("data/runs/a.csv", text))
    folder = set_aside.FOLDER / "data/runs"
    contents = {path.name: path.read_text() for path in folder.iterdir()}
    assert contents == {"a.csv": "one", "a.1.csv": "two", "a.2.csv": "three"}
    assert not Path("data/runs/a.csv").exists()


def test_what_is_kept_costs_nothing_until_it_is_replaced():
    path = written("data/runs/a.csv", "old")
    kept = set_aside.keep([path])
    assert kept[path].samefile(path)
    assert set_aside.settle(kept) == []
    assert not kept[path].exists()
    assert path.read_text() == "old"


def test_what_is_replaced_by_other_content_stays():
    path = written("data/runs/a.csv", "old")
    kept = set_aside.keep([path])
    path.unlink()
    path.write_text("new")
    assert [second.read_text() for second in set_aside.settle(kept)] == ["old"]


def test_what_is_made_again_to_the_same_bytes_needs_no_second_name():
    path = written("data/runs/a.csv", "same")
    kept = set_aside.keep([path])
    path.unlink()
    path.write_text("same")
    assert set_aside.settle(kept) == []


def test_what_was_deleted_and_not_made_again_stays():
    path = written("data/runs/a.csv", "old")
    kept = set_aside.keep([path])
    path.unlink()
    assert [second.read_text() for second in set_aside.settle(kept)] == ["old"]


def test_files_behind_a_link_to_another_disk_are_kept_under_the_paths_they_are_called_by(
    tmp_path_factory, monkeypatch
):
    scratch = tmp_path_factory.mktemp("scratch")
    written("data/keep", "")
    Path("data/runs").symlink_to(scratch)
    path = written("data/runs/a.csv", "old")

    def no_link(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(set_aside.os, "link", no_link)
    kept = set_aside.keep([path])
    path.write_text("new")
    assert kept == {path: set_aside.FOLDER / "data/runs/a.csv"}
    assert [second.read_text() for second in set_aside.settle(kept)] == ["old"]
    assert [file.name for file in scratch.iterdir()] == ["a.csv"]
    assert set_aside.set_aside(path) == set_aside.FOLDER / "data/runs/a.1.csv"
