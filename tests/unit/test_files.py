"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os

import pytest

from memdt.files import atomic_path, remove_temporaries, write_text


def test_the_folder_is_made_and_the_text_is_there(tmp_path):
    write_text(tmp_path / "new" / "folder" / "file.csv", "a,b\n")
    assert (tmp_path / "new" / "folder" / "file.csv").read_text() == "a,b\n"


def test_a_failing_block_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file.csv"
    write_text(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_named(tmp_path, monkeypatch):
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as refused:
        write_text(tmp_path / "file.csv", "text")
    assert refused.value.filename == str(tmp_path / "file.csv")
    assert list(tmp_path.iterdir()) == []


def test_the_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda file: seen.append(list(tmp_path.glob("file.csv"))))
    write_text(tmp_path / "file.csv", "text")
    assert seen == [[]]


def test_only_what_atomic_path_left_is_removed(tmp_path):
    with atomic_path(tmp_path / "file.csv") as temporary:
        left = tmp_path / temporary.name
        for name in (".keep", ".file.csv", "file.csv.ab1_x9yz"):
            (tmp_path / name).write_text("")
        remove_temporaries(tmp_path)
        assert not left.exists()
        left.write_text("")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".keep", ".file.csv", "file.csv", "file.csv.ab1_x9yz"]
    )


def test_of_one_file_what_was_left_is_removed(tmp_path):
    for name in (".one.h5.ab1_x9yz.h5", ".other.h5.ab1_x9yz.h5", ".one.h5", "one.h5"):
        (tmp_path / name).write_text("")
    remove_temporaries(tmp_path, "one.h5")
    assert {path.name for path in tmp_path.iterdir()} == {
        ".other.h5.ab1_x9yz.h5",
        ".one.h5",
        "one.h5",
    }


def test_nothing_is_at_the_final_name_before_the_block_ends(tmp_path):
    path = tmp_path / "file.h5"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename across file systems is no rename
        assert temporary.suffix == ".h5"
    assert path.read_bytes() == b"half"


def test_others_may_read_what_the_umask_allows(tmp_path):
    mask = os.umask(0o022)
    try:
        write_text(tmp_path / "file", "text")
    finally:
        os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
