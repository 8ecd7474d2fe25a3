"""How the hint gets into memory and which steps read it: attention shares, one bar per layer.

Draws the recorded weights of one episode, like `attention_map.py`. Above: the share of the written
memory tokens' attention that goes to steps showing the hint; a line shows the share for uniform
attention. Below: the share of the steps' attention that goes to the memory that is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from memdt.figures import attention_map
from memdt.figures.attention_map import TOKENS_OF_A_STEP, Block, PanelLayout
from memdt.figures.interface import AttentionRecord, FigureInputs
from memdt.figures.parts import style

Options = attention_map.Options
COLUMNS = ("look", "segment", "layer", "share", "even")
LOOKS = {
    "write to hint": "memory written looks at the hint",
    "steps to memory": "steps look at memory",
}


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per look, segment and layer: the share, and its value for uniform attention."""
    options = inputs.options(Options)
    record = attention_map.chosen(inputs, options)
    rows = list(_rows(record, options))
    if not rows:
        raise inputs.nothing("memory tokens")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(record: AttentionRecord, options: Options) -> Iterator[dict[str, Any]]:
    layout = PanelLayout.of(record)
    looking = {block.kind: slice(block.first, block.last) for block in layout.rows}
    looked_at = {block.kind: block for block in layout.columns}
    if not {"read", "write"} <= set(looking):
        return
    for segment, layers in enumerate(attention_map.heads_of(record, options)):
        seen = record.hint_in(segment)
        hint = _columns(looked_at["steps"], seen)
        even = TOKENS_OF_A_STEP * len(seen) / layout.tokens
        for layer, weights in enumerate(layers, start=1):
            key = {"segment": segment + 1, "layer": layer}
            written = weights[looking["write"], hint].sum(axis=1).mean()
            yield {
                **key,
                "look": "write to hint",
                "share": round(float(written), 5),
                "even": even,
            }
            read = slice(looked_at["read"].first, looked_at["read"].last)
            share = weights[looking["steps"], read].sum(axis=1).mean()
            yield {**key, "look": "steps to memory", "share": round(float(share), 5)}


def _columns(steps: Block, some: range) -> slice:
    """The columns of some steps of a segment."""
    return slice(*(steps.first + TOKENS_OF_A_STEP * step for step in (some.start, some.stop)))


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """One panel per look; segments on the x axis, layers side by side."""
    figure = style.new_figure(4.6)
    panels = figure.subplots(2, 1, sharex=True)
    for axes, (look, title) in zip(panels, LOOKS.items(), strict=True):
        _panel(axes, data[data["look"] == look])
        axes.set_title(title)
        axes.set_ylabel("share of attention")
    panels[-1].set_xlabel("segment")
    layers = sorted(data["layer"].unique())
    handles: list[Any] = [Patch(color=style.colour(n - 1), label=f"layer {n}") for n in layers]
    handles.append(Line2D([], [], color=style.INK, linewidth=1.5, label="all looked at alike"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=1.2)
    return figure


def _panel(axes: Axes, data: pd.DataFrame) -> None:
    layers = sorted(data["layer"].unique())
    width = 0.8 / len(layers)
    for rank, layer in enumerate(layers):
        one = data[data["layer"] == layer]
        left = one["segment"] - 0.4 + rank * width
        axes.bar(left, one["share"], 0.92 * width, align="edge", color=style.colour(layer - 1))
    even = data.drop_duplicates("segment").dropna(subset=["even"])
    axes.hlines(
        even["even"], even["segment"] - 0.42, even["segment"] + 0.42, color=style.INK, linewidth=1.5
    )
    axes.set_xticks(sorted(data["segment"].unique()))
    axes.set_ylim(0, None)
