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
    """Print every value with its origin, defaults included, and what the checkpoint rests on."""
    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for key, value in rows(resolved):
        table.add_row(key, json.dumps(value), origin(resolved, key))
    screen = console()
    screen.print(table)
    count = resolved.settings.stages
    if count:
        made_by = f"trained as {resolved.experiment}/{resolved.variant}"
        screen.print(f"\n{made_by}, {count} stage{'' if count == 1 else 's'}")
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
    """Print what makes dataset, checkpoint and evaluation stale, and which code does not count."""
    settings = resolved.settings
    module = settings.environment.module
    named = {
        "dataset": {"environment": module, "source": settings.dataset["source"]},
        **{step: digests.components_of(step, settings) for step in ("train", "evaluate")},
    }
    table = Table("step", "module", "digest", box=None, pad_edge=False, header_style="bold")
    shaped_by = {
        "dataset": slices.dataset(settings),
        "train": slices.played(settings),
        "evaluate": slices.evaluate(settings),
    }
    for step, components in named.items():
        table.add_row(step, "settings", settings_digest(shaped_by[step]), style="bold")
        table.add_row(step, "source code", digests.source_digest(step, **components), style="bold")
        for name, digest in digests.explain(step, **components).items():
            table.add_row("", name, digest[:16])
    left_out = Table("not counted", "because", box=None, pad_edge=False, header_style="bold")
    for name, reason in digests.EXEMPT.items():
        left_out.add_row(name, reason)
    screen = console()
    screen.print(table)
    screen.print()
    screen.print(left_out)
