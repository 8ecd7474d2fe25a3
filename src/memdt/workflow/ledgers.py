"""Snakemake's records travel with the files: a ledger beside them, checked by content.

Snakemake keeps in `.snakemake/metadata` what made each file, and notices by it that parameters have
changed. A clone that pulls the files lacks these records, and Snakemake then takes any file that is
there for good, whatever made it. So every start and end of Snakemake writes what it knows into
ledgers, which lie beside the files and are kept by DVC with them:

    data/datasets/{scale}/{environment}.records.jsonl
    data/runs/{scale}/{experiment}/records.jsonl
    reports/{scale}/{tables,figures}/{name}.records.jsonl

and every start gives Snakemake the record of each file whose content is what the ledger says. A
file that nothing vouches for gets a record that says just this, so that Snakemake makes it anew.
File times are put in order where contents show that nothing has changed.
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

# What decides whether a file is out of date, and is the same whoever makes it, wherever.
KEPT = (
    "rule", "input", "log", "params", "code", "record_format_version", "container_img_url",
    "software_stack_hash", "input_checksums",
)  # fmt: skip
CHANGED = "(nothing vouches for this file: its content is not what was recorded)"
_NONE: frozenset[Path] = frozenset()
UNKNOWN = "(nothing vouches for this file: it was not made by this workflow)"


@dataclass(frozen=True)
class Entry:
    """What the ledger says of one file."""

    sha256: str
    inputs: dict[str, str]  # the digest of each input when the file was made
    record: dict[str, Any]  # Snakemake's, without what differs from run to run


@dataclass
class Summary:
    """What a look at all files has found."""

    restored: list[Path] = field(default_factory=list)
    doubted: list[Path] = field(default_factory=list)  # newly, since the last look
    gone: list[Path] = field(default_factory=list)

    def notes(self) -> list[str]:
        """In words, for people."""
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
    """Bring ledgers up to date and, where a run starts, Snakemake's records and file times.

    Args:
        files: what lies in the folders that Snakemake's rules write to.
        starts: whether a run is about to start; only then is a file doubted.
        alone: whether no other Snakemake is at work here; only then are file times changed.
        dry: whether only a plan is asked for: then no file, record or time is changed.
        cleared: what has just been removed, because the last run was stopped while making it.
        asked: what the settings ask for; of this a ledger remembers also what is gone.
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
            ledger = paths.ledger(path)
            ledgers[ledger][path.as_posix()] = read_ledger(ledger)[path.as_posix()]
    if dry:
        look.records.show_snakemake()
        return look.summary
    for file, entries_of_file in ledgers.items():
        write_ledger(file, entries_of_file)
    look.digests.save()
    return look.summary


@dataclass
class _Look:
    """One look at all files."""

    records: upstream.Records
    digests: Digests
    starts: bool
    summary: Summary = field(default_factory=Summary)

    def settle(self, path: Path) -> Entry | None:
        """Decide about one file; its entry in the ledger, None where nothing is known of it."""
        entry = read_ledger(paths.ledger(path)).get(path.as_posix())
        # Marked from before a job begins until its outputs are recorded, whoever's job it is.
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
        """Whether the content is another one although nobody has made the file anew.

        Its time is the recorded one, so it was copied with its time, or damaged on the disk.
        """
        if entry is None or self.digests.of(path) == entry.sha256:
            return False
        record = self.records.read(path) or {}
        same_record = entry.record == {key: record.get(key) for key in KEPT}
        return same_record and not self.digests.seen_at_another_time(path)


def _gone(ledgers: dict[Path, dict[str, Entry]], cleared: Set[Path]) -> Iterator[Path]:
    """What a ledger holds and nobody finds, unless a job that was stopped had removed it."""
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
    """Let file times say what contents say: Snakemake goes by them alone for big files.

    A file made from inputs that are still the same must not be older than they, and one whose input
    is another now must be.
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
    """The entries of a ledger by path; nothing where there is none or it is no ledger."""
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
        return {}  # then nothing vouches for the files, which is what a reader has to know


def _entry(line: dict[str, Any]) -> Entry:
    """The entry of a line; TypeError where it is none."""
    digest, inputs, record = line["sha256"], line["inputs"], line["record"]
    if not (isinstance(digest, str) and isinstance(inputs, dict) and isinstance(record, dict)):
        raise TypeError("no entry of a ledger")
    return Entry(digest, inputs, record)


def write_ledger(file: Path, entries: dict[str, Entry]) -> None:
    """Write a ledger, sorted, unless it says the same already; none where nothing is left."""
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
    """SHA-256 of files, remembered for as long as size and times of a file stay as they are."""

    FILE = upstream.FOLDER / "memdt_digests.json"

    def __init__(self) -> None:
        """Read what earlier processes have remembered."""
        try:
            self._known: dict[str, list[Any]] = json.loads(self.FILE.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}
        self._used: dict[str, list[Any]] = {}

    def of(self, path: Path) -> str:
        """The digest of a file that is there."""
        name, state = path.as_posix(), _state(path)
        known = self._used.get(name) or self._known.get(name)
        if known is None or known[:-1] != state:
            known = [*state, sha256(path)]
        self._used[name] = known
        return str(known[-1])

    def seen_at_another_time(self, path: Path) -> bool:
        """Whether the last look found the file with another time: then it was written since."""
        known = self._known.get(path.as_posix())
        return known is not None and known[1] != path.stat().st_mtime_ns

    def note(self, path: Path, digest: str) -> None:
        """Take over a digest after a file's time was changed and nothing else."""
        self._used[path.as_posix()] = [*_state(path), digest]

    def save(self) -> None:
        """Keep what was asked for, and forget the rest."""
        if self._used != self._known:
            write_text(self.FILE, json.dumps(self._used))


def _state(path: Path) -> list[int]:
    """Its time comes second; the last one is that of any change, which nobody can set."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]


# ---- which files there are -------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """What lies in the folders that Snakemake's rules write to."""

    outputs: tuple[Path, ...]  # that a rule makes
    ledgers: tuple[Path, ...]


def files_of(rules: Iterable[Any]) -> Files:
    """The files that are there and that one of Snakemake's rules makes, and all ledgers."""
    patterns = [output for rule in rules for output in rule.output]
    roots = {Path(pattern.constant_prefix()) for pattern in patterns}
    found = [path for root in _outermost(roots) for path in files_below(root)]
    return Files(
        tuple(
            Path(path)
            for path in found
            if any(p.match(path) for p in patterns) and os.path.exists(path)  # no dangling link
        ),
        tuple(Path(path) for path in found if path.endswith(paths.LEDGER)),
    )


def files_below(root: Path) -> Iterator[str]:
    """All files, also below links to folders elsewhere; a folder once, whatever leads to it."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (os.path.join(folder, name) for name in names)


def _outermost(folders: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for folder in sorted(folders):
        if not any(folder.is_relative_to(one) for one in found):
            found.append(folder)
    return found


def _files(found: Sequence[Path]) -> str:
    return f"{len(found):,} file{'' if len(found) == 1 else 's'}"


def _some(found: Sequence[Path]) -> str:
    return ", ".join(map(str, found[:3])) + (", ..." if len(found) > 3 else "")
