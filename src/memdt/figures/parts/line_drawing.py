"""Draw the frame of a line figure: panels in one or two columns, a legend below that serves all.

Shared by the figures that gather their marks with `lines.py`; nothing is computed here that the
frame could hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from memdt.figures.parts import style
from memdt.figures.parts.lines import LineOptions, SeriesOptions
from memdt.results import metric_names

HINT: dict[str, Any] = {
    "color": style.INK, "linewidth": 1, "linestyle": (0, (5, 2, 1, 2)), "alpha": 0.6,
}  # fmt: skip
ONE_COLUMN = 4  # panels
PANEL_INCHES = {1: 1.95, 2: 1.6}  # how high, by the number of columns
MOST_TICKS = {1: 7, 2: 5}  # of time
Shift = Callable[[pd.Series], Float[np.ndarray, " marks"]]


@dataclass(frozen=True)
class Axis:
    """Labels and scales of the axes."""

    x_label: str
    y_label: str
    log: bool = False
    share: bool = False  # the y axis shows all from 0 to 1
    time: bool = False  # x runs on evenly, with numbers here and there


def axis_of(x_label: str, data: pd.DataFrame, options: LineOptions) -> Axis:
    """The axes of a metric; x is logarithmic if the options say so or it spans a factor of 10."""
    share = metric_names.parse(options.metric).is_share
    return Axis(x_label, y_label(options), is_log(data, options), share)


def y_label(options: LineOptions) -> str:
    """What the y axis shows."""
    if options.metric == "success":
        return "success rate"
    averaged = not metric_names.parse(options.metric).is_share
    return "mean " * averaged + style.words(options.metric)


def is_log(data: pd.DataFrame, options: LineOptions) -> bool:
    """Whether the x axis is logarithmic: by the options, else if x spans a factor of 10."""
    if options.x_scale is not None:
        return options.x_scale == "log"
    return bool(data["x"].min() > 0 and data["x"].max() >= 10 * data["x"].min())


def draw(data: pd.DataFrame, options: SeriesOptions, axis: Axis) -> Figure:
    """One axes per panel, in two columns for more than four of them, and a common legend below."""
    panels = list(dict.fromkeys(data["panel"]))
    series = list(dict.fromkeys(data["series"]))
    handles = _handles(data, options, series)
    legend_columns = _legend_columns([handle.get_label() for handle in handles])
    columns = 1 if len(panels) <= ONE_COLUMN else 2
    rows = -(-len(panels) // columns)
    legend_height = 0.2 * -(-len(handles) // legend_columns)
    figure = style.new_figure(0.75 + PANEL_INCHES[columns] * rows + legend_height)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):  # the last cell may stay empty
        _panel(axes, data[data["panel"] == panel], series, options, axis)
        axes.set_title(panel)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(axis.y_label)
    for column in range(columns):
        lowest = grid[(len(panels) - 1 - column) // columns, column]
        lowest.tick_params(labelbottom=True)
        _x_axis(lowest, data, axis, MOST_TICKS[columns])
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns,
                  handlelength=2.2, columnspacing=1.2)  # fmt: skip
    return figure


def _panel(
    axes: Axes, data: pd.DataFrame, series: list[str], options: SeriesOptions, axis: Axis
) -> None:
    if options.chance is not None:
        axes.axhline(options.chance, color=style.INK, linewidth=1, linestyle=":", alpha=0.7)
    present = [name for name in series if name in set(data["series"])]
    for rank, name in enumerate(present):
        one = data[data["series"] == name]
        _series(axes, one, series.index(name), _shift(data["x"], rank, len(present), axis.log))
    _trained_marks(axes, data[data["source"] == "trained"], series)
    for x in data.loc[data["source"] == "hint", "x"]:
        axes.axvline(x, **HINT)
    if axis.share:
        axes.set_ylim(-0.05, 1.05)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])


def _shift(x: pd.Series, rank: int, count: int, log: bool) -> Shift:
    """Shift a series slightly sideways, so that equal values do not hide each other."""
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
    """Mark the trained length on the axis, in a series' colour or in ink if it is common to all."""
    shared = data["x"].nunique() == 1
    for x, group in data.groupby("x"):
        for rank, name in enumerate(group["series"][: 1 if shared else None]):
            axes.plot(
                [x], [0.045 * rank], transform=axes.get_xaxis_transform(), linestyle="none",
                color=style.INK if shared else style.colour(series.index(name)),
                marker=6, markersize=6.5, clip_on=False, zorder=4, markeredgewidth=0,
            )  # fmt: skip


def _x_axis(axes: Axes, data: pd.DataFrame, axis: Axis, most_ticks: int) -> None:
    """Ticks at the plotted numbers only, unless there are many."""
    axes.set_xlabel(axis.x_label)
    if axis.time:
        axes.xaxis.set_major_locator(MaxNLocator(most_ticks, integer=True))
        return
    if axis.log:
        axes.set_xscale("log")
    places = sorted(data.loc[data["source"] != "trained", "x"].unique())
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{tick:,.6g}" if tick < 1e6 else f"{tick:,.0f}" for tick in places])


def _handles(data: pd.DataFrame, options: SeriesOptions, series: list[str]) -> list[Any]:
    """The legend: each series, then the other marks that occur."""
    sources = set(data["source"])
    lines = [
        Line2D(
            [], [], color=style.colour(index), marker=style.marker(index), label=name,
            dashes=style.dashes(index) or (None, None), markeredgecolor=style.PAPER,
            markeredgewidth=0.7,
        )
        for index, name in enumerate(series)
    ]  # fmt: skip
    ink: dict[str, Any] = {"color": style.INK, "alpha": 0.7}
    marks: list[tuple[bool, Any]] = [
        (
            bool(data["low"].notna().any()),
            Patch(color=style.INK, alpha=0.15, linewidth=0, label="95 % interval"),
        ),
        (
            "seed" in sources,
            Line2D([], [], **ink, marker=".", linestyle="none", label="one seed"),
        ),
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
        ("hint" in sources, Line2D([], [], **HINT, label="hint is gone")),
        (options.chance is not None, Line2D([], [], **ink, linestyle=":", label="chance")),
    ]  # fmt: skip
    return [*lines, *(handle for shown, handle in marks if shown)]


def _legend_columns(labels: list[str]) -> int:
    """The largest number of columns that fit: 5.8 points per letter, 42 per mark, 350 in all."""
    for columns in range(min(4, len(labels)), 1, -1):
        parts = np.array_split([len(label) for label in labels], columns)  # as matplotlib does
        if sum(42 + 5.8 * part.max() for part in parts) <= 350:
            return columns
    return 1
