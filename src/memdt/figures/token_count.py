"""Success against a number in the settings, such as that of memory tokens: one line per length.

Draws evaluation episodes. Source: RATE Figure 11 (memory tokens on Atari).
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from memdt.errors import UserError, closest
from memdt.figures.interface import FigureInputs
from memdt.figures.parts import line_drawing, lines, style


class Options(lines.LineOptions):
    """The options of all line figures, and the setting on the x axis."""

    setting: str = Field(default="model.memory_tokens", description="dotted key of a number")


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per mark, x the value of the setting; a line is a number of segments."""
    options = inputs.options(Options)

    def spots_of(cell: lines.CellName) -> list[lines.Spot]:
        if not lines.is_shown(options, cell.condition):
            return []
        settings = inputs.facts[cell.experiment, cell.variant].settings
        if options.setting not in settings:
            raise UserError(
                f"{cell.variant} has no setting {options.setting!r}",
                f"{inputs.name}.options.setting",
                closest(options.setting, settings),
            )
        series = f"{cell.segments} segment{'s' * (cell.segments != 1)}"
        x = float(settings[options.setting])
        return [lines.Spot(p, series, x) for p in lines.panels_of(options, cell.variant)]

    return lines.frame(inputs, options, spots_of)


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """The setting on the x axis, named after the last part of its key."""
    options = inputs.options(Options)
    name = style.words(options.setting.rpartition(".")[2])
    return line_drawing.draw(data, options, line_drawing.axis_of(name, data, options))
