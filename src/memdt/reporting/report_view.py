"""What the report says, as plain values: one function a section, each from files that are there.

Between everything that was written before and the template. What has not run is told as such and
never left out; nothing here asks a clock or counts on an order that files do not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from memdt import paths
from memdt.errors import UserError
from memdt.reporting import run_records, tables
from memdt.reporting.claims import CLAIM_COLUMNS
from memdt.reporting.dataset_card import DatasetCard, dataset_card
from memdt.reporting.figures import seeds_of
from memdt.reporting.inline_svg import Drawing, inline
from memdt.reporting.scale_comparison import Difference, differences
from memdt.reporting.table_view import BlockView, blocks, duration, run_views
from memdt.settings.layers import available
from memdt.settings.resolve import experiment_file, figures, resolve, variants_of
from memdt.settings.schema import ExperimentFile, FigureSettings

# How a verdict looks; a test holds the words against those that can occur.
TONES = {
    "holds": "good",
    "reproduced": "good",
    "close": "near",
    "higher": "off",
    "lower": "off",
    "does not hold": "off",
    "undecided": "open",
    "imprecise": "open",
    "too few seeds": "open",
    "not run": "none",
    "no published number": "none",
}
ORIGINS = {"paper": "What the papers claim", "ours": "Questions of this project"}


@dataclass(frozen=True)
class TableView:
    """One experiment: the paper's table, or how to make it."""

    name: str
    settings: ExperimentFile
    path: Path
    command: str
    blocks: list[BlockView]  # none: not run
    counts: list[tuple[str, int]]
    differences: list[Difference]

    @property
    def spreads(self) -> list[str]:
        """What the published ± mean, each once."""
        cells = (cell for block in self.blocks for _, row in block.rows for cell in row if cell)
        return list(dict.fromkeys(cell.spread for cell in cells if cell.spread))


@dataclass(frozen=True)
class FigureView:
    """One figure of figures.yaml: drawn, or how to draw it."""

    name: str
    settings: FigureSettings
    path: Path
    command: str
    drawing: Drawing | None
    differences: list[Difference]


def load_records(scale: str, experiments: Iterable[str]) -> pd.DataFrame:
    """The manifests of the experiments, and of those whose checkpoints they evaluate."""
    wanted = {name: None for name in experiments}
    for name in list(wanted):
        wanted.update(dict.fromkeys(source for source, _ in trained_as(name, scale).values()))
    return run_records.load_records(scale, {name: seeds_of(name, scale) for name in wanted})


def trained_as(experiment: str, scale: str) -> dict[str, tuple[str, str]]:
    """The experiment and variant whose checkpoints each variant is evaluated with."""
    variants = variants_of(experiment, scale)
    found = {variant: resolve(experiment, variant, scale) for variant in variants}
    return {variant: (one.experiment, one.variant) for variant, one in found.items()}


def head(records: pd.DataFrame) -> dict[str, Any]:
    """Commit and day of the newest results, and whether any was made with uncommitted changes."""
    commits = records.get("git_commit", pd.Series(dtype=object)).dropna().unique().tolist()
    dirty = records.get("git_dirty", pd.Series(dtype=object)).dropna()
    commit, day = run_records.newest_commit(commits)
    return {"commit": commit, "day": day, "commits": len(commits), "dirty": bool(dirty.any())}


def claims(scale: str) -> list[tuple[str, list[dict[str, str]]]]:
    """The decided claims by origin; no file, no claims."""
    path = paths.claims(scale)
    if not path.is_file():
        return []
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(frame.columns) != list(CLAIM_COLUMNS):
        raise UserError("not a file of decided claims", str(path), "make it anew with snakemake")
    return [
        (ORIGINS.get(str(origin), str(origin)), group.to_dict("records"))
        for origin, group in frame.groupby("origin", sort=False)
    ]


def counted(verdicts: Iterable[str]) -> list[tuple[str, int]]:
    """How often each verdict fell, in the order of TONES."""
    counts = Counter(verdicts)
    return [(word, counts[word]) for word in TONES if counts[word]]


def table_views(scale: str, experiments: Sequence[str], records: pd.DataFrame) -> list[TableView]:
    """The experiments of the report, then those that are not part of it."""
    others = [name for name in available("experiments") if name not in experiments]
    return [
        *(_table_view(scale, name, records) for name in experiments),
        *(_table_view(scale, name, None) for name in others),
    ]


def _table_view(scale: str, name: str, records: pd.DataFrame | None) -> TableView:
    path = paths.table(scale, name)
    settings = experiment_file(name)
    laid_out, counts = [], []
    if records is not None and path.is_file():
        table = tables.read_table(path)
        runs = run_views(scale, name, trained_as(name, scale), records)
        laid_out = blocks(table, settings.table, runs)
        counts = counted(table.loc[table["verdict"] != "no published number", "verdict"])
    told = differences(name, scale) if laid_out else []
    return TableView(name, settings, path, f"snakemake --cores all {path}", laid_out, counts, told)


def figure_views(scale: str, experiments: Sequence[str]) -> list[FigureView]:
    """Every figure of figures.yaml; only those of the report's experiments are shown as drawn."""
    return [
        _figure_view(scale, name, settings, set(settings.experiments) <= set(experiments))
        for name, settings in figures().items()
    ]


def _figure_view(scale: str, name: str, settings: FigureSettings, shown: bool) -> FigureView:
    path = paths.figure(scale, name)
    drawing = None
    if shown and path.is_file():
        drawing = inline(path.read_text(encoding="utf-8"), name, settings.title)
    told = [one for e in settings.experiments for one in differences(e, scale)] if drawing else []
    told = list(dict.fromkeys(told))
    return FigureView(name, settings, path, f"snakemake --cores all {path}", drawing, told)


def dataset_cards(scale: str, experiments: Iterable[str]) -> list[DatasetCard]:
    """A card of each environment that the experiments use."""
    names = dict.fromkeys(experiment_file(name).environment for name in experiments)
    cards = []
    for name in names:
        user = next(e for e in experiments if experiment_file(e).environment == name)
        variant = variants_of(user, scale)[0]
        module = resolve(user, variant, scale).settings.environment.module
        cards.append(dataset_card(name, module, scale))
    return cards


def cost_rows(records: pd.DataFrame) -> list[dict[str, str]]:
    """The cost of every variant as texts, and the sum over all of them."""
    cost = run_records.cost(records)
    if cost.empty:
        return []
    times = ["training_wall", "training_cpu", "evaluation_wall", "evaluation_cpu"]
    total = {
        **dict.fromkeys(cost.columns, None),
        **{name: cost[name].sum() for name in ("runs", *times)},
        "experiment": "all experiments", "variant": "sum", "peak_memory": cost["peak_memory"].max(),
    }  # fmt: skip
    return [_cost_row(row) for row in [*cost.to_dict("records"), total]]


def _cost_row(row: dict[str, Any]) -> dict[str, str]:
    told: dict[str, Any] = {name: "" if pd.isna(value) else value for name, value in row.items()}
    for name in ("runs", "parameters", "updates"):
        told[name] = f"{told[name]:,.0f}" if told[name] != "" else ""
    if told["updates_per_second"] != "":
        told["updates_per_second"] = f"{told['updates_per_second']:,.1f}"
    for name in ("training_wall", "training_cpu", "evaluation_wall", "evaluation_cpu"):
        told[name] = duration(float(told[name])) if told[name] else ""
    told["peak_memory"] = f"{told['peak_memory'] / 2**20:,.0f} MiB" if told["peak_memory"] else ""
    return told
