"""Filmed episodes as one animation: side by side, with the step and the choices so far.

    rate             dt            names
    [  frame  ]   [  frame  ]      the frame of this step; darkened when the episode is over
    |  | |        |  |             right choices above, wrong ones below, as they come
    step 120: 4 right, 1 wrong     the count

Used by `film_strip.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from memdt.figures.interface import Clip
from memdt.figures.parts import films

WIDTH, MARGIN, LINE, BAR = 240, 6, 18, 18  # pixels
MILLISECONDS = 100
BACKGROUND, LETTERS, FAINT = "#14171a", "#e8eaed", "#7d858d"
RIGHT, WRONG, FORGOTTEN = (
    "#35c498",
    "#ff8a3d",
    "#e39bd2",
)  # style.py's, lighter for the dark background


@dataclass(frozen=True)
class Panel:
    """One film, ready to be shown at any step."""

    name: str
    data: pd.DataFrame
    images: dict[int, Image.Image]
    steps: int
    options: films.Options

    def image(self, step: int) -> Image.Image:
        """The newest frame at a step; dark when the episode is over."""
        newest = self.images[max(one for one in self.images if one <= step)]
        return newest if step < self.steps else newest.point(lambda value: value // 3)

    def caption(self, step: int) -> str:
        """The caption at a step."""
        counts = ", ".join(films.counts_until(self.data, step, self.options))
        moment = f"step {step}" if step < self.steps else f"over at step {self.steps}"
        return f"{moment}: {counts}" if counts else moment


def clip(data: pd.DataFrame, shown: Sequence[films.Film], options: films.Options) -> Clip:
    """One frame per frame of the longest film, or per second, third, ... frame."""
    panels = [
        Panel(options.label(f.run.variant), data[data["film"] == n], _scaled(f), f.steps, options)
        for n, f in enumerate(shown)
    ]
    steps = sorted({step for panel in panels for step in panel.images})
    every = -(-len(steps) // options.clip_frames)
    last = max(panel.steps for panel in panels)
    return Clip([_frame(panels, step, last) for step in [*steps[::every], last]], MILLISECONDS)


def _scaled(film: films.Film) -> dict[int, Image.Image]:
    return {
        step: image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.BOX)
        for step, image in film.images
    }


def _frame(panels: Sequence[Panel], step: int, last: int) -> Image.Image:
    """All panels at one step."""
    height = max(panel.image(0).height for panel in panels)
    size = (MARGIN + len(panels) * (WIDTH + MARGIN), 3 * MARGIN + 2 * LINE + height + BAR)
    canvas = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for number, panel in enumerate(panels):
        left = MARGIN + number * (WIDTH + MARGIN)
        draw.text((left, MARGIN), panel.name, LETTERS, _font(13))
        canvas.paste(panel.image(step), (left, MARGIN + LINE))
        top = 2 * MARGIN + LINE + height
        _bar(draw, (left, top), panel, step, last)
        draw.text((left, top + BAR), panel.caption(step), LETTERS, _font(12))
    return canvas


def _bar(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], panel: Panel, step: int, last: int
) -> None:
    """The timeline so far: a line as long as the episode, and one stroke per choice."""
    left, middle = corner[0], corner[1] + BAR // 2 - 2

    def position(moment: int) -> int:
        return left + round(WIDTH * moment / last)

    draw.line((left, middle, position(min(step, panel.steps)), middle), FAINT)
    strokes = {"right": (RIGHT, -7, 0), "wrong": (WRONG, 0, 7), "forgotten": (FORGOTTEN, -7, 7)}
    happened = panel.data[panel.data["step"] < step]
    for kind, (colour, above, below) in strokes.items():
        for moment in happened.loc[happened["kind"] == kind, "step"]:
            x = position(int(moment))
            draw.line((x, middle + above, x, middle + below), colour, width=2)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib, as in the other figures."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)
