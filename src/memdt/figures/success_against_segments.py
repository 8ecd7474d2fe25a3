"""Success against the number of segments, one line per variant.

Draws evaluation episodes. Source: RATE Figure 4 and, as curves, Table 2.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from memdt.figures.interface import FigureInputs
from memdt.figures.parts import line_drawing, lines


class Options(lines.LineOptions):
    """The options of all line figures."""


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per mark; several conditions make several lines of one variant."""
    options = inputs.options(Options)
    several = options.conditions is None or len(options.conditions) > 1

    def spots_of(cell: lines.CellName) -> list[lines.Spot]:
        if not lines.is_shown(options, cell.condition):
            return []
        name = options.label(cell.variant)
        series = f"{name}, {options.label(cell.condition)}" if several else name
        panels = lines.panels_of(options, cell.variant)
        return [lines.Spot(panel, series, cell.segments) for panel in panels]

    return lines.frame(inputs, options, spots_of, trained=lambda facts: facts.trained_segments)


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """Segments on the x axis, logarithmic where they span a factor of 10."""
    options = inputs.options(Options)
    return line_drawing.draw(data, options, line_drawing.axis_of("segments", data, options))
