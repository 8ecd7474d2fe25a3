"""A cache of resolved settings on disk, so that planning need not import torch.

Checking a model's settings imports its module, and with it torch, which takes a second for every
Snakemake, table and figure. The cache is a file in Snakemake's own folder. Its key covers all bytes
that settings depend on, so any change resolves all settings again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pydantic

from memdt import discovery, paths
from memdt.files import write_text
from memdt.settings import resolve as checked
from memdt.settings.layers import Layered
from memdt.settings.resolve import Resolved
from memdt.settings.schema import RunSettings

FILE = Path(".snakemake/memdt_settings.json")
PACKAGE = Path(__file__).parents[1]
# The code that checks settings, and the classes that describe them.
PARTS = ("settings", "models", "environments", "data", "training")


@cache
def resolve(experiment: str, variant: str, scale: str) -> Resolved:
    """Return what `memdt.settings.resolve.resolve` returns, from the cache if possible."""
    entry = _kept().get(_name(experiment, variant, scale))
    if entry is None:
        return checked.resolve(experiment, variant, scale)
    return Resolved(
        settings=RunSettings.model_validate(entry["settings"]),
        layers=Layered(entry["values"], entry["origins"]),
        experiment=entry["experiment"],
        variant=entry["variant"],
        start=tuple(entry["start"]) if entry["start"] else None,
    )


def note_of(experiment: str, variant: str, scale: str) -> dict[str, Any] | None:
    """Return the note that ``keep`` stored with these settings; None if they are not cached."""
    entry = _kept().get(_name(experiment, variant, scale))
    return None if entry is None else dict(entry["note"])


def keep(
    names: Iterable[tuple[str, str, str]], note: Callable[[RunSettings], dict[str, Any]]
) -> None:
    """Cache the settings of these experiments, variants and scales for the next process.

    ``note`` returns what to store with the settings. It is a parameter, because other packages
    compute it.
    """
    cached = dict(_kept())
    new = {_name(*run): _entry(resolve(*run), note) for run in names if _name(*run) not in cached}
    if new:
        # Without this cache the next process takes some seconds more.
        with contextlib.suppress(OSError):
            write_text(FILE, json.dumps({"key": key(), "entries": cached | new}))


def key() -> str:
    """Return a digest of every byte that resolved settings depend on."""
    digest = hashlib.sha256(pydantic.VERSION.encode())
    roots = (PACKAGE, *discovery.plugins())
    sources = [path for root in roots for part in PARTS for path in (root / part).rglob("*.py")]
    read = [*paths.CONFIG.rglob("*.yaml"), *sources]
    for path in sorted(path for path in read if path.name[0] != "."):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _kept() -> dict[str, Any]:
    """The cache on disk; empty if it is missing, damaged, or of other settings or code."""
    try:
        content = json.loads(FILE.read_text(encoding="utf-8"))
        entries = content["entries"] if content["key"] == key() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(entries)


def _name(experiment: str, variant: str, scale: str) -> str:
    return f"{scale}/{experiment}/{variant}"


def _entry(resolved: Resolved, note: Callable[[RunSettings], dict[str, Any]]) -> dict[str, Any]:
    return {
        "note": note(resolved.settings),
        "settings": resolved.settings.model_dump(mode="json"),
        "values": resolved.layers.values,
        "origins": resolved.layers.origins,
        "experiment": resolved.experiment,
        "variant": resolved.variant,
        "start": resolved.start,
    }
