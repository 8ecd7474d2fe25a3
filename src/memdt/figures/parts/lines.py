"""Lines over runs: a metric against a number, with intervals over seeds and the published curve.

Shared by the figures that differ only in the x axis and in what makes a line. Each defines a
`Placement` of the results' cells, and `line_drawing.py` draws them. The frame has one row per mark:

    panel, series   which axes, which line
    source          reproduced (mean with its 95 % interval) | seed | published | trained | hint
    x, value        position; ``low`` and ``high`` are the borders of the interval
    seed, seeds     number of the seed, number of seeds behind the mean
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from memdt.figures.interface import FigureInputs, VariantFacts
from memdt.figures.parts import style
from memdt.results.bounded_mean import Bounds
from memdt.results.metric_names import MetricText
from memdt.results.results import CELL_KEYS, per_seed
from memdt.results.statistics import interval
from memdt.results.verdicts import metric_settings
from memdt.settings.schema import Frozen

COLUMNS = ("panel", "series", "source", "x", "value", "low", "high", "seed", "seeds")


class SeriesOptions(Frozen):
    """Options of all figures that have lines."""

    variants: tuple[str, ...] | None = Field(default=None, description="null: all variants")
    labels: dict[str, str] = Field(default={}, description="other words for a variant or condition")
    chance: float | None = Field(default=None, description="where guessing lies: a dotted line")
    trained: bool = Field(default=True, description="mark the longest length trained on")

    def label(self, name: str) -> str:
        """The label that readers see instead of a name."""
        return self.labels.get(name, style.words(name))


class LineOptions(SeriesOptions):
    """Options that all figures of a metric share."""

    conditions: tuple[str, ...] | None = Field(
        default=("as_published",), description="null: all conditions"
    )
    panels: dict[str, tuple[str, ...]] = Field(
        default={}, description="title of each panel and its variants; none: one panel for all"
    )
    metric: MetricText = "success"
    x_scale: Literal["linear", "log"] | None = Field(default=None, description="null: by the range")
    published: bool = Field(default=True, description="draw the published numbers, faintly")


@dataclass(frozen=True)
class CellName:
    """Where a result comes from."""

    experiment: str
    variant: str
    condition: str
    segments: int


@dataclass(frozen=True)
class Spot:
    """Where a result is drawn."""

    panel: str
    series: str
    x: float


Placement = Callable[[CellName], list[Spot]]


def panels_of(options: LineOptions, variant: str) -> list[str]:
    """The panels that show a variant: none, one, or several."""
    if options.variants is not None and variant not in options.variants:
        return []
    if not options.panels:
        return [""]
    return [title for title, variants in options.panels.items() if variant in variants]


def is_shown(options: LineOptions, condition: str) -> bool:
    """Whether a condition belongs to the figure."""
    return options.conditions is None or condition in options.conditions


def frame(
    inputs: FigureInputs,
    options: LineOptions,
    spots_of: Placement,
    trained: Callable[[VariantFacts], float] | None = None,
) -> pd.DataFrame:
    """All marks of a line figure. UserError if no episode belongs to it.

    ``trained`` gives the x of the longest episodes a variant was trained on, None to leave it out.
    """
    rows = list(_reproduced(inputs, options, spots_of))
    if not rows:
        raise inputs.nothing("episodes")
    rows += _published(inputs, options, spots_of) if options.published else []
    rows += _trained(inputs, options, spots_of, trained) if trained and options.trained else []
    return in_order(rows, list(options.panels))


def in_order(
    rows: list[dict[str, Any]], panels: list[str], columns: Sequence[str] = COLUMNS
) -> pd.DataFrame:
    """The rows as a frame: panels in the order named or seen, series as seen, x ascending."""
    frame = pd.DataFrame(rows, columns=list(columns)).drop_duplicates(ignore_index=True)
    panels = panels or list(dict.fromkeys(frame["panel"]))
    series = list(dict.fromkeys(frame["series"]))
    sources = ["reproduced", "seed", "published", "trained", "hint"]
    keys = pd.DataFrame(
        {
            "panel": frame["panel"].map(panels.index),
            "series": frame["series"].map(series.index),
            "source": frame["source"].map(sources.index),
            "x": frame["x"],
            "seed": frame["seed"].fillna(-1),
        }
    )
    return frame.loc[keys.sort_values(list(keys), kind="stable").index].reset_index(drop=True)


def _reproduced(
    inputs: FigureInputs, options: LineOptions, spots_of: Placement
) -> Iterator[dict[str, Any]]:
    bounds = metric_settings(options.metric).bounds
    means = per_seed(inputs.episodes, options.metric)
    for key, group in means.groupby(list(CELL_KEYS), sort=False):
        sample = dict(zip(group["seed"], group["value"], strict=True))
        for spot in spots_of(CellName(*key)):
            yield from marks(spot, sample, bounds)


def marks(
    spot: Spot, sample: Mapping[int, float], bounds: Bounds | None
) -> Iterator[dict[str, Any]]:
    """The mean of a sample over seeds with its interval, then every seed."""
    mean = interval(list(sample.values()), bounds=bounds)
    yield {
        **vars(spot),
        "source": "reproduced",
        "value": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "seeds": mean.seeds,
    }
    for seed, value in sample.items():
        yield {**vars(spot), "source": "seed", "value": value, "seed": seed}


def _published(
    inputs: FigureInputs, options: LineOptions, spots_of: Placement
) -> list[dict[str, Any]]:
    cells = [
        cell
        for cell in inputs.published
        if cell.in_scope
        and cell.segments is not None
        and (cell.experiment, cell.variant) in inputs.facts
        and cell.metric == options.metric
    ]
    return [
        {**vars(spot), "source": "published", "value": cell.mean, "seeds": cell.seeds}
        for cell in cells
        for spot in spots_of(
            CellName(cell.experiment, cell.variant, cell.condition, cell.segments or 0)
        )
    ]


def _trained(
    inputs: FigureInputs,
    options: LineOptions,
    spots_of: Placement,
    trained: Callable[[VariantFacts], float],
) -> list[dict[str, Any]]:
    cells = inputs.episodes[list(CELL_KEYS)].drop_duplicates().itertuples(index=False)
    return [
        {**vars(spot), "source": "trained", "x": trained(inputs.facts[key])}
        for cell in cells
        if (key := (cell.experiment, cell.variant)) in inputs.facts
        for spot in spots_of(CellName(*cell))
    ]
