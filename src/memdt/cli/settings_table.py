"""``memdt settings``: the settings of a variant, each with the file that it came from."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table

from memdt import paths
from memdt.cli.screen import console
from memdt.settings import slices
from memdt.settings.layers import flatten
from memdt.settings.resolve import DERIVED, Resolved
from memdt.settings.resolve import digest as settings_digest
from memdt.workflow import digests


def show(resolved: Resolved) -> None:
    """Print every value with its origin, defaults included."""
    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for key, value in rows(resolved):
        table.add_row(key, json.dumps(value), origin(resolved, key))
    screen = console()
    screen.print(table)
    if resolved.settings.stages:
        made_by = f"trained as {resolved.experiment}/{resolved.variant}"
        screen.print(f"\n{made_by}, {_plural(resolved.settings.stages, 'stage')}")
    if resolved.start is not None:
        screen.print(f"its training starts from {'/'.join(resolved.start)}")
    content = slices.played(resolved.settings)
    screen.print(f"digest of what shapes its checkpoint: {settings_digest(content)}")


def rows(resolved: Resolved) -> list[tuple[str, Any]]:
    """Dotted keys and values of all settings, in the order of the models."""
    settings = resolved.settings.model_dump(mode="json", exclude=set(DERIVED))
    return list(flatten(settings).items())


def origin(resolved: Resolved, key: str) -> str:
    """The file below workflow/config that set a value, or ``default``."""
    return resolved.layers.origin(key).removeprefix(f"{paths.CONFIG}/")


def show_sources(resolved: Resolved) -> None:
    """Print the modules behind training and evaluation, each with the digest of its code."""
    settings = resolved.settings
    module, of_run = settings.environment.module, {"model": settings.model["name"]}
    named = {
        "dataset": {"source": settings.dataset["source"]},
        "train": of_run,
        "evaluate": of_run,
    }
    table = Table("step", "module", "digest", box=None, pad_edge=False, header_style="bold")
    for step, components in named.items():
        components = {"environment": module, **components}
        table.add_row(step, "all of it", digests.source_digest(step, **components), style="bold")
        for name, found in digests.explain(step, **components).items():
            table.add_row("", name, found[:16])
    console().print(table)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
