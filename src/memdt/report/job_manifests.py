"""What the manifests say: how all the results came about.

Between the manifests that training and evaluation wrote and `report/render.py`. A manifest
describes one job; here they are compared, so that the report shows what all share once and what
differs as a list. What a job took stands in `report/cost.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from memdt.results.results import MANIFEST_KEYS, load_manifests

PROVENANCE = {
    "source_digest": "source digest",
    "python": "Python",
    "cpu": "CPU",
    "device": "device",
    "device_name": "device name",
    "threads": "threads",
    "seed": "seeds",
}

Seeds = Mapping[str, Mapping[str, Sequence[int]]]  # experiment -> variant -> seeds


def load_records(scale: str, seeds: Seeds) -> pd.DataFrame:
    """One row a job: experiment, variant, seed, step (training or evaluation), its manifest."""
    frames = [_of_experiment(scale, name, variants) for name, variants in seeds.items()]
    filled = [frame for frame in frames if not frame.empty]
    columns = list(MANIFEST_KEYS)
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=columns)


def _of_experiment(scale: str, name: str, variants: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Both steps of all runs of an experiment, its variants in their order."""
    manifests = load_manifests(scale, name, variants)
    order = list(variants)
    return manifests.sort_values(
        "variant", key=lambda names: names.map(order.index), kind="stable", ignore_index=True
    )


def provenance(records: pd.DataFrame) -> dict[str, list[str]]:
    """What the manifests say, each name with all the different values that occur."""
    return named_values(records, PROVENANCE)


def named_values(records: pd.DataFrame, names: Mapping[str, str]) -> dict[str, list[str]]:
    """The different values of some columns, each under its words.

    Args:
        records: a row a job (`load_records`).
        names: the words for each column; columns that ``records`` lack are left out.
    """
    return {
        words: _distinct(records[key]) for key, words in names.items() if key in records.columns
    }


def packages(records: pd.DataFrame) -> dict[str, list[str]]:
    """Every package with all versions that occur."""
    versions: dict[str, set[str]] = {}
    for named in records.get("packages", pd.Series(dtype=object)).dropna():
        for name, version in named.items():
            versions.setdefault(name, set()).add(version)
    return {name: sorted(versions[name]) for name in sorted(versions)}


def _distinct(values: pd.Series) -> list[str]:
    """The different values as text, numbers and truths in words."""
    distinct = values.dropna().unique().tolist()
    return [_words(value) for value in sorted(distinct, key=lambda one: (str(type(one)), one))]


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
