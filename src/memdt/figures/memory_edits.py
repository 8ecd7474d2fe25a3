"""Success when memory is edited at inference: one panel per variant, one line per edit.

Draws evaluation episodes under several conditions. Source: RATE Figure 5.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from memdt.figures.interface import FigureInputs
from memdt.figures.parts import line_drawing, lines


class Options(lines.LineOptions):
    """The options of all line figures; all conditions unless some are named."""

    conditions: tuple[str, ...] | None = None


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per mark; panels are variants unless the options say otherwise."""
    options = inputs.options(Options)

    def spots_of(cell: lines.CellName) -> list[lines.Spot]:
        if not lines.is_shown(options, cell.condition):
            return []
        panels = lines.panels_of(options, cell.variant)
        titles = [panel or options.label(cell.variant) for panel in panels]
        return [lines.Spot(title, options.label(cell.condition), cell.segments) for title in titles]

    return lines.frame(inputs, options, spots_of, trained=lambda facts: facts.trained_segments)


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """Segments on the x axis, logarithmic where they span a factor of 10."""
    options = inputs.options(Options)
    return line_drawing.draw(data, options, line_drawing.axis_of("segments", data, options))
