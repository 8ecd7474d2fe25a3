"""Files are written whole or not at all."""

from __future__ import annotations

import os

import pytest

from memdt.files import atomic_path, write_text


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
