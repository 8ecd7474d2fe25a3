"""Set files aside that do not fit or are made anew, so that they can be restored."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from collections.abc import Iterable
from itertools import count
from pathlib import Path

FOLDER = Path("data/set_aside")


def set_aside(path: Path) -> Path:
    """Move a file of the project to the same path below ``FOLDER``, and return its new path.

    A name that is taken gets a number before its extension: ``resume.1.safetensors``. A file
    outside the current folder stays in its folder, as ``<name>.set_aside``.
    """
    target = _free(_target(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)  # the folder may be on another disk
    return target


def keep(paths: Iterable[Path]) -> dict[Path, Path]:
    """Give files that are about to be made anew a second name below ``FOLDER``.

    Snakemake deletes outputs before it starts a job. A second name costs no space until then, and
    nothing at all if the job never starts; on another disk it is a copy. Returns the second names.
    """
    kept = {}
    for path in paths:
        target = _free(_target(path))
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            _second_name(path, target)
            kept[path] = target
    return kept


def _second_name(path: Path, target: Path) -> None:
    """A second name; a copy where the folder is on another disk, or the file system has none."""
    try:
        os.link(path, target)
    except OSError:
        try:
            shutil.copy2(path, target)
        except OSError:
            target.unlink(missing_ok=True)
            raise


def settle(kept: dict[Path, Path]) -> list[Path]:
    """Remove second names of files that did not change, and return the others."""
    for path, second in kept.items():
        # The same size and time do not prove the same content.
        if path.is_file() and filecmp.cmp(path, second, shallow=False):
            second.unlink()
    return [second for second in kept.values() if second.exists()]


def _target(path: Path) -> Path:
    here = Path.cwd()
    # As it is called, also where a folder on the way leads to another disk; else as it lies. A link
    # is moved itself, not what it points at.
    called = Path(os.path.normpath(here / path))
    whole = path.parent.resolve() / path.name
    for candidate in (called, whole):
        if candidate.is_relative_to(here):
            return FOLDER / candidate.relative_to(here)
    return path.with_name(f"{path.name}.set_aside")


def _free(path: Path) -> Path:
    if not os.path.lexists(path):
        return path
    names = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(1))
    return next(name for name in names if not os.path.lexists(name))
