"""One episode of each variant as a strip of frames, with a timeline of its choices.

Draws filmed episodes with the same environment seed. The clip shows all variants side by side.
Source: RATE Figure 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from PIL import Image

from memdt.figures.interface import Clip, FigureInputs
from memdt.figures.parts import film_clip, films, style

Options = films.Options
IMAGE_WIDTH = 160  # pixels
COLOURS = {"right": style.colour(2), "wrong": style.colour(1)}
FORGOTTEN: dict[str, Any] = {"color": style.colour(3), "linewidth": 1.8, "linestyle": (0, (3, 1.5))}
# Letters on a photograph: the same on light and dark pages, so none of the colours of style.py.
ON_IMAGE: dict[str, Any] = {
    "color": "#fefefe", "fontsize": 8.5, "ha": "left", "va": "top",
    "bbox": {"facecolor": "#000000", "alpha": 0.6, "linewidth": 0, "pad": 1.5},
}  # fmt: skip


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per frame, choice and mark: film, variant, seed, group, kind, step."""
    return films.frame(inputs, inputs.options(Options))


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """One row of frames per variant, its timeline below; wide, so it scrolls on a phone."""
    options = inputs.options(Options)
    shown = films.films(inputs, options)
    figure = style.new_figure(0.75 + 1.65 * len(shown), style.WIDE)
    ratios = [0.5, 2.6, 1.5] * len(shown)
    grid = figure.add_gridspec(len(ratios), options.frames, height_ratios=ratios)
    last = int(data["step"].max())
    for row, film in enumerate(shown):
        one = data[data["film"] == row]
        _title(figure.add_subplot(grid[3 * row, :]), film, one, options)
        images = dict(film.images)
        for column, step in enumerate(one.loc[one["kind"] == "frame", "step"]):
            _picture(figure.add_subplot(grid[3 * row + 1, column]), images[step], step)
        below = figure.add_subplot(grid[3 * row + 2, :])
        _timeline(below, one, last)
        below.tick_params(labelbottom=film is shown[-1])
    below.set_xlabel("step")
    _legend(figure, data, options)
    return figure


def _title(axes: Axes, film: films.Film, data: pd.DataFrame, options: Options) -> None:
    """On its own line: above a frame its length would push the frames apart."""
    counts = ", ".join(films.counts_until(data, film.steps, options))
    _without_axis(axes)
    axes.text(0, 0.5, options.label(film.run.variant), va="center", weight="bold", fontsize=10.5)
    end = f"over after {film.steps} steps"
    axes.text(1, 0.5, f"{counts}; {end}" if counts else end, va="center", ha="right")


def _without_axis(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_axis_off()


def _picture(axes: Axes, image: Image.Image, step: int) -> None:
    height = round(image.height * IMAGE_WIDTH / image.width)
    small = image.resize((IMAGE_WIDTH, height), Image.Resampling.LANCZOS)
    axes.imshow(np.asarray(small), interpolation="none")
    _without_axis(axes)
    axes.text(0.03, 0.95, f"{step}", transform=axes.transAxes, **ON_IMAGE)


def _timeline(axes: Axes, data: pd.DataFrame, last: int) -> None:
    """Right choices above the line, wrong ones below; the line ends with the episode."""
    steps = {kind: data.loc[data["kind"] == kind, "step"].to_numpy() for kind in films.KINDS}
    for step in steps["hint"]:
        axes.axvspan(0, step, color=style.colour(4), alpha=0.25, linewidth=0)
    axes.plot([0, steps["end"][0]], [0, 0], color=style.INK, linewidth=1)
    axes.plot(steps["end"], [0], color=style.INK, marker="|", markersize=9)
    axes.vlines(steps["right"], 0, 1, color=COLOURS["right"], linewidth=1.6)
    axes.vlines(steps["wrong"], -1, 0, color=COLOURS["wrong"], linewidth=1.6)
    axes.plot(
        steps["frame"], np.full(len(steps["frame"]), 1.3),
        color=style.INK, marker=7, markersize=4, linestyle="none", alpha=0.6, clip_on=False,
    )  # fmt: skip
    for step in steps["forgotten"]:
        axes.axvline(step, **FORGOTTEN)
    axes.set(xlim=(0, last), ylim=(-1.3, 1.3), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _legend(figure: Figure, data: pd.DataFrame, options: Options) -> None:
    ink: dict[str, Any] = {"color": style.INK, "linestyle": "none"}
    handles: list[Any] = [
        Line2D([], [], color=COLOURS[kind], linewidth=1.6, label=options.label(name))
        for kind, name in options.choices.items()
    ]
    if "hint" in set(data["kind"]):
        handles.append(Patch(color=style.colour(4), alpha=0.25, linewidth=0, label="hint is seen"))
    handles += [
        Line2D([], [], **ink, marker=7, markersize=4, alpha=0.6, label="frame"),
        Line2D([], [], **ink, marker="|", markersize=9, label="end of the episode"),
    ]
    if "forgotten" in set(data["kind"]):
        handles.append(Line2D([], [], **FORGOTTEN, label="moment of forgetting"))
    figure.legend(handles=handles, loc="outside lower center", ncols=6, handlelength=1.2,
                  columnspacing=1.2)  # fmt: skip


def clip(data: pd.DataFrame, inputs: FigureInputs) -> Clip:
    """All variants side by side, step by step."""
    options = inputs.options(Options)
    return film_clip.clip(data, films.films(inputs, options), options)
