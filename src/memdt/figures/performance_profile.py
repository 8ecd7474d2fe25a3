"""Share of runs with more than a score, over several datasets or games: one line per method.

Draws evaluation episodes of variants named <set>-<method>. All methods are shown over the same
sets, each with the same weight. Source: Agarwal et al. 2021, score distributions.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from pydantic import Field

from memdt.figures.interface import FigureInputs
from memdt.figures.parts import line_drawing, lines, style
from memdt.results.metric_names import MetricText
from memdt.results.results import per_seed
from memdt.results.statistics import performance_profile


class Options(lines.SeriesOptions):
    """The methods come from the variants' names; ``labels`` may rename them."""

    metric: MetricText = "score"
    condition: str = "as_published"
    points: int = Field(default=25, ge=2, description="thresholds from the least value to the most")


Scores = dict[str, dict[tuple[str, int], Float[np.ndarray, " seeds"]]]


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per method and threshold: the share with its stratified bootstrap interval."""
    options = inputs.options(Options)
    scores = _scores(inputs.episodes, options)
    if not scores:
        raise inputs.nothing("episodes")
    shown = _over_the_same_sets(scores)
    values = np.concatenate([seeds for tasks in shown.values() for seeds in tasks])
    thresholds = np.linspace(values.min(), values.max(), options.points)
    rows = [
        {
            "panel": "",
            "series": options.label(method),
            "source": "reproduced",
            "x": round(float(threshold), 6),
            "value": share.mean,
            "low": share.low,
            "high": share.high,
            "seeds": share.seeds,
        }
        for method, tasks in shown.items()
        for threshold, share in zip(
            thresholds,
            performance_profile(tasks, list(thresholds), np.random.default_rng(0)),
            strict=True,
        )
    ]
    return lines.in_order(rows, [])


def _scores(episodes: pd.DataFrame, options: Options) -> Scores:
    """The value of each seed, by method, and by set and number of segments."""
    means = per_seed(episodes, options.metric)
    scores: Scores = {}
    chosen = means[means["condition"] == options.condition]
    for (variant, segments), group in chosen.groupby(["variant", "segments"], sort=False):
        task, _, method = variant.rpartition("-")
        if options.variants is None or variant in options.variants:
            scores.setdefault(method, {})[task, segments] = group["value"].to_numpy(dtype=float)
    return scores


def _over_the_same_sets(scores: Scores) -> dict[str, list[Float[np.ndarray, " seeds"]]]:
    """Of all sets that some method has, those that leave most to compare: methods times sets."""

    def having(sets: set[tuple[str, int]]) -> list[str]:
        return [method for method, tasks in scores.items() if sets <= set(tasks)]

    candidates = [set(tasks) for tasks in scores.values()]
    sets = max(candidates, key=lambda one: len(one) * len(having(one)))
    return {method: [scores[method][one] for one in sorted(sets)] for method in having(sets)}


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """The score on the x axis, the share of runs above it on the y axis."""
    options = inputs.options(Options)
    axis = line_drawing.Axis(
        style.words(options.metric), "share of runs above", share=True, time=True
    )
    return line_drawing.draw(data, options, axis)
