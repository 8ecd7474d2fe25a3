"""Ledgers: Snakemake's records, kept beside the files and checked by content.

Snakemake keeps in `.snakemake/metadata` what made each file, and detects changed parameters by it.
A clone that pulls the files lacks these records, and Snakemake then accepts any existing file,
whatever made it. So every start and end of Snakemake copies its records into ledgers, which lie
beside the files and are kept by DVC with them:

    data/datasets/{scale}/{environment}.records.jsonl
    data/runs/{scale}/{experiment}/records.jsonl
    reports/{scale}/{tables,figures}/{name}.records.jsonl

Every start gives Snakemake the record of each file whose content matches the ledger. A file that
matches none gets a record that says so, and Snakemake makes it anew. File times are corrected
where contents show that nothing has changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from memdt import paths
from memdt.files import sha256, write_text
from memdt.workflow import upstream

# The keys of a record that decide whether a file is out of date, and do not depend on the machine.
KEPT = (
    "rule", "input", "log", "params", "code", "record_format_version", "container_img_url",
    "software_stack_hash", "input_checksums",
)  # fmt: skip
CHANGED = "(nothing vouches for this file: its content is not what was recorded)"
_NONE: frozenset[Path] = frozenset()
UNKNOWN = "(nothing vouches for this file: it was not made by this workflow)"


@dataclass(frozen=True)
class Entry:
    """A ledger's entry for one file."""

    sha256: str
    inputs: dict[str, str]  # the digest of each input when the file was made
    record: dict[str, Any]  # Snakemake's, without the keys that differ from run to run


@dataclass
class Summary:
    """What `synchronise` changed."""

    restored: list[Path] = field(default_factory=list)
    doubted: list[Path] = field(default_factory=list)  # since the last time
    gone: list[Path] = field(default_factory=list)

    def notes(self) -> list[str]:
        """The changes as sentences for the user."""
        lines = []
        if self.restored:
            lines.append(f"{_files(self.restored)} found as recorded, and taken over")
        if self.doubted:
            which = _some(self.doubted)
            lines.append(f"{_files(self.doubted)} not as recorded, to be made anew: {which}")
        if self.gone:
            remedy = "what is needed is made anew, and each of them by its name"
            lines.append(f"{_files(self.gone)} recorded, but gone: {_some(self.gone)} -> {remedy}")
        return lines


def synchronise(
    files: Files,
    starts: bool,
    alone: bool = False,
    dry: bool = False,
    cleared: Set[Path] = _NONE,
    asked: Callable[[], Set[Path]] = frozenset,
) -> Summary:
    """Bring ledgers up to date and, if a run starts, Snakemake's records and file times.

    Args:
        files: the files in the folders that Snakemake's rules write to.
        starts: whether a run is about to start; only then is a file doubted.
        alone: whether no other Snakemake works here; only then are file times changed.
        dry: whether this is only a plan, which changes no file, record or time.
        cleared: files that were just removed, because the last run was stopped while making them.
        asked: the files that the settings ask for; ledgers remember those that are gone.
    """
    look = _Look(upstream.Records(dry), Digests(), starts)
    ledgers: dict[Path, dict[str, Entry]] = {file: {} for file in files.ledgers}
    for path in sorted(files.outputs):
        ledger = ledgers.setdefault(paths.ledger(path), {})
        entry = look.settle(path)
        if entry is not None:
            ledger[path.as_posix()] = entry
    if starts and alone:
        entries = [entry for ledger in ledgers.values() for entry in ledger.items()]
        _put_times_in_order(entries, look)
    if starts:
        look.summary.gone = sorted(_gone(ledgers, cleared))
        remembered = frozenset(asked()) if look.summary.gone else _NONE
        for path in remembered.intersection(look.summary.gone):
            file = paths.ledger(path)
            ledgers[file][path.as_posix()] = read_ledger(file)[path.as_posix()]
    if dry:
        look.records.show_snakemake()
        return look.summary
    for file, entries_of_file in ledgers.items():
        write_ledger(file, entries_of_file)
    look.digests.save()
    return look.summary


@dataclass
class _Look:
    """The state of one synchronisation."""

    records: upstream.Records
    digests: Digests
    starts: bool
    summary: Summary = field(default_factory=Summary)

    def settle(self, path: Path) -> Entry | None:
        """Check one file against record and ledger; its new entry, None if it has none."""
        entry = read_ledger(paths.ledger(path)).get(path.as_posix())
        # The mark lasts from before a job begins until its outputs are recorded.
        if upstream.is_unfinished(path):
            return entry
        record = self.records.read(path)
        as_left = record is not None and record["endtime"] == self.records.time(path)
        doubted = record is not None and record["params"] in ([CHANGED], [UNKNOWN])
        if record is not None and as_left and not doubted and not self._is_damaged(path, entry):
            return _noted(path, record, entry, self.digests)
        if not self.starts or upstream.is_unfinished(path):  # a job may have begun meanwhile
            return entry
        if entry is not None and self.digests.of(path) == entry.sha256:
            self.records.write(path, entry.record)
            self.summary.restored.append(path)
        elif not (as_left and doubted):
            self.records.write(path, {"params": [CHANGED if record or entry else UNKNOWN]})
            self.summary.doubted.append(path)
        return entry

    def _is_damaged(self, path: Path, entry: Entry | None) -> bool:
        """Whether the content has changed although no job has made the file anew.

        Its time is the recorded one, so it was copied with its time, or damaged on the disk.
        """
        if entry is None or self.digests.of(path) == entry.sha256:
            return False
        record = self.records.read(path) or {}
        same_record = entry.record == {key: record.get(key) for key in KEPT}
        return same_record and not self.digests.seen_at_another_time(path)


def _gone(ledgers: dict[Path, dict[str, Entry]], cleared: Set[Path]) -> Iterator[Path]:
    """Files of a ledger that no longer exist, unless a stopped job removed them."""
    for file in ledgers:
        for path in map(Path, read_ledger(file)):
            if not (path.exists() or path in cleared or upstream.is_unfinished(path)):
                yield path


def _noted(path: Path, record: dict[str, Any], old: Entry | None, digests: Digests) -> Entry:
    kept, digest = {key: record.get(key) for key in KEPT}, digests.of(path)
    if old is not None and (old.sha256, old.record) == (digest, kept):
        return old
    inputs = {}
    for name in record["input"]:
        known = record["input_checksums"].get(name)  # of small files, taken when the job ended
        if known is not None:
            inputs[name] = known.removeprefix("sha256:")
        elif _time(name) <= record["endtime"]:  # not replaced since
            inputs[name] = digests.of(Path(name))
    return Entry(digest, inputs, kept)


def _put_times_in_order(entries: list[tuple[str, Entry]], look: _Look) -> None:
    """Make file times agree with contents, because Snakemake goes by times alone for big files.

    A file whose inputs are unchanged must not be older than they are. A file with a changed input
    must be older than that input.
    """
    known, digests, time = dict(entries), look.digests, look.records.time
    graph = {name: set(entry.inputs) for name, entry in entries}
    for name in TopologicalSorter(graph).static_order():
        if name not in known:
            continue
        used = {i: digest for i, digest in known[name].inputs.items() if Path(i).is_file()}
        same = {i: digests.of(Path(i)) == digest for i, digest in used.items()}
        newest = max((time(i) for i in used), default=0.0)
        if not all(same.values()):
            oldest_change = min(time(i) for i in used if not same[i])
            if time(name) >= oldest_change:
                _set_time(Path(name), oldest_change - 1, look)
        elif newest > time(name):
            _set_time(Path(name), newest + 0.001, look)


def _set_time(path: Path, seconds: float, look: _Look) -> None:
    digest = look.digests.of(path)
    look.records.set_time(path, seconds)
    look.digests.note(path, digest)


def _time(path: Path | str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return float("inf")


# ---- ledgers ---------------------------------------------------------------------------------


def read_ledger(file: Path) -> dict[str, Entry]:
    """The entries of a ledger by path; empty if the file is missing or not a ledger."""
    try:
        status = file.stat()
    except OSError:
        return {}
    return _read_version(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _read_version(file: Path, modified: int, size: int) -> dict[str, Entry]:
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return {str(line["path"]): _entry(line) for line in lines}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}  # so the ledger proves nothing about its files


def _entry(line: dict[str, Any]) -> Entry:
    """The entry of a line; TypeError where it is none."""
    digest, inputs, record = line["sha256"], line["inputs"], line["record"]
    if not (isinstance(digest, str) and isinstance(inputs, dict) and isinstance(record, dict)):
        raise TypeError("no entry of a ledger")
    return Entry(digest, inputs, record)


def write_ledger(file: Path, entries: dict[str, Entry]) -> None:
    """Write a ledger, sorted by path, unless it is up to date; remove it if it has no entries."""
    if read_ledger(file) == entries:
        return
    if not entries:
        file.unlink(missing_ok=True)
        return
    lines = [
        json.dumps({"path": path, **vars(entries[path])}, sort_keys=True)
        for path in sorted(entries)
    ]
    write_text(file, "".join(f"{line}\n" for line in lines))


class Digests:
    """SHA-256 of files, remembered as long as a file's size, times and inode stay the same."""

    FILE = upstream.FOLDER / "memdt_digests.json"

    def __init__(self) -> None:
        """Read the digests that earlier processes saved."""
        try:
            self._known: dict[str, list[Any]] = json.loads(self.FILE.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}
        self._used: dict[str, list[Any]] = {}

    def of(self, path: Path) -> str:
        """The digest of an existing file."""
        name, state = path.as_posix(), _state(path)
        known = self._used.get(name) or self._known.get(name)
        if known is None or known[:-1] != state:
            known = [*state, sha256(path)]
        self._used[name] = known
        return str(known[-1])

    def seen_at_another_time(self, path: Path) -> bool:
        """Whether the file's time has changed since the last run, so that it was written anew."""
        known = self._known.get(path.as_posix())
        return known is not None and known[1] != path.stat().st_mtime_ns

    def note(self, path: Path, digest: str) -> None:
        """Keep a file's digest after only its time has changed."""
        self._used[path.as_posix()] = [*_state(path), digest]

    def save(self) -> None:
        """Save the digests that were asked for, and forget the others."""
        if self._used != self._known:
            write_text(self.FILE, json.dumps(self._used))


def _state(path: Path) -> list[int]:
    """Size, time, inode and the time of the last change of any kind, which cannot be set."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]


# ---- files on disk ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """The files in the folders that Snakemake's rules write to."""

    outputs: tuple[Path, ...]  # files that a rule makes
    ledgers: tuple[Path, ...]


def files_of(rules: Iterable[Any]) -> Files:
    """The existing files that one of Snakemake's rules makes, and all ledgers."""
    patterns = [output for rule in rules for output in rule.output]
    roots: list[Path] = []  # none inside another, so that no file comes twice
    for prefix in sorted({Path(pattern.constant_prefix()) for pattern in patterns}):
        if not any(prefix.is_relative_to(root) for root in roots):
            roots.append(prefix)
    names = [name for root in roots for name in files_below(root)]
    return Files(
        tuple(
            Path(name)
            for name in names
            if any(p.match(name) for p in patterns) and os.path.exists(name)  # no dangling link
        ),
        tuple(Path(name) for name in names if name.endswith(paths.LEDGER)),
    )


def files_below(root: Path) -> Iterator[str]:
    """All files, also below links to folders elsewhere; each folder once, however many links."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (os.path.join(folder, name) for name in names)


def _files(files: Sequence[Path]) -> str:
    return f"{len(files):,} file{'' if len(files) == 1 else 's'}"


def _some(files: Sequence[Path]) -> str:
    return ", ".join(map(str, files[:3])) + (", ..." if len(files) > 3 else "")
