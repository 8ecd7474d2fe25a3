"""Which part of a segment is written into memory and which part reads it, by quarters.

Draws the recorded weights of one episode, like `attention_map.py`. Above: how the attention of
written memory tokens to steps is spread over the quarters of the segment. Below: the share of each
quarter's attention that goes to the memory that is read. Lines show the same for uniform attention.
Source: RATE appendix C, Figures 8 and 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from memdt.figures import attention_map
from memdt.figures.attention_map import TOKENS_OF_A_STEP, PanelLayout
from memdt.figures.interface import AttentionRecord, FigureInputs
from memdt.figures.parts import style

Options = attention_map.Options
QUARTERS = 4
COLUMNS = ("look", "quarter", "layer", "share", "even")
LOOKS = {
    "write to steps": "memory written looks at the steps of each quarter",
    "steps to memory": "steps of each quarter look at memory read",
}


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per look, quarter and layer: mean over segments, and value for uniform attention."""
    options = inputs.options(Options)
    record = attention_map.chosen(inputs, options)
    rows = list(_rows(record, options))
    if not rows:
        raise inputs.nothing("memory tokens")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(record: AttentionRecord, options: Options) -> Iterator[dict[str, Any]]:
    layout = PanelLayout.of(record)
    looking = {block.kind: slice(block.first, block.last) for block in layout.rows}
    at = {block.kind: slice(block.first, block.last) for block in layout.columns}
    if not {"read", "write"} <= set(looking):
        return
    weights = attention_map.heads_of(record, options)
    weights = weights[1:] if len(weights) > 1 else weights  # the first one has no full cache
    written = weights[:, :, looking["write"], at["steps"]].mean(axis=(0, 2))
    reading = weights[:, :, looking["steps"], at["read"]].sum(axis=-1).mean(axis=0)
    # A step token sees the cache, the memory read, and the step tokens up to itself.
    visible = record.cache + record.memory_tokens + 1 + np.arange(written.shape[-1])
    even = record.memory_tokens / visible
    # A segment of fewer than four steps has no fourth quarter.
    parts = np.array_split(np.arange(record.segment_length), QUARTERS)
    quarters = [part for part in parts if part.size]
    for quarter, steps in enumerate(quarters, start=1):
        tokens = TOKENS_OF_A_STEP * steps[:, None] + np.arange(TOKENS_OF_A_STEP)
        tokens = tokens.ravel()
        for layer in range(written.shape[0]):
            row = {"quarter": quarter, "layer": layer + 1}
            total = written[layer].sum()  # 0 where write tokens look at no step
            written_share = written[layer, tokens].sum() / total if total else 0.0
            looks = {
                "write to steps": (written_share, tokens.size / written.shape[-1]),
                "steps to memory": (reading[layer, tokens].mean(), even[tokens].mean()),
            }
            for look, (share, even_share) in looks.items():
                yield {
                    "look": look,
                    **row,
                    "share": round(float(share), 5),
                    "even": round(float(even_share), 5),
                }


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """One panel per look; quarters on the x axis, layers side by side."""
    figure = style.new_figure(4.6)
    panels = figure.subplots(2, 1, sharex=True)
    for axes, (look, title) in zip(panels, LOOKS.items(), strict=True):
        _panel(axes, data[data["look"] == look])
        axes.set_title(title)
        axes.set_ylabel("share of attention")
    panels[-1].set_xlabel("quarter of the segment")
    layers = sorted(data["layer"].unique())
    handles: list[Any] = [Patch(color=style.colour(n - 1), label=f"layer {n}") for n in layers]
    handles.append(Line2D([], [], color=style.INK, linewidth=1.5, label="all looked at alike"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=1.2)
    return figure


def _panel(axes: Axes, data: pd.DataFrame) -> None:
    layers = sorted(data["layer"].unique())
    width = 0.8 / len(layers)
    for rank, layer in enumerate(layers):
        one = data[data["layer"] == layer]
        left = one["quarter"] - 0.4 + rank * width
        axes.bar(left, one["share"], 0.92 * width, align="edge", color=style.colour(layer - 1))
    even = data.drop_duplicates("quarter")
    ends = even["quarter"] - 0.42, even["quarter"] + 0.42
    axes.hlines(even["even"], *ends, color=style.INK, linewidth=1.5)
    axes.set_xticks(sorted(data["quarter"].unique()))
    axes.set_ylim(0, None)
