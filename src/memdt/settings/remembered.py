"""Settings that an earlier process has resolved, so that planning need not import torch.

To check a model's settings its module is imported, and with it torch: a second for every Snakemake,
table and figure. What has been checked once is kept beside Snakemake's own records, under a key
over all bytes that it came from; another byte, and everything is resolved anew.
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
# The code that checks, and the classes that it checks by.
PARTS = ("settings", "models", "environments", "data", "training")


@cache
def resolve(experiment: str, variant: str, scale: str) -> Resolved:
    """As `memdt.settings.resolve.resolve`, from memory where there is one."""
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
    """What was noted beside these settings; None where nothing is kept of them."""
    entry = _kept().get(_name(experiment, variant, scale))
    return None if entry is None else dict(entry["note"])


def keep(
    names: Iterable[tuple[str, str, str]], note: Callable[[RunSettings], dict[str, Any]]
) -> None:
    """Keep the settings of these experiments, variants and scales for the next process.

    ``note`` says what else is kept of them, which another room of the package knows how to find.
    """
    kept = dict(_kept())
    found = {_name(*one): _entry(resolve(*one), note) for one in names if _name(*one) not in kept}
    if found:
        # Without this memory the next process takes some seconds more.
        with contextlib.suppress(OSError):
            write_text(FILE, json.dumps({"key": key(), "entries": kept | found}))


def key() -> str:
    """A digest of every byte that resolved settings depend on."""
    digest = hashlib.sha256(pydantic.VERSION.encode())
    roots = (PACKAGE, *discovery.plugins())
    sources = [path for root in roots for part in PARTS for path in (root / part).rglob("*.py")]
    found = [*paths.CONFIG.rglob("*.yaml"), *sources]
    for path in sorted(path for path in found if path.name[0] != "."):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _kept() -> dict[str, Any]:
    """What is on disk, nothing where it belongs to other files or is no memory of ours."""
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
