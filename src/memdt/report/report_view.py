"""What the report says, as plain values: one function a section, each from files that are there.

Between everything that was written before and the template. What has not run is marked as such and
never left out; nothing here asks a clock or counts on an order that files do not have.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from memdt import paths
from memdt.report import job_manifests
from memdt.report.dataset_card import DatasetCard, dataset_card
from memdt.report.inline_clip import Moving, inline_clip
from memdt.report.inline_svg import Drawing, inline
from memdt.report.scale_comparison import Difference, differences
from memdt.report.scoreboard import (
    PAPERS,
    EnvironmentClaims,
    Standing,
    by_environment,
    classified,
    standings,
)
from memdt.report.table_view import (
    BlockView,
    OpinionView,
    blocks,
    budget_rows,
    opinion_view,
    run_views,
)
from memdt.results import tables
from memdt.results.claims import by_sentence, count_tested, read_claims
from memdt.results.outcomes import FAILS
from memdt.results.second_opinions import second_opinions
from memdt.settings.files import ExperimentFile, experiment_file, variants_of
from memdt.settings.layers import available
from memdt.settings.pages import FigureSettings, figures
from memdt.settings.resolve import environment_of, lineage, resolve, resolve_dataset
from memdt.settings.runs import seeds_of

# How a verdict looks; a test holds the words against those that can occur.
TONES = {
    "holds": "good",
    "reproduced": "good",
    "most seeds agree": "near",
    "higher": "off",
    "lower": "off",
    "does not hold": "off",
    "at the ceiling": "open",
    "at the floor": "open",
    "undecided": "open",
    "cannot be decided": "open",
    "not distinguished": "open",
    "print too wide": "open",
    "too few seeds": "open",
    "not run": "none",
    "waiting": "none",
    "no published number": "none",
}
# What stands in a table's cell: read at a glance, in colour and without it.
MARKS = {
    "holds": "✓",
    "reproduced": "✓",
    "most seeds agree": "≈",
    "higher": "▲",
    "lower": "▼",
    "does not hold": "✗",
    "not run": "·",
    "no published number": "·",
}
UNDECIDED_MARK = "?"


@dataclass(frozen=True)
class TableView:
    """One experiment: the paper's table, or how to make it."""

    name: str
    settings: ExperimentFile
    path: Path
    command: str
    blocks: list[BlockView]  # none: not run
    counts: list[tuple[str, int]]  # of cells that a table or figure prints
    of_sentences: int  # cells that are spread out from a sentence
    differences: list[Difference]
    budgets: list[dict[str, str]]  # what each variant cost
    opinions: OpinionView | None  # what others measured

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
    clip: Moving | None
    differences: list[Difference]

    @property
    def headline(self) -> bool:
        """Whether it stands at the top of the page: it is marked so, and it is drawn."""
        return self.settings.headline and self.drawing is not None


def load_records(scale: str, experiments: Iterable[str]) -> pd.DataFrame:
    """The manifests of the experiments, and of those whose checkpoints they evaluate."""
    trained = {name: None for name in experiments}
    for name in list(trained):
        trained.update(dict.fromkeys(source for source, _ in trained_as(name, scale).values()))
    return job_manifests.load_records(scale, {name: seeds_of(scale, name) for name in trained})


def trained_as(experiment: str, scale: str) -> dict[str, tuple[str, str]]:
    """The experiment and variant whose checkpoints each variant is evaluated with."""
    variants = variants_of(experiment, scale)
    resolved = {variant: resolve(experiment, variant, scale) for variant in variants}
    return {variant: (one.experiment, one.variant) for variant, one in resolved.items()}


@dataclass(frozen=True)
class ClaimsView:
    """The decided claims by environment, and in numbers."""

    environments: list[EnvironmentClaims]
    standings: list[Standing]
    counts: list[tuple[str, int]]  # by sentence, each once
    tested: int  # how many claims had results
    refuted: int  # how many claims do not hold


def claims(scale: str) -> ClaimsView:
    """The decided claims of a scale; UserError for a damaged file, no claims without one."""
    path = paths.claims(scale)
    if not path.is_file():
        return ClaimsView([], [], [], 0, 0)
    frame = classified(read_claims(path))
    return ClaimsView(
        by_environment(frame),
        standings(frame),
        counted(by_sentence(frame)),
        tested=count_tested(frame),
        refuted=int((frame["verdict"] == FAILS).sum()),
    )


def counted(verdicts: Iterable[str]) -> list[tuple[str, int]]:
    """How often each verdict fell, in the order of TONES."""
    counts = Counter(verdicts)
    return [(word, counts[word]) for word in TONES if counts[word]]


def table_views(scale: str, experiments: Sequence[str], records: pd.DataFrame) -> list[TableView]:
    """The experiments of the report, then those that are not part of it.

    ``records`` are the manifests, a row a job (`load_records`).
    """
    others = [name for name in available("experiments") if name not in experiments]
    return [
        *(_table_view(scale, name, records) for name in experiments),
        *(_table_view(scale, name, None) for name in others),
    ]


def _table_view(scale: str, name: str, records: pd.DataFrame | None) -> TableView:
    path = paths.table(scale, name)
    settings = experiment_file(name)
    laid_out, counts, spread, spent, opinions = [], [], 0, [], None
    if records is not None and path.is_file():
        table = tables.read_table(path)
        runs = run_views(scale, name, trained_as(name, scale), records)
        laid_out = blocks(table, settings.table, runs)
        counts = counted(table.loc[tables.printed_cells(table), "verdict"])
        spread = int(tables.cells_of_sentences(table).sum())
        spent = budget_rows(table)
        paper = settings.answers.paper if settings.answers else ""
        opinions = opinion_view(second_opinions(name), table, f"{PAPERS.get(paper, paper)} prints")
    changes = differences(name, scale) if laid_out else []
    command = f"snakemake --cores all {path}"
    return TableView(
        name, settings, path, command, laid_out, counts, spread, changes, spent, opinions
    )


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
    changes = (
        [one for e in settings.experiments for one in differences(e, scale)] if drawing else []
    )
    changes = list(dict.fromkeys(changes))  # experiments of one figure often share a difference
    moving = paths.clip(scale, name)
    clip = inline_clip(moving) if drawing and settings.clip and moving.is_file() else None
    return FigureView(name, settings, path, f"snakemake --cores all {path}", drawing, clip, changes)


def dataset_cards(scale: str, experiments: Iterable[str]) -> list[DatasetCard]:
    """A card of each environment that the experiments use; UserError for a damaged dataset."""
    segment_lengths = {
        environment_of(*one): resolve(*one, scale).settings.segment_length
        for experiment in experiments
        for variant in variants_of(experiment, scale)
        for one in lineage(experiment, variant)
    }
    modules = {name: resolve_dataset(name, scale).environment.module for name in segment_lengths}
    return [
        dataset_card(name, modules[name], scale, steps) for name, steps in segment_lengths.items()
    ]


def training_rows(records: pd.DataFrame) -> list[dict[str, str]]:
    """Size and length of every variant that has been trained; ``updates`` are those of one run."""
    trained = records[records["step"] == "training"]
    return [
        {
            "experiment": experiment,
            "variant": variant,
            "seeds": f"{group['seed'].nunique():,}",
            "stages": f"{group['stage'].nunique():,.0f}",
            "parameters": f"{group['parameters'].max():,.0f}",
            "trained": _trained(group),
            "updates": f"{group['updates'].sum() / group['seed'].nunique():,.0f}",
        }
        for (experiment, variant), group in trained.groupby(["experiment", "variant"], sort=False)
    ]


def _trained(jobs: pd.DataFrame) -> str:
    """How many parameters the last stage has trained, and their share of the policy's."""
    last = jobs.loc[jobs["stage"].idxmax()]
    total = last["parameters"]
    count = last.get("trained_parameters", math.nan)
    # No number compares with NaN, so a manifest without this count says "all".
    return f"{count:,.0f} ({count / total:.2%})" if count < total else "all"
