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
from matplotlib.figure import Figure

from memdt.figures import attention_map
from memdt.figures.attention_map import TOKENS_OF_A_STEP, PanelLayout
from memdt.figures.interface import AttentionRecord, FigureInputs
from memdt.figures.parts.layer_bars import draw_layer_bars

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
    return draw_layer_bars(data, "quarter", "quarter of the segment", LOOKS, columns=4)
