"""What ``memdt doctor`` looks at around the project: rights, user, locks, terminal, variables."""

from __future__ import annotations

import fcntl
import getpass
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from memdt.cli.findings import Finding
from memdt.errors import UserError
from memdt.workflow import restore, upstream, variables

CGROUP = Path("/sys/fs/cgroup/cpu.max")  # quota and period in microseconds, or the word max


def surroundings() -> Iterator[Finding]:
    """Everything that is looked at, in order."""
    for check in (_user, _folders, _locks, _terminal, _variables, _owner, _lock_file):
        yield from check()


def _user() -> Iterator[Finding]:
    """Snakemake asks for a name and keeps a cache; a container's user may have neither."""
    try:
        yield Finding("user", True, getpass.getuser())
    except (KeyError, OSError):
        detail = f"user number {os.getuid()} has no name, which Snakemake asks for"
        yield Finding("user", False, detail, "export USER=me")


def _folders() -> Iterator[Finding]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    remedies = {
        cache: "export XDG_CACHE_HOME=/a/folder/of/yours",
        Path.cwd(): "chown it, or copy the project; status, verify and plan work all the same",
        upstream.FOLDER: "chown it, or copy the project",
    }
    for folder, remedy in remedies.items():
        # What is missing is made in the closest folder that exists.
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        good = os.access(there, os.W_OK | os.X_OK) and there.is_dir()
        yield Finding(f"folder {folder}", good, "writable" if good else "not writable", remedy)
    try:
        yield Finding("temporary files", True, tempfile.gettempdir())
    except OSError as error:
        yield Finding("temporary files", False, str(error), "export TMPDIR=/a/folder/of/yours")


def _locks() -> Iterator[Finding]:
    """Whether the project's file system has locks, by which Snakemakes see each other."""
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        detail = f"none here ({error.strerror}): what a killed run left is not cleared up"
        remedy = "run one Snakemake at a time; after a kill: snakemake --unlock"
        yield Finding("file locks", False, detail, remedy, needed=False)
    else:
        yield Finding("file locks", True, "work here")


def _terminal() -> Iterator[Finding]:
    encoding = (sys.stdout.encoding or "ascii").lower()
    good = encoding.replace("-", "") == "utf8"
    yield Finding("terminal", good, encoding, "export PYTHONUTF8=1", needed=False)


def _variables() -> Iterator[Finding]:
    try:
        notes = variables.check()
    except UserError as error:
        yield Finding("variables", False, f"{error.where}: {error.what}", error.remedy)
        return
    for note in notes:
        yield Finding("variables", False, note, needed=False)
    if not notes:
        yield Finding("variables", True, "every MEMDT_ variable that is set is known")


def _owner() -> Iterator[Finding]:
    """Git refuses a checkout of somebody else's, and manifests would name no commit."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return
    if "dubious ownership" in done.stderr:
        remedy = f"git config --global --add safe.directory {Path.cwd()}"
        detail = "the checkout belongs to another user"
        yield Finding("owner", False, detail, remedy, needed=False)


def _lock_file() -> Iterator[Finding]:
    try:
        restore.check_lock()
    except UserError as error:
        yield Finding("dvc.lock", False, error.what, error.remedy)


def quota() -> float | None:
    """Cores that a container's quota comes to; None where there is none."""
    try:
        limit, period = CGROUP.read_text(encoding="utf-8").split()
        return int(limit) / int(period)
    except (OSError, ValueError):
        return None
