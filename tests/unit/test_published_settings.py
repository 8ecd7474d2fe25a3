"""The hyper-parameters that the papers print: typed twice, and what scale `paper` runs with."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from memdt.settings.resolve import resolve

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "data" / "published" / "settings"
# One experiment of each system, with a variant that has the paper's own settings.
BUILT = {
    "tmaze": ("tmaze_table_2", "rate-3"),
    "vizdoom_two_colors": ("vizdoom_table_1", "rate"),
    "atari": ("atari_table_3", "breakout-rate"),
}
SHORT = {
    "layers": "Number of layers", "heads": "Number of attention heads",
    "width": "Embedding dimension", "K": "Context length K", "segments": "Number of segments",
    "dropout": "Hidden dropout", "attention_dropout": "Attention dropout",
    "tokens": "Number of memory tokens", "epochs": "Max epochs", "batch": "Batch size",
    "decay": "Weight decay", "loss": "Loss function",
}  # fmt: skip


def rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def second() -> Iterator[tuple[tuple[str, str], str]]:
    for line in rows("rate_second_transcription.csv"):
        for name, value in zip(line["names"].split(), line["values"].split(), strict=True):
            yield (line["system"], SHORT.get(name, name)), value


def test_both_transcriptions_of_table_5_agree():
    table = [row for row in rows("rate.csv") if row["item"] == "Table 5"]
    first = {(row["system"], row["name"]): row["value"] for row in table}
    assert len(first) == len(table) == 4 * 12 + 2
    assert first == dict(second())


CHECKED = [
    row
    for row in rows("rate.csv")
    if row["system"] in BUILT and row["setting"] and not row["deviation"]
]


@pytest.mark.parametrize("row", CHECKED, ids=lambda row: f"{row['system']}-{row['name']}")
def test_scale_paper_runs_with_what_is_printed(row, monkeypatch):
    monkeypatch.chdir(ROOT)
    value = resolve(*BUILT[row["system"]], "paper").settings.model_dump()
    for key in row["setting"].split("."):
        value = value[key]
    assert (len(value) if isinstance(value, tuple) else value) == float(row["value"])


def test_what_differs_from_the_print_names_its_deviation():
    text = (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8")
    named = [row["deviation"] for row in rows("rate.csv") if row["deviation"]]
    assert named
    assert all(f"## {deviation}:" in text for deviation in named)
