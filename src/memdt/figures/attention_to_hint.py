"""How the hint gets into memory and which steps read it: attention shares, one bar per layer.

Draws the recorded weights of one episode, like `attention_map.py`. Above: the share of the written
memory tokens' attention that goes to steps showing the hint; a line shows the share for uniform
attention. Below: the share of the steps' attention that goes to the memory that is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from memdt.figures import attention_map
from memdt.figures.attention_map import TOKENS_OF_A_STEP, PanelLayout
from memdt.figures.interface import AttentionRecord, FigureInputs
from memdt.figures.parts.layer_bars import draw_layer_bars

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
        first = looked_at["steps"].first
        hint = slice(first + TOKENS_OF_A_STEP * seen.start, first + TOKENS_OF_A_STEP * seen.stop)
        # Written tokens see their whole segment, and what the cache holds of those before it.
        visible = layout.tokens + min(record.cache, segment * layout.tokens)
        even = TOKENS_OF_A_STEP * len(seen) / visible
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


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """One panel per look; segments on the x axis, layers side by side."""
    return draw_layer_bars(data, "segment", "segment", LOOKS, columns=3)
