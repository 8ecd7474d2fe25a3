"""Draw shares of attention as bars: one panel per look, the layers side by side.

Shared by figures that sum recorded attention over parts of an episode. Their data has the columns
``look``, ``layer``, ``share`` and ``even`` (the share under uniform attention; NaN if there is
none), and one that goes on the x axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from memdt.figures.parts import style


def draw_layer_bars(
    data: pd.DataFrame, x: str, label: str, looks: Mapping[str, str], columns: int
) -> Figure:
    """Draw one panel per look.

    Args:
        data: one row per look, layer and value of ``x``.
        x: the column on the x axis.
        label: of the x axis.
        looks: the title of each look's panel.
        columns: of the legend.
    """
    figure = style.new_figure(4.6)
    panels = figure.subplots(len(looks), 1, sharex=True)
    for axes, (look, title) in zip(panels, looks.items(), strict=True):
        _panel(axes, data[data["look"] == look], x)
        axes.set_title(title)
        axes.set_ylabel("share of attention")
    panels[-1].set_xlabel(label)
    layers = sorted(data["layer"].unique())
    handles: list[Any] = [Patch(color=style.colour(n - 1), label=f"layer {n}") for n in layers]
    handles.append(Line2D([], [], color=style.INK, linewidth=1.5, label="all looked at alike"))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=1.2)
    return figure


def _panel(axes: Axes, data: pd.DataFrame, x: str) -> None:
    layers = sorted(data["layer"].unique())
    width = 0.8 / len(layers)
    for rank, layer in enumerate(layers):
        bars = data[data["layer"] == layer]
        left = bars[x] - 0.4 + rank * width
        axes.bar(left, bars["share"], 0.92 * width, align="edge", color=style.colour(layer - 1))
    even = data.drop_duplicates(x).dropna(subset=["even"])
    axes.hlines(even["even"], even[x] - 0.42, even[x] + 0.42, color=style.INK, linewidth=1.5)
    axes.set_xticks(sorted(data[x].unique()))
    axes.set_ylim(0, None)
