"""Success beyond the trained length: one line per variant, steps on a logarithmic axis.

Draws evaluation episodes.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from memdt.figures.interface import FigureInputs, VariantFacts
from memdt.figures.parts import line_drawing, lines


class Options(lines.LineOptions):
    """The options of all line figures."""


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per mark, x in environment steps."""
    options = inputs.options(Options)

    def spots_of(cell: lines.CellName) -> list[lines.Spot]:
        if not lines.is_shown(options, cell.condition):
            return []
        length = inputs.facts[cell.experiment, cell.variant].segment_length
        steps = float(cell.segments * length)
        panels = lines.panels_of(options, cell.variant)
        return [lines.Spot(panel, options.label(cell.variant), steps) for panel in panels]

    def trained(facts: VariantFacts) -> float:
        return float(facts.trained_segments * facts.segment_length)

    return lines.frame(inputs, options, spots_of, trained)


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """Steps on a logarithmic x axis."""
    options = inputs.options(Options)
    axis = line_drawing.axis_of("steps in an episode", data, options)
    return line_drawing.draw(data, options, replace(axis, log=True))
