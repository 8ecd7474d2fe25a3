"""The few numbers of `dvc metrics`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from memdt import paths
from memdt.errors import UserError
from memdt.results import metrics
from memdt.results.claims import CLAIM_COLUMNS, write_claims
from memdt.results.outcomes import VERDICTS
from memdt.results.tables import TABLE_COLUMNS, _typed, read_table, write_table

CELLS = [
    # variant, condition, segments, reproduced
    ("near", "as_published", 1, 1.0),
    ("near", "as_published", 2, 0.5),
    ("near", "as_published", 3, 0.1),
    ("near", "with_noise", 1, 0.0),
    ("far", "as_published", 1, 0.25),
    ("absent", "as_published", 1, float("nan")),
    ("edited", "memory_zeroed", 1, 0.5),
]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Claims, a table with numbers, and one without a plain condition."""
    monkeypatch.chdir(tmp_path)
    verdicts = ["undecided", "holds", "holds"]
    claims = pd.DataFrame({"verdict": verdicts}).reindex(columns=list(CLAIM_COLUMNS), fill_value="")
    write_claims(claims, paths.claims("tiny"))
    for name, cells in (("walk", CELLS), ("edits", CELLS[-1:])):
        rows = [
            dict(zip(("variant", "condition", "segments", "reproduced_mean"), cell, strict=True))
            | {"experiment": name, "metric": "success", "verdict": "no published number"}
            for cell in cells
        ]
        frame = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
        write_table(_typed(frame), paths.table("tiny", name))
    return tmp_path


def test_verdicts_are_counted_and_variants_averaged_over_plain_cells(results: Path) -> None:
    metrics.write_metrics("tiny", ["walk", "edits"], paths.metrics("tiny"))
    content = json.loads(paths.metrics("tiny").read_text(encoding="utf-8"))
    assert list(content) == ["claims", "walk"]  # no plain cell, no entry
    assert content["claims"] == {**dict.fromkeys(VERDICTS, 0), "holds": 2, "undecided": 1}
    assert list(content["claims"]) == list(VERDICTS)
    assert content["walk"] == {"near": 0.533333, "far": 0.25}
    assert list(content["walk"]) == ["near", "far"]


def test_a_table_of_several_metrics_is_averaged_metric_by_metric(results: Path) -> None:
    path = paths.table("tiny", "walk")
    table = read_table(path)
    longer = table.assign(metric="steps", reproduced_mean=10 * table["reproduced_mean"])
    write_table(pd.concat([table, longer], ignore_index=True), path)
    averages = metrics.metrics("tiny", ["walk"])["walk"]
    assert averages == {
        "success": {"near": 0.533333, "far": 0.25}, "steps": {"near": 5.333333, "far": 2.5},
    }  # fmt: skip


def test_the_same_tables_give_the_same_bytes(results: Path) -> None:
    written = []
    for name in ("a.json", "b.json"):
        metrics.write_metrics("tiny", ["walk", "edits"], results / name)
        written.append((results / name).read_bytes())
    assert written[0] == written[1]
    assert written[0].endswith(b"}\n")


def test_a_table_that_is_not_there_is_refused_in_one_line(results: Path) -> None:
    with pytest.raises(UserError, match="snakemake reports/tiny/tables/later.csv --force"):
        metrics.metrics("tiny", ["walk", "later"])
