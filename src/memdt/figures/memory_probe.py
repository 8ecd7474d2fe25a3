"""What the memory holds: accuracy of a linear probe for the group, per segment border.

Draws recorded episodes that have not ended; `evaluation/probe.py` describes how the probe is
trained and tested. Each variant has a panel with three lines. One trains and tests the probe at the
same border. Another trains it at the borders within the trained length, which shows whether the
code stays the same. The third is the control: a probe on what the agent did so far, in place of its
memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from memdt.evaluation import probe
from memdt.figures.interface import FigureInputs, RecordedRun
from memdt.figures.parts import lines, over_time

SAME, EARLY = "trained and tested at the same step", "trained on the steps of training"
CONTROL = "control: what was done so far, without memory"
COLUMNS = (*lines.COLUMNS, "episodes")


class Options(lines.SeriesOptions):
    """Which runs, and the accuracy of guessing."""

    mirrored: tuple[str, str] | None = Field(
        default=None, description="two counts that change places between two groups (the control)"
    )
    chance: float | None = Field(default=0.5, description="where guessing lies: a dotted line")


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per mark, x the step of a border; ``episodes`` is the number left, over all seeds."""
    options = inputs.options(Options)
    runs = over_time.shown(inputs, options.variants)
    variants = over_time.by_variant(runs)
    panels = [options.label(variant) for variant in variants]
    rows = [
        row
        for panel, seeds in zip(panels, variants.values(), strict=True)
        for series in (SAME, EARLY, CONTROL)
        for row in _line(panel, series, seeds, inputs)
    ]
    rows += over_time.marked(rows, runs, inputs, options, names_variant="panel")
    return lines.in_order(rows, panels, COLUMNS)


def _line(
    panel: str, series: str, runs: Sequence[RecordedRun], inputs: FigureInputs
) -> Iterator[dict[str, Any]]:
    """One variant at all borders."""
    for border in range(max(len(run.recording.memory) for run in runs)):
        accuracies = {run.seed: _accuracy(series, run, border, inputs) for run in runs}
        sample = {seed: value for seed, value in accuracies.items() if value is not None}
        if sample:
            recordings = [run.recording for run in runs if run.seed in sample]
            episodes = sum(int(one.alive_at_border(border).sum()) for one in recordings)
            x = float((border + 1) * int(runs[0].recording.segment_length))
            spot = lines.Spot(panel, series, x)
            yield from (m | {"episodes": episodes} for m in lines.marks(spot, sample, (0.0, 1.0)))


def _accuracy(series: str, run: RecordedRun, border: int, inputs: FigureInputs) -> float | None:
    memory, groups = run.recording.memory, run.recording.groups
    if border >= len(memory) or not memory.shape[2]:
        return None
    if series == CONTROL:
        done = probe.behaviour(run.recording, inputs.options(Options).mirrored)
        return probe.accuracy(done, groups, [border], border)
    crossed = inputs.facts[run.experiment, run.variant].trained_segments - 1
    early = range(min(max(1, crossed), len(memory)))
    return probe.accuracy(memory, groups, [border] if series == SAME else early, border)


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """Steps on the x axis, balanced accuracy on the other."""
    nothing = f"nowhere do {probe.FEWEST} recorded episodes of each group go on"
    return over_time.draw(data, inputs.options(Options), "balanced accuracy", nothing)
