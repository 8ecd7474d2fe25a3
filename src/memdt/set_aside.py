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
    target = _free(_place(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)  # the folder may be on another disk
    return target


def keep(paths: Iterable[Path]) -> dict[Path, Path]:
    """Give files that are about to be made anew a second name below ``FOLDER``.

    Snakemake deletes outputs before it starts a job. A second name costs no space until then, and
    nothing at all if the job never starts. Returns the second names; a file system without hard
    links keeps nothing.
    """
    kept = {}
    for path in paths:
        target = _free(_place(path))
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
            kept[path] = target
    return kept


def settle(kept: dict[Path, Path]) -> list[Path]:
    """Remove second names of files that did not change, and return the others."""
    for path, second in kept.items():
        if path.is_file() and filecmp.cmp(path, second, shallow=False):
            second.unlink()
    return [second for second in kept.values() if second.exists()]


def _place(path: Path) -> Path:
    here = Path.cwd()
    whole = path.parent.resolve() / path.name  # a link is moved itself, not what it points at
    if whole.is_relative_to(here):
        return FOLDER / whole.relative_to(here)
    return path.with_name(f"{path.name}.set_aside")


def _free(path: Path) -> Path:
    if not os.path.lexists(path):
        return path
    names = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(1))
    return next(name for name in names if not os.path.lexists(name))
