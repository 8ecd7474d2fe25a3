"""The settings of a reduced scale that differ from the published ones.

`report/render.py` prints them at every table and figure. The published sizes are
those of the first scale that does not call itself reduced.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from memdt.settings.files import experiment_file, scale_file, variants_of
from memdt.settings.layers import available, flatten
from memdt.settings.resolve import DERIVED, resolve

MOST_NAMED = 3  # variants that a short sentence names
MOST_LISTED = 6  # entries of a list that a short sentence spells out
_MISSING = "not set"
_COMMA = ", "


@dataclass(frozen=True)
class Difference:
    """One setting that differs in the same way for all named variants."""

    key: str  # dotted
    here: str
    published: str
    variants: tuple[str, ...]  # empty: all of the experiment

    @property
    def words(self) -> str:
        """``layers 2 instead of 8``, for readers; long lists are given by their length."""
        here, published = self.here, self.published
        if max(here.count(_COMMA), published.count(_COMMA)) >= MOST_LISTED:
            here, published = _counted(here), _counted(published)
        name = _short(self.key).replace("_", " ")
        several = len(self.variants) > MOST_NAMED
        names = f"{len(self.variants)} variants" if several else ", ".join(self.variants)
        whom = f" ({names})" if names else ""
        return f"{name} {here} instead of {published}{whom}"


@cache
def published_scale() -> str | None:
    """The scale of the published sizes: the first by name that is not reduced, None without one."""
    return next((name for name in available("scales") if not scale_file(name).reduced), None)


def differences(experiment: str, scale: str) -> list[Difference]:
    """Every setting of an experiment that differs from the published scale, shared ones first.

    Empty for an experiment without a paper, for which no sizes are published.
    """
    reference = published_scale()
    if reference in (None, scale) or experiment_file(experiment).answers is None:
        return []
    variants = variants_of(experiment, scale)
    variants_by_change: dict[tuple[str, str, str], list[str]] = {}
    for variant in variants:
        for change in _changes(_dotted(experiment, variant, scale),
                               _dotted(experiment, variant, str(reference))):  # fmt: skip
            variants_by_change.setdefault(change, []).append(variant)
    changes = [
        Difference(*change, variants=() if len(named) == len(variants) else tuple(named))
        for change, named in variants_by_change.items()
    ]
    return sorted(changes, key=lambda one: len(one.variants))


def _changes(here: dict[str, Any], published: dict[str, Any]) -> list[tuple[str, str, str]]:
    keys = list(dict.fromkeys([*published, *here]))
    return [
        (key, _text(key, here.get(key)), _text(key, published.get(key)))
        for key in keys
        if here.get(key) != published.get(key)
    ]


def _dotted(experiment: str, variant: str, scale: str) -> dict[str, Any]:
    settings = resolve(experiment, variant, scale).settings
    return flatten(settings.model_dump(mode="json", exclude=set(DERIVED)))


# Last parts of keys that stand in several places.
_AMBIGUOUS = {"segments", "seed", "name", "episodes"}


def _short(key: str) -> str:
    """The last part of a key, with the one before it where that alone could mean several."""
    parts = key.split(".")
    return " ".join(parts[-2:] if parts[-1] in _AMBIGUOUS else parts[-1:])


def _counted(listed: str) -> str:
    return str(listed.count(_COMMA) + 1) if _COMMA in listed else listed


def _text(key: str, value: Any) -> str:
    if value is None:
        return _MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return str(len(value)) if key == "seeds" else _COMMA.join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
