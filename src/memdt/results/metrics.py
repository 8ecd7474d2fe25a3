"""Summarise the results in a few numbers: counts of verdicts, and a mean for every variant.

`dvc metrics` compares these numbers between two commits. The file is small on purpose: a variant's
mean covers the published condition alone, and all lengths together.
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
from memdt.results.claims_json import write_claims_json
from memdt.results.outcomes import VERDICTS
from memdt.results.tables import AS_PUBLISHED, read_table

DIGITS = 6


def write_metrics(scale: str, experiments: Sequence[str], path: Path) -> None:
    """Write the metrics of a scale, and claims.json beside them.

    The same tables, claims and manifests give the same bytes.
    """
    content = metrics(scale, experiments)
    write_claims_json(scale, experiments, path.with_name("claims.json"))
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def metrics(scale: str, experiments: Sequence[str]) -> dict[str, Any]:
    """Counts of verdicts, then the mean over a variant's cells by experiment and variant.

    A table of several metrics adds a level for the metric. Verdicts and experiments keep their
    order, variants that of the table. Variants without a reproduced cell in the published condition
    are left out.
    """
    verdicts = read_claims(paths.claims(scale))["verdict"]
    means = {name: table_means(read_table(paths.table(scale, name))) for name in experiments}
    return {
        "claims": {word: int((verdicts == word).sum()) for word in VERDICTS},
        **{name: of_variants for name, of_variants in means.items() if of_variants},
    }


def table_means(table: pd.DataFrame) -> dict[str, Any]:
    """The means of a table by variant; by metric first if it has several."""
    if table["metric"].nunique() < 2:
        return dict(variant_means(table))
    groups = table.groupby("metric", sort=False)
    by_metric = {str(name): variant_means(group) for name, group in groups}
    return {name: means for name, means in by_metric.items() if means}


def variant_means(table: pd.DataFrame) -> dict[str, float]:
    """The mean over each variant's reproduced cells in the published condition."""
    plain = table[(table["condition"] == AS_PUBLISHED) & table["reproduced_mean"].notna()]
    means = plain.groupby("variant", sort=False)["reproduced_mean"].mean()
    return {str(name): round(float(value), DIGITS) for name, value in means.items()}
