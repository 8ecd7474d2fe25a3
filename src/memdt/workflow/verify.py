"""Check that every file is still as written: manifests, checkpoint headers, datasets, ledgers.

Reports files that were damaged or replaced after they were made. Changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from memdt import paths
from memdt.errors import UserError, closest
from memdt.files import sha256
from memdt.progress import Progress
from memdt.provenance import read_manifest
from memdt.workflow.ledgers import files_below

LEDGERS = "*records.jsonl"
# Files and the manifest that lists them. Without it a file is unfinished or foreign.
OWNERS = {
    "checkpoint.safetensors": "manifest.json",
    "curve.csv": "manifest.json",
    "episodes.csv": "evaluation_manifest.json",
}

Complaint = tuple[Path, str]  # a file, and what is wrong with it
Check = Callable[[], Iterator[Complaint]]


def show(scale: str = "") -> bool:
    """Check the files of one scale or of all, print what is wrong, and return whether all match."""
    complaints, checked = verify([scale] if scale else scales())
    for path, complaint in complaints.items():
        print(f"{path}: {complaint}")
    if not complaints:
        print(f"{len(checked):,} files match")
        return True
    count = f"{len(complaints):,} of {len(checked):,} files do not match"
    print(f"{count} -> {_remedy(list(complaints))}")
    return False


def scales() -> list[str]:
    """The scales that have files, configured or not."""
    roots = _roots("scale")
    folders = (folder for root in roots for folder in root.parent.glob("*") if folder.is_dir())
    return sorted({folder.name for folder in folders})


def verify(names: list[str]) -> tuple[dict[Path, str], set[Path]]:
    """The files that do not match, each with what is wrong, and all files that were checked."""
    known = scales()
    for name in names:
        if name not in known:
            raise UserError(f"scale {name!r} has no files", "verify", closest(name, known))
    sha256_of.cache_clear()  # files may have changed since this process last checked them
    checks = [check for name in names for check in _checks(name)]
    progress = Progress("verify", len(checks), unit="files")
    complaints: dict[Path, str] = {}
    for done, (_, check) in enumerate(checks, start=1):
        for path, complaint in check():
            complaints.setdefault(path, complaint)
        progress.update(done)
    progress.finish()
    return complaints, {path for path, _ in checks} | set(complaints)


def _roots(scale: str) -> tuple[Path, ...]:
    dataset, run = paths.dataset(scale, "one").parent, paths.run(scale, "one", "one", 0).parents[2]
    return dataset, run, paths.report(scale).parent


def _checks(scale: str) -> Iterator[tuple[Path, Check]]:
    """All files of a scale, each with its check."""
    datasets, runs, reports = _roots(scale)
    for path in sorted(datasets.glob("[!.]*.h5")):  # one that is being written has a dot
        yield path, partial(_dataset, path)
    for name in dict.fromkeys(OWNERS.values()):
        for path in _below(runs, name):
            yield from _of_manifest(path)
    for name, owner in OWNERS.items():
        for path in _below(runs, name):
            if not path.with_name(owner).is_file():
                yield path, partial(_complain, path, f"there is no {owner}")
    for root in (datasets, runs, reports):
        for path in _below(root, LEDGERS):
            yield from _of_ledger(path)


def _below(root: Path, pattern: str) -> list[Path]:
    """Files of this name, also behind links to another disk, which rglob does not follow."""
    return sorted(path for path in map(Path, files_below(root)) if path.match(pattern))


def _complain(path: Path, complaint: str) -> Iterator[Complaint]:
    if complaint:
        yield path, complaint


def _dataset(path: Path) -> Iterator[Complaint]:
    from memdt.data.episode_file import read_episodes

    try:
        read_episodes(path, None, "")
    except UserError as error:
        yield path, error.what


# ---- manifests -------------------------------------------------------------------------------


def _of_manifest(path: Path) -> Iterator[tuple[Path, Check]]:
    """The checks of a manifest, and of every file that it lists or should list."""
    try:
        content = read_manifest(path)
    except UserError as error:
        yield path, partial(_complain, path, error.what)
        return
    yield path, partial(_in_its_folder, path, content)
    files = content.get("files")
    listed = files if isinstance(files, dict) else {}
    for name in sorted({*listed, *(n for n, owner in OWNERS.items() if owner == path.name)}):
        file = path.parent / Path(str(name)).name  # a manifest only lists its own folder
        yield file, partial(_listed, file, path.name, listed.get(name), content)


def _in_its_folder(path: Path, content: dict[str, Any]) -> Iterator[Complaint]:
    """Complain about the manifest of another run or stage."""
    folders = {"seed": f"seed_{content.get('seed')}"}
    if path.name == "manifest.json":
        folders["stage"] = f"stage_{content.get('stage')}"
    for kind, folder in folders.items():
        if folder not in path.parts:
            yield path, f"the manifest of another {kind} ({folder})"


def _listed(
    path: Path, manifest: str, digest: object, content: dict[str, Any]
) -> Iterator[Complaint]:
    if digest is None:
        yield path, f"not listed in {manifest}"
    elif not path.is_file():
        yield path, f"listed in {manifest}, but missing"
    elif sha256_of(path) != digest:
        yield path, f"its sha256 is not the one in {manifest}"
    elif path.suffix == ".safetensors":
        yield from _header(path, manifest, content)


def _header(path: Path, manifest: str, content: dict[str, Any]) -> Iterator[Complaint]:
    """Compare the digests in a checkpoint's header with its manifest."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get("memdt", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        yield path, f"not a whole checkpoint ({type(error).__name__})"
        return
    for key in ("settings_digest", "source_digest"):
        if metadata.get(key) != content.get(key):
            yield path, f"made with {key} {metadata.get(key)}, {manifest} says {content.get(key)}"


# ---- ledgers ---------------------------------------------------------------------------------


def _of_ledger(ledger: Path) -> Iterator[tuple[Path, Check]]:
    """The checks of a ledger, and of every file that it lists."""
    try:
        lines = ledger.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        yield ledger, partial(_complain, ledger, f"cannot be read ({type(error).__name__})")
        return
    entries = [_entry(line) for line in lines]
    bad = [str(number) for number, entry in enumerate(entries, start=1) if entry is None]
    yield ledger, partial(_complain, ledger, f"bad lines: {', '.join(bad)}" if bad else "")
    for name, digest in dict(entry for entry in entries if entry is not None).items():
        path = Path(name)
        yield path, partial(_recorded, path, ledger.name, digest)


def _entry(line: str) -> tuple[str, str] | None:
    """Path and digest of a ledger's line; None if it is malformed."""
    try:
        content = json.loads(line)
        path, digest = content["path"], content["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    return (path, digest) if isinstance(path, str) and isinstance(digest, str) else None


def _recorded(path: Path, ledger: str, digest: str) -> Iterator[Complaint]:
    if not path.is_file():
        yield path, f"recorded in {ledger}, but missing"
    elif sha256_of(path) != digest:
        yield path, f"its sha256 is not the one in {ledger}"


@cache
def sha256_of(path: Path) -> str:
    """The digest of a file, computed once although manifest and ledger both ask for it."""
    return sha256(path)


def _remedy(bad: list[Path]) -> str:
    made = [path for path in bad if not path.match(LEDGERS)]
    if not made:
        return "remove it; the next run of snakemake writes it anew"
    command = f"snakemake --cores all {made[0]} --force"
    more = "; remove the others and name them likewise" if len(made) > 1 else ""
    return f"{command} makes the first anew{more}"
