"""Shared by figures that draw recorded episodes over time: the runs, and the marked times.

The frames are those of `lines.py`, with x in environment steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd
from matplotlib.figure import Figure

from memdt.figures.interface import FigureInputs, RecordedRun
from memdt.figures.parts import line_drawing, style
from memdt.figures.parts.lines import SeriesOptions


def shown(inputs: FigureInputs, variants: tuple[str, ...] | None) -> list[RecordedRun]:
    """The runs that a figure shows, None for all; UserError if none of them was recorded."""
    chosen = [run for run in inputs.recordings if variants is None or run.variant in variants]
    if not chosen:
        raise inputs.nothing("recorded episodes")
    return chosen


def by_variant(runs: Sequence[RecordedRun]) -> dict[str, list[RecordedRun]]:
    """The runs of each variant, in their order."""
    by_variant: dict[str, list[RecordedRun]] = {}
    for run in runs:
        by_variant.setdefault(run.variant, []).append(run)
    return by_variant


def marked(
    rows: Sequence[dict[str, Any]],
    runs: Sequence[RecordedRun],
    inputs: FigureInputs,
    options: SeriesOptions,
    names_variant: Literal["series", "panel"] = "series",
) -> list[dict[str, Any]]:
    """The end of the hint, once per panel, and the trained length of each variant.

    ``names_variant`` is the column of ``rows`` with the label of a variant.
    """
    gone = float(max(run.recording.hint_steps.stop for run in runs))
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        hint = {"panel": row["panel"], "series": row["series"], "source": "hint", "x": gone}
        first.setdefault(row["panel"], hint)
    trained = {options.label(run.variant): _trained(run, inputs) for run in runs}
    lines = dict.fromkeys((row["panel"], row["series"]) for row in rows)
    lengths = [
        {**spot, "source": "trained", "x": trained[spot[names_variant]]}
        for spot in ({"panel": panel, "series": series} for panel, series in lines)
        if options.trained and trained[spot[names_variant]]
    ]
    return [*first.values(), *lengths]


def _trained(run: RecordedRun, inputs: FigureInputs) -> float:
    """Steps of the longest training episodes; 0 if unknown."""
    facts = inputs.facts.get((run.experiment, run.variant))
    return float(facts.trained_segments * facts.segment_length) if facts else 0.0


def draw(data: pd.DataFrame, options: SeriesOptions, y_label: str, otherwise: str) -> Figure:
    """Steps on the x axis, shares on the y axis; the text ``otherwise`` if there are no data."""
    if data.empty:
        figure = style.new_figure(0.6)
        figure.text(0.5, 0.5, otherwise, ha="center", va="center")
        return figure
    axis = line_drawing.Axis("step", y_label, share=True, time=True)
    return line_drawing.draw(data, options, axis)
