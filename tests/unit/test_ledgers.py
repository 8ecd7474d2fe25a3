"""Ledgers: a file is believed for its content, and nothing that is damaged is ever recorded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.io import IOFile, _IOFile
from snakemake.persistence.file import FilePersistence

from memdt import paths
from memdt.files import sha256
from memdt.workflow import ledgers, upstream

EPISODES = paths.episodes("tiny", "walk", "near", 0)
TABLE = paths.table("tiny", "walk")
RULES = [
    SimpleNamespace(output=[IOFile("data/runs/{scale}/{experiment}/{variant}/seed_{seed}/{name}")]),
    SimpleNamespace(output=[IOFile("reports/{scale}/tables/{experiment}.csv")]),
]
Look = Callable[..., list[str]]


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Look]:
    """A look at a folder with an evaluation and its table; what it says, in words."""
    monkeypatch.chdir(tmp_path)
    for path, text in ((EPISODES, "0,1\n"), (TABLE, "0.5\n")):
        path.parent.mkdir(parents=True)
        make(path, text)
    own = (FilePersistence._read_record, _IOFile.mtime_uncached)

    def synchronise(starts: bool = True, alone: bool = True, **options: Any) -> list[str]:
        ledgers._read_version.cache_clear()
        files = ledgers.files_of(RULES)
        return ledgers.synchronise(files, starts, alone, **options).notes()

    assert synchronise() == []
    yield synchronise
    FilePersistence._read_record, _IOFile.mtime_uncached = own


def make(path: Path, text: str) -> None:
    """As a job of Snakemake's makes it: the file, then its record."""
    upstream.FOLDER.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    upstream.write_record(path, {"rule": "evaluate", "params": ["settings"], "log": []})


def damage(path: Path) -> None:
    """Replace a file by another one of the same size and time, as `rsync -t` does."""
    before = path.stat()
    other = path.with_name("other")
    shutil.copy(path, other)
    other.write_bytes(other.read_bytes()[::-1])
    os.replace(other, path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def recorded(path: Path) -> str:
    ledgers._read_version.cache_clear()
    return ledgers.read_ledger(paths.ledger(path))[path.as_posix()].sha256


def params(path: Path) -> Any:
    return (upstream.read_record(path) or {}).get("params")


def tree(*roots: str) -> dict[Path, tuple[int, bytes]]:
    """All files with their times and contents."""
    files = [path for root in roots for path in Path(root).rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_damaged_file_of_the_same_time_is_doubted_and_never_recorded(look):
    digest = recorded(EPISODES)
    damage(EPISODES)
    assert look() == [f"1 file not as recorded, to be made anew: {EPISODES}"]
    assert params(EPISODES) == [ledgers.CHANGED]
    assert look() == []  # told once; Snakemake knows by now
    assert recorded(EPISODES) == digest != sha256(EPISODES)


def test_so_is_one_that_is_damaged_in_its_place(look):
    status = EPISODES.stat()
    with EPISODES.open("r+b") as file:
        file.write(b"1")
    os.utime(EPISODES, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "not as recorded" in look()[0]


def test_the_right_content_under_the_same_time_is_believed_again(look):
    shutil.copy2(EPISODES, "backup")
    damage(EPISODES)
    look()
    shutil.copy2("backup", EPISODES)
    assert look() == ["1 file found as recorded, and taken over"]
    assert params(EPISODES) == ["settings"]


def test_a_file_that_was_made_anew_with_another_content_is_recorded(look):
    make(EPISODES, "0,2\n")
    assert look(starts=False) == []
    assert recorded(EPISODES) == sha256(EPISODES)


def test_without_a_memory_of_the_last_look_a_ledger_is_not_overwritten(look):
    digest = recorded(EPISODES)
    damage(EPISODES)
    ledgers.Digests.FILE.unlink()
    assert "not as recorded" in look()[0]
    assert recorded(EPISODES) == digest


def test_a_dry_run_writes_nothing_and_still_plans_by_contents(look):
    damage(EPISODES)
    os.utime(TABLE, (1e9, 1e9))  # as a checkout leaves it
    before = tree("data", "reports", ".snakemake")
    messages = look(dry=True)
    assert messages == [
        "1 file found as recorded, and taken over",
        f"1 file not as recorded, to be made anew: {EPISODES}",
    ]
    assert tree("data", "reports", ".snakemake") == before
    files = FilePersistence(dag=None)
    assert files._read_record(EPISODES.as_posix()).params == [ledgers.CHANGED]
    assert files._read_record(TABLE.as_posix()).endtime == 1e9


def test_an_edited_file_is_doubted_also_beside_another_snakemake(look):
    EPISODES.write_text("1,1\n", encoding="utf-8")
    assert look(alone=False) == [f"1 file not as recorded, to be made anew: {EPISODES}"]


def test_what_another_snakemake_is_making_is_left_alone(look):
    EPISODES.write_text("1,1\n", encoding="utf-8")
    marker = upstream.record_path(EPISODES, "incomplete")
    marker.parent.mkdir(exist_ok=True)
    marker.write_text("{}", encoding="utf-8")
    assert look(alone=False) == []


def test_a_missing_file_is_reported_once(look):
    EPISODES.unlink()
    assert look(dry=True) == look() != []
    assert look() == []
    TABLE.unlink()
    assert f"1 file recorded, but gone: {TABLE}" in look()[0]
    assert not paths.ledger(TABLE).exists()


def test_of_what_is_asked_for_a_ledger_remembers_that_it_is_gone(look):
    digest = recorded(EPISODES)
    EPISODES.unlink()
    for _ in range(2):
        assert look(asked=lambda: frozenset([EPISODES]))[0].startswith("1 file recorded, but gone")
    assert recorded(EPISODES) == digest
    make(EPISODES, "0,1\n")
    assert look(asked=lambda: frozenset([EPISODES])) == []


def test_files_cleared_up_after_a_kill_are_not_reported(look):
    EPISODES.unlink()
    assert look(cleared={EPISODES}) == []


def test_runs_on_another_disk_are_looked_at(look):
    scratch = Path("scratch/runs")
    scratch.parent.mkdir()
    shutil.move(paths.RUNS / "tiny", scratch)
    (paths.RUNS / "tiny").symlink_to(scratch.resolve())
    (scratch / "back").symlink_to(scratch.resolve())  # a link that leads round in circles
    shutil.rmtree(".snakemake")
    upstream.FOLDER.mkdir()
    assert look() == ["2 files found as recorded, and taken over"]
    assert params(EPISODES) == ["settings"]


def test_a_file_that_is_a_link_into_a_cache_is_believed_and_the_cache_left_alone(look):
    """As DVC's cache.type symlink leaves it; the cache may belong to somebody else."""
    cache = Path("cache")
    shutil.move(EPISODES, cache)
    os.utime(cache, (1e9, 1e9))
    EPISODES.symlink_to(cache.resolve())
    assert look() == ["1 file found as recorded, and taken over"]
    assert cache.stat().st_mtime == 1e9
    assert look() == []
