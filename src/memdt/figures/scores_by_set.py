"""Scores of several methods on several datasets or games: one row per set, one mark per method.

Draws evaluation episodes of variants named <set>-<method>. A mark is the mean over seeds, its line
the 95 % interval, and faint dots are single seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from memdt.figures.interface import FigureInputs
from memdt.figures.parts import lines, style
from memdt.results.metric_names import MetricText
from memdt.results.results import per_seed
from memdt.results.verdicts import metric_settings

INCHES = {"row": 0.17, "between": 0.16, "rest": 0.95}  # height of a method, a gap, and all else
LEGEND_COLUMNS = 4


class Options(lines.SeriesOptions):
    """The sets and methods come from the variants' names; ``labels`` may rename both."""

    metric: MetricText = "score"
    condition: str = "as_published"
    reference: dict[str, float] = {}  # dotted lines: what is written beside them, and their value


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per mark (``parts/lines.py``): a panel is a set, a series is a method."""
    rows = list(_rows(inputs, inputs.options(Options)))
    if not rows:
        raise inputs.nothing("episodes")
    return lines.in_order(rows, [])


def _rows(inputs: FigureInputs, options: Options) -> Iterator[dict[str, Any]]:
    means = per_seed(inputs.episodes, options.metric)
    chosen = means[means["condition"] == options.condition]
    bounds = metric_settings(options.metric).bounds
    for variant, group in chosen.groupby("variant", sort=False):
        if options.variants is not None and variant not in options.variants:
            continue
        name, _, method = str(variant).rpartition("-")
        spot = lines.Spot(options.label(name), options.label(method), 0.0)
        seeds = group.groupby("seed")["value"].mean()  # over the lengths it was played at
        yield from lines.marks(spot, {int(seed): v for seed, v in seeds.items()}, bounds)


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """Scores on the x axis, sets below each other, the methods of a set below each other."""
    options = inputs.options(Options)
    sets, methods = (list(dict.fromkeys(data[name])) for name in ("panel", "series"))
    counts = [data.loc[data["panel"] == one, "series"].nunique() for one in sets]
    height = INCHES["row"] * sum(counts) + INCHES["between"] * len(sets)
    figure = style.new_figure(height + INCHES["rest"])
    axes = figure.subplots()
    middles, top, gap = [], 0.0, INCHES["between"] / INCHES["row"]
    for name, count in zip(sets, counts, strict=True):
        _set(axes, data[data["panel"] == name], methods, top)
        middles.append(top + (count - 1) / 2)
        top += count + gap
        axes.axhline(top - (1 + gap) / 2, color=style.INK, linewidth=0.6, alpha=0.15)
    axes.set_yticks(middles, sets)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(top - (1 + gap) / 2, -(1 + gap) / 2)
    for name, value in options.reference.items():
        axes.axvline(value, color=style.INK, linewidth=1, linestyle=":", alpha=0.7)
        axes.annotate(
            name, (value, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom"
        )
    axes.set_xlabel(style.words(options.metric))
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    figure.legend(handles=[_handle(i, one) for i, one in enumerate(methods)],
                  loc="outside lower center", ncols=min(LEGEND_COLUMNS, len(methods)),
                  handlelength=1.6, columnspacing=1.2)  # fmt: skip
    return figure


def _set(axes: Axes, data: pd.DataFrame, methods: list[str], top: float) -> None:
    present = [name for name in methods if name in set(data["series"])]
    for row, name in enumerate(present):
        one, index = data[data["series"] == name], methods.index(name)
        mean, seeds = one[one["source"] == "reproduced"].iloc[0], one[one["source"] == "seed"]
        y, colour = top + row, style.colour(index)
        axes.plot(seeds["value"], [y] * len(seeds), color=colour, alpha=0.4, linestyle="none",
                  marker="o", markersize=3.2, markeredgewidth=0)  # fmt: skip
        axes.plot([mean["low"], mean["high"]], [y, y], color=colour, linewidth=1.5)
        axes.plot(mean["value"], y, color=colour, marker=style.marker(index), markersize=6,
                  markeredgecolor=style.PAPER, markeredgewidth=0.7)  # fmt: skip


def _handle(index: int, name: str) -> Line2D:
    return Line2D([], [], color=style.colour(index), marker=style.marker(index), label=name,
                  markeredgecolor=style.PAPER, markeredgewidth=0.7)  # fmt: skip
