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
from collections.abc import Iterable, Iterator, Sequence
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

    def notes(self) -> list[str]:
        """The changes as sentences for the user."""
        notes = []
        if self.restored:
            notes.append(f"{_files(self.restored)} found as recorded, and taken over")
        if self.doubted:
            first = ", ".join(map(str, self.doubted[:3]))
            more = ", ..." if len(self.doubted) > 3 else ""
            notes.append(f"{_files(self.doubted)} not as recorded, to be made anew: {first}{more}")
        return notes


def synchronise(outputs: Iterable[Path], mend: bool) -> Summary:
    """Bring ledgers up to date and, if ``mend``, Snakemake's records and file times.

    Args:
        outputs: the existing files that Snakemake's rules make.
        mend: whether to change records and times. Only for a process that is alone in the folder:
            another one's job may just have written a file that Snakemake has yet to record.
    """
    digests, summary = Digests(), Summary()
    ledgers: dict[Path, dict[str, Entry]] = {}
    for path in sorted(outputs):
        ledger = ledgers.setdefault(paths.ledger(path), {})
        entry = _settle(path, digests, mend, summary)
        if entry is not None:
            ledger[path.as_posix()] = entry
    if mend:
        _put_times_in_order([e for ledger in ledgers.values() for e in ledger.items()], digests)
    for file, entries in ledgers.items():
        write_ledger(file, entries)
    digests.save()
    return summary


def _settle(path: Path, digests: Digests, mend: bool, summary: Summary) -> Entry | None:
    """Check one file against record and ledger; its new entry, None if nothing is known of it."""
    entry = read_ledger(paths.ledger(path)).get(path.as_posix())
    record = upstream.read_record(path)
    if record is not None and record["endtime"] == path.stat().st_mtime:  # as Snakemake left it
        doubted = record["params"] in ([CHANGED], [UNKNOWN])
        return entry if doubted else _noted(path, record, entry, digests)
    if not mend or upstream.is_unfinished(path):
        return entry
    if entry is not None and digests.of(path) == entry.sha256:
        upstream.write_record(path, entry.record)
        summary.restored.append(path)
        return entry
    upstream.write_record(path, {"params": [CHANGED if record or entry else UNKNOWN]})
    summary.doubted.append(path)
    return entry


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


def _put_times_in_order(entries: list[tuple[str, Entry]], digests: Digests) -> None:
    """Make file times agree with contents, because Snakemake goes by times alone for big files.

    A file whose inputs are unchanged must not be older than they are. A file with a changed input
    must be older than that input.
    """
    known = dict(entries)
    graph = {name: set(entry.inputs) for name, entry in entries}
    for name in TopologicalSorter(graph).static_order():
        if name not in known:
            continue
        used = {i: digest for i, digest in known[name].inputs.items() if Path(i).is_file()}
        same = {i: digests.of(Path(i)) == digest for i, digest in used.items()}
        newest = max((_time(i) for i in used), default=0.0)
        if not all(same.values()):
            oldest_change = min(_time(i) for i in used if not same[i])
            if _time(name) >= oldest_change:
                _set_time(Path(name), oldest_change - 1, digests)
        elif newest > _time(name):
            _set_time(Path(name), newest + 0.001, digests)


def _set_time(path: Path, seconds: float, digests: Digests) -> None:
    record, digest = upstream.read_record(path), digests.of(path)
    os.utime(path, (seconds, seconds))
    digests.note(path, digest)
    if record is not None:
        upstream.write_record(path, record)


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
        return {
            line["path"]: Entry(line["sha256"], line["inputs"], line["record"]) for line in lines
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # files without an entry are made anew, which is the safe side


def write_ledger(file: Path, entries: dict[str, Entry]) -> None:
    """Write a ledger, sorted by path, unless it is up to date."""
    if read_ledger(file) == entries:
        return
    lines = [
        json.dumps({"path": path, **vars(entries[path])}, sort_keys=True)
        for path in sorted(entries)
    ]
    write_text(file, "".join(f"{line}\n" for line in lines))


class Digests:
    """SHA-256 of files, remembered as long as a file's size, time and inode stay the same."""

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
        name, status = path.as_posix(), path.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_ino]
        known = self._used.get(name) or self._known.get(name)
        if known is None or known[:3] != state:
            known = [*state, sha256(path)]
        self._used[name] = known
        return str(known[3])

    def note(self, path: Path, digest: str) -> None:
        """Keep a file's digest after only its time has changed."""
        status = path.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_ino]
        self._used[path.as_posix()] = [*state, digest]

    def save(self) -> None:
        """Save the digests that were asked for, and forget the others."""
        if self._used != self._known:
            write_text(self.FILE, json.dumps(self._used))


# ---- files on disk ---------------------------------------------------------------------------


def outputs_of(rules: Iterable[Any]) -> Iterator[Path]:
    """The existing files that one of Snakemake's rules makes."""
    patterns = [output for rule in rules for output in rule.output]
    roots: list[Path] = []  # none inside another, so that no file comes twice
    for prefix in sorted({Path(pattern.constant_prefix()) for pattern in patterns}):
        if not any(prefix.is_relative_to(root) for root in roots):
            roots.append(prefix)
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                if any(pattern.match(path) for pattern in patterns):
                    yield Path(path)


def _files(files: Sequence[Path]) -> str:
    return f"{len(files):,} file{'' if len(files) == 1 else 's'}"
