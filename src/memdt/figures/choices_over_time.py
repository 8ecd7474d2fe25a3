"""Share of right choices over time: one line per variant, one panel for all episodes and per group.

Draws recorded episodes. Two counts of the environment tell right choices from wrong ones. A policy
that has forgotten which is right guesses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from memdt.figures.interface import FigureInputs, RecordedRun
from memdt.figures.parts import lines, over_time

ALL = "all episodes"
COLUMNS = (*lines.COLUMNS, "choices")


class Options(lines.SeriesOptions):
    """What is counted, and in which intervals of time."""

    right: str = Field(description="what counts right choices")
    wrong: str = Field(description="what counts wrong ones")
    segments: int | None = Field(
        default=None, gt=0, description="segments taken together; null: a twelfth of all"
    )
    fewest: int = Field(default=10, gt=0, description="choices below which a seed shows nothing")


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per mark, x the middle of an interval; ``choices`` is their number over all seeds."""
    options = inputs.options(Options)
    runs = over_time.shown(inputs, options.variants)
    groups = sorted({str(group) for run in runs for group in run.recording.groups})
    panels = [ALL, *(groups if len(groups) > 1 else [])]
    rows = [row for panel in panels for row in _panel(panel, runs, options)]
    rows += over_time.marked(rows, runs, inputs, options)
    return lines.in_order(rows, panels, COLUMNS)


def _panel(panel: str, runs: Sequence[RecordedRun], options: Options) -> Iterator[dict[str, Any]]:
    """Every variant's share in every interval."""
    steps = max(len(run.recording.returns_to_go) for run in runs)
    length = int(runs[0].recording.segment_length)
    width = length * (options.segments or max(1, round(steps / 12 / length)))
    for variant, seeds in over_time.by_variant(runs).items():
        for first in range(0, steps, width):
            piece = slice(first, first + width)
            counts = {run.seed: _counts(run, panel, piece, options) for run in seeds}
            spot = lines.Spot(panel, options.label(variant), first + width / 2)
            yield from _marks(spot, counts, options.fewest)


def _marks(
    spot: lines.Spot, counts: dict[int, tuple[int, int]], fewest: int
) -> Iterator[dict[str, Any]]:
    enough = {seed: pair for seed, pair in counts.items() if sum(pair) >= fewest}
    if enough:
        sample = {seed: right / (right + wrong) for seed, (right, wrong) in enough.items()}
        made = sum(sum(pair) for pair in enough.values())
        yield from (mark | {"choices": made} for mark in lines.marks(spot, sample, (0.0, 1.0)))


def _counts(run: RecordedRun, panel: str, steps: slice, options: Options) -> tuple[int, int]:
    """Right and wrong choices in an interval, over all episodes of a panel."""
    recording = run.recording
    chosen = slice(None) if panel == ALL else recording.groups == panel
    names = (options.right, options.wrong)
    right, wrong = (int(recording.gains(name)[steps][:, chosen].sum()) for name in names)
    return right, wrong


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """Steps on the x axis, the share from 0 to 1 on the y axis."""
    options = inputs.options(Options)
    nothing = f"nobody has made {options.fewest} choices"
    return over_time.draw(data, options, "share of right choices", nothing)
