"""Returns of the policies beside those of the data that they learnt from, a panel per dataset.

Draws evaluation episodes of variants named <set>-<method>, all seeds together, and the episodes
of the datasets (``datasets: true`` in figures.yaml). A thin line runs from the least return to the
most, a thick one over the middle half, and a dot is the median.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from memdt.figures.interface import FigureInputs
from memdt.figures.parts import style
from memdt.figures.parts.lines import SeriesOptions

QUANTILES = {"least": 0.0, "lower_quarter": 0.25, "median": 0.5, "upper_quarter": 0.75, "most": 1.0}
DATA = "data"


class Options(SeriesOptions):
    """The sets and methods come from the variants' names; ``labels`` may rename both."""

    condition: str = "as_published"


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per panel and policy, the data first: quantiles and the number of episodes."""
    rows = list(_rows(inputs, inputs.options(Options)))
    if not rows:
        raise inputs.nothing("episodes")
    frame = pd.DataFrame(rows).drop_duplicates(["panel", "series"], ignore_index=True)
    panels = list(dict.fromkeys(frame["panel"]))
    keys = pd.DataFrame(
        {"panel": frame["panel"].map(panels.index), "ours": frame["series"] != DATA}
    )
    order = keys.sort_values(["panel", "ours"], kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def _rows(inputs: FigureInputs, options: Options) -> Iterator[dict[str, Any]]:
    if inputs.episodes.empty:
        return
    played = inputs.episodes[inputs.episodes["condition"] == options.condition]
    for (experiment, variant), group in played.groupby(["experiment", "variant"], sort=False):
        if options.variants is not None and variant not in options.variants:
            continue
        name, _, method = variant.rpartition("-")
        panel = options.label(name)
        if (experiment, variant) in inputs.dataset_returns:
            yield _row(panel, DATA, inputs.dataset_returns[experiment, variant])
        yield _row(panel, options.label(method), group["return"].to_numpy(dtype=float))


def _row(panel: str, series: str, returns: Float[np.ndarray, " episodes"]) -> dict[str, Any]:
    values = np.quantile(returns, list(QUANTILES.values())).round(6)
    quantiles = dict(zip(QUANTILES, values.tolist(), strict=True))
    return {"panel": panel, "series": series, **quantiles, "episodes": returns.size}


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """Panels below each other, each with its own scale of returns."""
    panels = list(dict.fromkeys(data["panel"]))
    counts = [int((data["panel"] == panel).sum()) for panel in panels]
    figure = style.new_figure(0.7 * len(panels) + 0.22 * sum(counts))
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=[n + 1 for n in counts])
    for one, panel in zip(axes.flat, panels, strict=True):
        _panel(one, data[data["panel"] == panel])
        one.set_title(panel)
    axes.flat[-1].set_xlabel("return of an episode")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    for height, row in enumerate(rows.to_dict("records")):
        colour = style.INK if row["series"] == DATA else style.colour(0)
        ends, middle = ("least", "most"), ("lower_quarter", "upper_quarter")
        axes.plot([row[end] for end in ends], [height] * 2, color=colour, linewidth=1)
        axes.plot([row[end] for end in middle], [height] * 2, color=colour, linewidth=5, alpha=0.45)
        axes.plot(row["median"], height, color=colour, marker="o", markeredgecolor=style.PAPER)
    axes.set_yticks(range(len(rows)), list(rows["series"]))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
