"""Lines over runs: a metric against a number, with intervals over seeds and the published curve.

Shared by the figures that differ only in what stands on the x axis and what makes a line. Each tells
with a `Place` where a cell of results belongs; the rest is alike. Frame, one row a mark:

    panel, series   which axes, which line
    source          reproduced (mean with its 95 % interval) | seed | published | trained
    x, value        position; ``low`` and ``high`` are the borders of the interval
    seed, seeds     number of the seed, number of seeds behind the mean
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator
from pydantic import Field

from memdt.evaluation.statistics import interval
from memdt.figures import style
from memdt.figures.interface import FigureInputs, VariantFacts
from memdt.reporting.results import CELL_KEYS, per_seed
from memdt.reporting.verdicts import metric_settings
from memdt.settings.schema import Frozen

COLUMNS = ("panel", "series", "source", "x", "value", "low", "high", "seed", "seeds")


class LineOptions(Frozen):
    """Options that all line figures share."""

    variants: tuple[str, ...] | None = Field(default=None, description="null: all variants")
    conditions: tuple[str, ...] | None = Field(
        default=("as_published",), description="null: all conditions"
    )
    panels: dict[str, tuple[str, ...]] = Field(
        default={}, description="title of each panel and its variants; none: one panel for all"
    )
    labels: dict[str, str] = Field(default={}, description="other words for a variant or condition")
    metric: Literal["success", "return", "steps"] = "success"
    chance: float | None = Field(default=None, description="where guessing lies: a dotted line")
    x_scale: Literal["linear", "log"] | None = Field(default=None, description="null: by the range")
    published: bool = Field(default=True, description="draw the published numbers, faintly")
    trained: bool = Field(default=True, description="mark the longest length trained on")

    def label(self, name: str) -> str:
        """What readers see instead of a name."""
        return self.labels.get(name, style.words(name))


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


Place = Callable[[CellName], list[Spot]]


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
    place: Place,
    trained: Callable[[VariantFacts], float] | None = None,
) -> pd.DataFrame:
    """All marks of a line figure. UserError where no episode belongs to it.

    ``trained`` gives the x of the longest episodes a variant was trained on, None to leave it out.
    """
    rows = list(_reproduced(inputs, options, place))
    if not rows:
        raise inputs.nothing("episodes")
    rows += _published(inputs, options, place) if options.published else []
    rows += _trained(inputs, options, place, trained) if trained and options.trained else []
    found = pd.DataFrame(rows, columns=list(COLUMNS)).drop_duplicates(ignore_index=True)
    return _in_order(found, options)


def _in_order(found: pd.DataFrame, options: LineOptions) -> pd.DataFrame:
    """Panels as the options name them, series and marks as they came, x ascending."""
    panels = list(options.panels) or list(dict.fromkeys(found["panel"]))
    series = list(dict.fromkeys(found["series"]))
    sources = ["reproduced", "seed", "published", "trained"]
    keys = pd.DataFrame(
        {
            "panel": found["panel"].map(panels.index),
            "series": found["series"].map(series.index),
            "source": found["source"].map(sources.index),
            "x": found["x"],
            "seed": found["seed"].fillna(-1),
        }
    )
    return found.loc[keys.sort_values(list(keys), kind="stable").index].reset_index(drop=True)


def _reproduced(
    inputs: FigureInputs, options: LineOptions, place: Place
) -> Iterator[dict[str, Any]]:
    bounds = metric_settings(options.metric).bounds
    means = per_seed(inputs.episodes, options.metric)
    for key, group in means.groupby(list(CELL_KEYS), sort=False):
        found = interval(group["value"].to_numpy(), bounds=bounds)
        for spot in place(CellName(*key)):
            yield {
                **vars(spot),
                "source": "reproduced",
                "value": found.mean,
                "low": found.low,
                "high": found.high,
                "seeds": found.seeds,
            }
            for row in group.itertuples():
                yield {**vars(spot), "source": "seed", "value": row.value, "seed": row.seed}


def _published(inputs: FigureInputs, options: LineOptions, place: Place) -> list[dict[str, Any]]:
    cells = [
        cell
        for cell in inputs.published
        if cell.in_scope
        and cell.segments is not None
        and cell.experiment in inputs.settings.experiments
        and cell.metric == options.metric
    ]
    return [
        {**vars(spot), "source": "published", "value": cell.mean, "seeds": cell.seeds}
        for cell in cells
        for spot in place(
            CellName(cell.experiment, cell.variant, cell.condition, cell.segments or 0)
        )
    ]


def _trained(
    inputs: FigureInputs,
    options: LineOptions,
    place: Place,
    trained: Callable[[VariantFacts], float],
) -> list[dict[str, Any]]:
    cells = inputs.episodes[list(CELL_KEYS)].drop_duplicates().itertuples(index=False)
    return [
        {**vars(spot), "source": "trained", "x": trained(inputs.facts[key])}
        for cell in cells
        if (key := (cell.experiment, cell.variant)) in inputs.facts
        for spot in place(CellName(*cell))
    ]


@dataclass(frozen=True)
class Axis:
    """What stands on the axes."""

    x_label: str
    y_label: str
    log: bool


def y_label(options: LineOptions) -> str:
    """What the y axis shows."""
    return "success rate" if options.metric == "success" else f"mean {options.metric}"


def is_log(data: pd.DataFrame, options: LineOptions) -> bool:
    """Whether the x axis is logarithmic: as told, else where the numbers span a factor of 10."""
    if options.x_scale is not None:
        return options.x_scale == "log"
    return bool(data["x"].min() > 0 and data["x"].max() >= 10 * data["x"].min())


def draw(data: pd.DataFrame, options: LineOptions, axis: Axis) -> Figure:
    """One axes a panel, one above the other, with a legend below that serves all."""
    panels = list(dict.fromkeys(data["panel"]))
    series = list(dict.fromkeys(data["series"]))
    handles = _handles(data, options, series)
    columns = _legend_columns([handle.get_label() for handle in handles])
    legend_height = 0.19 * -(-len(handles) // columns)
    figure = style.new_figure(0.7 + 1.95 * len(panels) + legend_height)
    all_axes = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, panel in zip(all_axes, panels, strict=True):
        _panel(axes, data[data["panel"] == panel], series, options, axis)
        axes.set_title(panel)
        axes.set_ylabel(axis.y_label)
    _x_axis(all_axes[-1], data, axis)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.2)
    return figure


def _panel(
    axes: Axes, data: pd.DataFrame, series: list[str], options: LineOptions, axis: Axis
) -> None:
    if options.chance is not None:
        axes.axhline(options.chance, color=style.INK, linewidth=1, linestyle=":", alpha=0.7)
    present = [name for name in series if name in set(data["series"])]
    for rank, name in enumerate(present):
        one = data[data["series"] == name]
        _series(axes, one, series.index(name), _shift(data["x"], rank, len(present), axis.log))
    _trained_marks(axes, data[data["source"] == "trained"], series)
    if options.metric == "success":
        axes.set_ylim(-0.05, 1.05)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])


Shift = Callable[[pd.Series], Float[np.ndarray, " marks"]]


def _shift(x: pd.Series, rank: int, count: int, log: bool) -> Shift:
    """Move a series a little to the side, so that equal values do not hide each other."""
    scale = np.log10(x) if log else x.astype(float)
    places = np.unique(scale.to_numpy())
    gap = np.diff(places).min() if len(places) > 1 else 1.0
    step = min(0.5 * gap / count, 0.012 * max(np.ptp(places), gap))
    offset = (rank - (count - 1) / 2) * step
    return lambda values: (
        values.to_numpy() * 10**offset if log else values.to_numpy(dtype=float) + offset
    )


def _series(axes: Axes, data: pd.DataFrame, index: int, shift: Shift) -> None:
    """One line: published behind, then interval, seeds and mean."""
    colour = style.colour(index)
    printed, ours, seeds = (
        data[data["source"] == source] for source in ("published", "reproduced", "seed")
    )
    axes.plot(
        printed["x"], printed["value"],
        color=colour, alpha=0.5, linewidth=1.1, linestyle=(0, (4, 2)), marker="x", markersize=4.5,
    )  # fmt: skip
    x = shift(ours["x"])
    low, high = (ours[side].fillna(ours["value"]) for side in ("low", "high"))
    axes.fill_between(x, low, high, facecolor=colour, alpha=0.12, linewidth=0)
    axes.plot(x, low, x, high, color=colour, alpha=0.3, linewidth=0.5)
    sns.scatterplot(
        x=shift(seeds["x"]), y=seeds["value"].to_numpy(),
        ax=axes, color=colour, s=11, alpha=0.55, linewidth=0, legend=False, zorder=2.5,
    )  # fmt: skip
    axes.plot(
        x, ours["value"],
        color=colour, marker=style.marker(index), dashes=style.dashes(index) or (None, None),
        markeredgecolor=style.PAPER, markeredgewidth=0.7, zorder=3,
    )  # fmt: skip


def _trained_marks(axes: Axes, data: pd.DataFrame, series: list[str]) -> None:
    """On the axis, in a series' colour, or in ink where all were trained on the same length."""
    shared = data["x"].nunique() == 1
    for x, group in data.groupby("x"):
        for rank, name in enumerate(group["series"][: 1 if shared else None]):
            axes.plot(
                [x], [0.045 * rank], transform=axes.get_xaxis_transform(), linestyle="none",
                color=style.INK if shared else style.colour(series.index(name)),
                marker=6, markersize=6.5, clip_on=False, zorder=4, markeredgewidth=0,
            )  # fmt: skip


def _x_axis(axes: Axes, data: pd.DataFrame, axis: Axis) -> None:
    """Ticks where the numbers are and nowhere else."""
    if axis.log:
        axes.set_xscale("log")
    places = sorted(data.loc[data["source"] != "trained", "x"].unique())
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{place:,.6g}" if place < 1e6 else f"{place:,.0f}" for place in places])
    axes.set_xlabel(axis.x_label)


def _handles(data: pd.DataFrame, options: LineOptions, series: list[str]) -> list[Any]:
    """The legend: each series, then what the other marks mean, as far as they occur."""
    sources = set(data["source"])
    lines = [
        Line2D(
            [], [], color=style.colour(index), marker=style.marker(index), label=name,
            dashes=style.dashes(index) or (None, None), markeredgecolor=style.PAPER,
            markeredgewidth=0.7,
        )
        for index, name in enumerate(series)
    ]  # fmt: skip
    ink = {"color": style.INK, "alpha": 0.7}
    marks: list[tuple[bool, Any]] = [
        (True, Patch(color=style.INK, alpha=0.15, linewidth=0, label="95 % interval")),
        (True, Line2D([], [], **ink, marker=".", linestyle="none", label="one seed")),
        (
            "published" in sources,
            Line2D([], [], **ink, linestyle=(0, (4, 2)), linewidth=1.1, marker="x", markersize=4.5,
                   label="published"),
        ),
        (
            "trained" in sources,
            Line2D([], [], **ink, marker=6, markersize=7, linestyle="none",
                   label="longest trained on"),
        ),
        (options.chance is not None, Line2D([], [], **ink, linestyle=":", label="chance")),
    ]  # fmt: skip
    return [*lines, *(handle for shown, handle in marks if shown)]


def _legend_columns(labels: list[str]) -> int:
    """As many columns as surely fit: 5.3 points a letter, 36 for the mark, 335 in all."""
    for columns in range(min(4, len(labels)), 1, -1):
        height = -(-len(labels) // columns)
        parts = [labels[first : first + height] for first in range(0, len(labels), height)]
        if sum(36 + 5.3 * max(map(len, part)) for part in parts) <= 335:
            return columns
    return 1
