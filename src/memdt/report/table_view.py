"""Lay out a table of cells as in the paper, with every number as text.

Between `results/tables.py` and the template. The paper's table has two dimensions. Anything else
that varies, such as a condition or a metric, gets its own block:

    block "as published"        dt-3                rate-3
        segments 1              published / here    published / here
        segments 2              ...
    block "full context"        ...
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from memdt import paths
from memdt.figures.parts.style import words
from memdt.results.second_opinions import Opinion
from memdt.results.tables import AS_PUBLISHED, DIMENSIONS, left_open
from memdt.settings.files import TableSettings

SPREADS = {
    "std": "standard deviation",
    "sem": "standard error",
    "ci95": "95 % interval",
    "unstated": "a spread of a kind that is not said",
}


@dataclass(frozen=True)
class SeedView:
    """One run behind a cell."""

    seed: str
    value: str
    episodes: str  # path of the file
    training: str  # folder of the stages


@dataclass(frozen=True)
class CellView:
    """One cell; missing values are empty texts."""

    published: str
    published_mean: str  # the same without its spread
    spread: str  # what the ± is, over how many runs
    reproduced: str
    interval: str
    difference: str
    verdict: str
    seeds: tuple[SeedView, ...]


@dataclass(frozen=True)
class BlockView:
    """One table as the paper printed it; ``rows`` pairs each name with a cell for every column."""

    title: str
    ours: bool  # a condition that the paper does not report
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[CellView | None, ...]], ...]

    @property
    def printed(self) -> bool:
        """Whether the paper prints a number for any cell."""
        return any(cell.published for _, row in self.rows for cell in row if cell)


@dataclass(frozen=True)
class RunView:
    """The files of one run."""

    episodes: str
    training: str


Runs = Mapping[tuple[str, str], RunView]  # variant, seed


# For the columns of `results/budgets.py`.
BUDGET_HEADINGS = {
    "parameters": "parameters",
    "trained_parameters": "of these trained",
    "updates": "updates",
    "optimiser_steps": "optimiser steps",
    "steps_seen": "environment steps",
    "gradient_segments": "segments a gradient spans",
}


def blocks(table: pd.DataFrame, settings: TableSettings, runs: Runs) -> list[BlockView]:
    """The cells of a table as blocks, in the order of the file; absent cells are None.

    Args:
        table: a row a cell (`tables.read_table`).
        settings: which dimensions are rows and columns.
        runs: the files behind the cells (`run_views`); a run that lacks there gets empty paths.
    """
    shown = (settings.rows, settings.columns)
    left = [name for name in left_open(DIMENSIONS, table) if name not in shown]
    varying = [name for name in left if table[name].nunique() > 1]
    return [
        _block(cells, _title(dict(zip(left, values, strict=True)), varying), runs)
        for values, cells in table.groupby(left, sort=False)
    ]


def _title(values: Mapping[str, object], varying: Sequence[str]) -> str:
    """The title of a block: what varies, and whether the paper lacks its condition."""
    named = [
        words(str(value)) if name in ("condition", "metric") else f"{name} {value}"
        for name, value in values.items()
        if name in varying or (name == "condition" and value != AS_PUBLISHED)
    ]
    return ", ".join(named)


def _block(cells: pd.DataFrame, title: str, runs: Runs) -> BlockView:
    columns, rows = (list(dict.fromkeys(cells[side])) for side in ("column", "row"))
    if all(row.isdecimal() for row in rows):  # as text, 10 segments would come before 2
        rows.sort(key=int)
    grid = {(one["row"], one["column"]): _cell(one, runs) for one in cells.to_dict("records")}
    return BlockView(
        title,
        ours=bool((cells["origin"] == "ours").all()),
        columns=tuple(words(column) for column in columns),
        rows=tuple(
            (words(row), tuple(grid.get((row, column)) for column in columns)) for row in rows
        ),
    )


def _cell(cell: Mapping[str, object], runs: Runs) -> CellView:
    published, ours = _number(cell["published_mean"]), _number(cell["reproduced_mean"])
    spread = _number(cell["published_spread"])
    return CellView(
        published=f"{published} ± {spread}" if spread else published,
        published_mean=published,
        spread=_spread(cell),
        reproduced=ours,
        interval=_interval(cell),
        difference=_difference(cell["difference"]),
        verdict=str(cell["verdict"]),
        seeds=tuple(_seeds(cell, runs)),
    )


def _spread(cell: Mapping[str, object]) -> str:
    kind = SPREADS.get(str(cell["spread_kind"]))
    if kind is None:
        return ""
    count = cell["published_seeds"]
    return kind if pd.isna(count) else f"{kind} over {count} runs"


def _interval(cell: Mapping[str, object]) -> str:
    low, high = _number(cell["low"]), _number(cell["high"])
    if low and high:
        return f"[{low}, {high}]"
    return "" if not cell["seeds"] else f"n = {cell['seeds']}"


def _seeds(cell: Mapping[str, object], runs: Runs) -> list[SeedView]:
    if not isinstance(cell["per_seed"], str):
        return []
    numbers, values = (str(cell[name]).split(";") for name in ("seed_numbers", "per_seed"))
    nothing = RunView("", "")
    views = [runs.get((str(cell["variant"]), number), nothing) for number in numbers]
    return [
        SeedView(number, _number(float(value)), **vars(run))
        for number, value, run in zip(numbers, values, views, strict=True)
    ]


def _number(value: object) -> str:
    """Three decimals below ten, four digits above; nothing for a missing number."""
    if not isinstance(value, float) or math.isnan(value):
        return ""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.4g}"


def _difference(value: object) -> str:
    text = _number(value)
    if not text or float(value) == 0.0:  # type: ignore[arg-type]
        return text
    # A minus sign is as wide as a plus, so that differences line up in a column.
    return text.replace("-", "−") if text.startswith("-") else f"+{text}"


def budget_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """What each variant with results cost, as texts by heading; none where no manifest says it."""
    there = table[(table["seeds"] > 0) & table["parameters"].notna()]
    # All cells of a variant repeat its budget, so the first one says it.
    return [
        {
            "variant": words(str(row["variant"])),
            **{
                heading: "not known" if pd.isna(row[name]) else f"{row[name]:,}"
                for name, heading in BUDGET_HEADINGS.items()
            },
        }
        for row in there.drop_duplicates("variant").to_dict("records")
    ]


@dataclass(frozen=True)
class OpinionView:
    """What others measured: a row a variant, a column a source."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    sources: tuple[str, ...]  # what each column is


def opinion_view(
    opinions: Sequence[Opinion], table: pd.DataFrame, paper: str
) -> OpinionView | None:
    """The opinions about the variants of a table that have results, after what ``paper`` prints.

    None where there are none. Numbers of this project are not in it: their data may be others.
    """
    there = set(table.loc[table["seeds"] > 0, "variant"])
    chosen = [one for one in opinions if one.variant in there]
    if not chosen:
        return None
    texts = {(one.variant, one.source): _with_spread(one.mean, one.spread) for one in chosen}
    printed = table[table["published_mean"].notna()].drop_duplicates(["variant", "metric"])
    for row in printed.to_dict("records"):
        if any(one.metric == row["metric"] for one in chosen if one.variant == row["variant"]):
            shown = _with_spread(row["published_mean"], row["published_spread"])
            texts[row["variant"], paper] = shown
    sources = list(dict.fromkeys(one.source for one in chosen))
    columns = [*dict.fromkeys(name for _, name in texts if name == paper), *sources]
    return OpinionView(
        columns=tuple(columns),
        rows=tuple(
            (words(variant), tuple(texts.get((variant, name), "") for name in columns))
            for variant in dict.fromkeys(one.variant for one in chosen)
        ),
        sources=tuple(_about_source([one for one in chosen if one.source == s]) for s in sources),
    )


def _with_spread(mean: float, spread: float | None) -> str:
    ours = _number(spread)
    return f"{_number(mean)} ± {ours}" if ours else _number(mean)


def _about_source(opinions: Sequence[Opinion]) -> str:
    """Where a column's numbers stand, what their ± is, and over how many runs."""
    first = opinions[0]
    runs = f" over {first.seeds} runs" if first.seeds else ""
    spread = f", ± {SPREADS[first.spread_kind]}{runs}" if first.spread is not None else ""
    notes = "".join(f"; {note}" for note in dict.fromkeys(one.note for one in opinions) if note)
    return f"{first.source}: {first.reference}{spread}{notes}"


def run_views(
    scale: str, experiment: str, trained_as: Mapping[str, tuple[str, str]], records: pd.DataFrame
) -> dict[tuple[str, str], RunView]:
    """The runs of an experiment by variant and seed.

    ``trained_as`` maps each variant to the experiment and variant that trained it; ``records`` are
    the manifests (`job_manifests.load_records`).
    """
    seeds = records.loc[records["experiment"] == experiment, ["variant", "seed"]].drop_duplicates()
    return {
        (variant, str(seed)): RunView(
            str(paths.episodes(scale, experiment, variant, seed)),
            str(paths.run(scale, *trained_as[variant], seed)),
        )
        for variant, seed in seeds.itertuples(index=False)
        if variant in trained_as
    }
