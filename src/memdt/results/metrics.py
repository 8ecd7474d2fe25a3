"""The result in a few numbers, for programs: verdicts of claims, and a mean for every variant.

Between tables and claims and `dvc metrics`, which compares these numbers between two commits. The
file is small on purpose: a number of a table counts in the plain condition, and over all lengths.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from memdt import paths
from memdt.files import write_text
from memdt.results.claims import read_claims
from memdt.results.outcomes import VERDICTS
from memdt.results.tables import AS_PUBLISHED, read_table

DIGITS = 6


def write_metrics(scale: str, experiments: Sequence[str], path: Path) -> None:
    """Write the metrics of a scale; the same tables and claims give the same bytes."""
    content = metrics(scale, experiments)
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def metrics(scale: str, experiments: Sequence[str]) -> dict[str, Any]:
    """How often each verdict fell; then by experiment and variant the mean over its cells.

    A table of several metrics has a level more, metric by metric. Verdicts and experiments keep
    their order, variants that of the table. A variant without a reproduced cell of the plain
    condition is left out.
    """
    verdicts = read_claims(paths.claims(scale))["verdict"]
    means = {name: table_means(read_table(paths.table(scale, name))) for name in experiments}
    return {
        "claims": {word: int((verdicts == word).sum()) for word in VERDICTS},
        **{name: of_variants for name, of_variants in means.items() if of_variants},
    }


def table_means(table: pd.DataFrame) -> dict[str, Any]:
    """The means of a table, by variant; of several metrics by metric first."""
    if table["metric"].nunique() < 2:
        return dict(variant_means(table))
    found = {str(name): variant_means(one) for name, one in table.groupby("metric", sort=False)}
    return {name: means for name, means in found.items() if means}


def variant_means(table: pd.DataFrame) -> dict[str, float]:
    """The mean reproduced cell of each variant as the papers ran it."""
    plain = table[(table["condition"] == AS_PUBLISHED) & table["reproduced_mean"].notna()]
    means = plain.groupby("variant", sort=False)["reproduced_mean"].mean()
    return {str(name): round(float(value), DIGITS) for name, value in means.items()}
