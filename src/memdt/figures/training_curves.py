"""Loss and accuracy during training, stage by stage: seeds thin, their mean thick.

Draws the training curves. Variants whose stages end at the same updates share a row. A stage border
is labelled with the segments of the stage that begins there.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from pydantic import Field

from memdt.figures.interface import FigureInputs
from memdt.figures.parts import style
from memdt.settings.schema import Frozen

COLUMNS = ("experiment", "variant", "seed", "stage", "segments", "update")
RUN = ["experiment", "variant", "seed"]
TITLES = {"accuracy": "accuracy of actions"}


class Options(Frozen):
    """Options of training curves."""

    variants: tuple[str, ...] | None = Field(default=None, description="null: all variants")
    labels: dict[str, str] = Field(default={}, description="other words for a variant")
    columns: tuple[str, ...] = Field(
        default=("loss", "accuracy"), min_length=1, description="of the curves, a panel each"
    )
    points: int = Field(default=120, gt=1, description="most points of a stage; more are averaged")
    lines_in_a_row: int = Field(default=4, gt=0, description="most variants in one row")


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per point of a curve; ``update`` counts through all stages of a run."""
    options = inputs.options(Options)
    curves = inputs.curves
    if options.variants is not None and not curves.empty:
        curves = curves[curves["variant"].isin(options.variants)]
    if curves.empty:
        raise inputs.nothing("training curves")
    missing = [column for column in options.columns if column not in curves]
    if missing:
        raise inputs.nothing(f"curves of {' and '.join(missing)}")
    thinned = _thinned(curves, options)
    return _through_all_stages(thinned, curves)[[*COLUMNS, *options.columns]]


def _thinned(curves: pd.DataFrame, options: Options) -> pd.DataFrame:
    """At most ``points`` rows per stage: averages of neighbours, each at their last update."""
    stage = curves.groupby([*RUN, "stage"], sort=False)
    rank, size = stage.cumcount(), stage["update"].transform("size")
    chunk = rank * np.minimum(options.points, size) // size
    grouped = curves.assign(chunk=chunk).groupby([*RUN, "stage", "chunk"], sort=False)
    return grouped.agg(
        segments=("segments", "last"),
        update=("update", "last"),
        **{column: (column, "mean") for column in options.columns},
    ).reset_index()


def _through_all_stages(points: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Updates, counted through all stages."""
    ends = curves.groupby([*RUN, "stage"])["update"].max()
    before = ends.groupby(level=RUN).cumsum() - ends
    index = pd.MultiIndex.from_frame(points[[*RUN, "stage"]])
    return points.assign(update=points["update"] + before.loc[index].to_numpy())


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """One panel per column, one row per set of stage borders.

    Runs with continuous actions have no accuracy, and their figures no such panel.
    """
    options = inputs.options(Options)
    rows = _rows(data, options.lines_in_a_row)
    panels = [column for column in options.columns if data[column].notna().any()]
    figure = style.new_figure(0.6 + 1.85 * len(rows))
    grid = figure.subplots(len(rows), len(panels), squeeze=False)
    for axes_of_row, names in zip(grid, rows, strict=True):
        shown = data[data["variant"].isin(names)]
        for axes, column in zip(axes_of_row, panels, strict=True):
            _panel(axes, shown, names, column)
            axes.set_title(TITLES.get(column, style.words(column)), fontweight="normal", pad=15)
        labels = [options.labels.get(name, style.words(name)) for name in names]
        _legend(axes_of_row[-1], labels, rises=len(panels) > 1)
    for axes in grid[-1]:
        axes.set_xlabel("updates")
    return figure


def _rows(data: pd.DataFrame, most: int) -> list[list[str]]:
    """Variants with the same stage borders together, at most ``most`` in a row."""
    groups: dict[tuple[tuple[int, int], ...], list[str]] = {}
    for name, one in data.groupby("variant", sort=False):
        ends = one.groupby("stage")["update"].max()
        key = tuple((int(stage), int(end)) for stage, end in ends.items())
        groups.setdefault(key, []).append(str(name))
    return [
        names[first : first + most]
        for names in groups.values()
        for first in range(0, len(names), most)
    ]


def _panel(axes: Axes, data: pd.DataFrame, names: list[str], column: str) -> None:
    for index, name in enumerate(names):
        one = data[data["variant"] == name]
        for _, seed in one.groupby("seed"):
            axes.plot(seed["update"], seed[column], **_line(index), linewidth=0.6, alpha=0.4)
        mean = one.groupby("update")[column].mean()
        axes.plot(mean.index, mean, **_line(index), linewidth=1.8)
    if column == "loss":
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    _borders(axes, data)


def _line(index: int) -> dict[str, Any]:
    return {"color": style.colour(index), "solid_joinstyle": "round"}


def _borders(axes: Axes, data: pd.DataFrame) -> None:
    """A vertical line where a stage begins, the segments it trains on above it."""
    ends = data.groupby("stage").agg(end=("update", "max"), segments=("segments", "first"))
    starts = [0, *ends["end"].iloc[:-1]]
    axes.set_xlim(0, ends["end"].iloc[-1])
    over: dict[str, Any] = {
        "transform": axes.get_xaxis_transform(),
        "va": "bottom",
        "fontsize": 8.5,
        "alpha": 0.8,
    }
    axes.text(0, 1.04, "segments ", ha="right", **over)
    for start, end, segments in zip(starts, ends["end"], ends["segments"], strict=True):
        if start:
            axes.axvline(start, color=style.INK, linewidth=0.8, linestyle=(0, (2, 2)), alpha=0.6)
        axes.text((start + end) / 2, 1.04, f"{segments}", ha="center", **over)


def _legend(axes: Axes, labels: list[str], rises: bool) -> None:
    handles = [
        Line2D([], [], **_line(index), linewidth=1.8, label=label)
        for index, label in enumerate(labels)
    ]
    corner: Literal["lower right", "upper right"] = "lower right" if rises else "upper right"
    axes.legend(handles=handles, loc=corner, handlelength=1.4)
