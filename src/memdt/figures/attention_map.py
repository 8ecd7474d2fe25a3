"""Attention maps of one episode: one column per segment, one row per layer.

Draws the recorded weights (``attention.npz``). In each map a row is a query token and a column a
key token, both in the order of the episode. Borders separate the cache, the memory that is read,
the steps and the memory that is written. Source: RATE Figures 6 to 9.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import Transform
from pydantic import Field

from memdt.errors import UserError
from memdt.figures.interface import AttentionRecord, FigureInputs
from memdt.figures.parts import style
from memdt.settings.schema import Frozen

KINDS = ("cache", "read", "steps", "write")
KIND_COLOURS = dict(zip(KINDS, (6, 4, 5, 1), strict=True))
BORDER, MARK = style.colour(6), style.colour(1)
POINTING: dict[str, Any] = {
    "fontsize": 9.5, "annotation_clip": False, "textcoords": "offset points",
    "arrowprops": {
        "arrowstyle": "-|>", "color": style.INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0,
    },
}  # fmt: skip
TOKENS_OF_A_STEP = 3  # return-to-go, observation, action
OBSERVATION = 1


class Options(Frozen):
    """Which episode to draw, and which part of it."""

    variant: str | None = Field(default=None, description="null: the first that was recorded")
    seed: int | None = Field(default=None, description="null: the first that was recorded")
    layers: tuple[int, ...] | None = Field(default=None, description="counted from 1; null: all")
    segments: tuple[int, ...] | None = Field(default=None, description="from 1; null: all")
    head: int | None = Field(default=None, gt=0, description="from 1; null: the mean of all heads")
    decision: bool = Field(default=True, description="mark the last step as the decision")
    looked_at: Literal["cache", "read", "steps", "write"] | None = Field(
        default=None, description="show only the tokens of this kind that are looked at; null: all"
    )


@dataclass(frozen=True)
class Block:
    """Neighbouring tokens of one kind: ``first`` to ``last - 1``."""

    kind: str
    first: int
    last: int

    def __len__(self) -> int:
        """Number of tokens."""
        return self.last - self.first


@dataclass(frozen=True)
class PanelLayout:
    """Positions of a segment's tokens as rows and columns of its map."""

    cache: int
    memory_tokens: int
    steps: int
    tokens: int

    @classmethod
    def of(cls, record: AttentionRecord) -> PanelLayout:
        """The layout of a recording."""
        tokens = record.weights.shape[3]
        return cls(record.cache, record.memory_tokens, record.segment_length, tokens)

    @property
    def rows(self) -> list[Block]:
        """Blocks of query tokens."""
        return self._blocks((0, self.memory_tokens, TOKENS_OF_A_STEP * self.steps))

    @property
    def columns(self) -> list[Block]:
        """Blocks of key tokens."""
        return self._blocks((self.cache, self.memory_tokens, TOKENS_OF_A_STEP * self.steps))

    def _blocks(self, sizes: tuple[int, int, int]) -> list[Block]:
        """The given blocks; all remaining tokens are written memory tokens."""
        written = self.tokens - sizes[1] - sizes[2]
        borders = np.cumsum((0, *sizes, written))
        blocks = map(Block, KINDS, borders[:-1].tolist(), borders[1:].tolist())
        return [block for block in blocks if len(block)]

    def token(self, step: int, cached: bool) -> int:
        """Position of a step's observation token, among the columns if ``cached``."""
        before = self.memory_tokens + self.cache * cached
        return before + TOKENS_OF_A_STEP * step + OBSERVATION


def data(inputs: FigureInputs) -> pd.DataFrame:
    """One row per pair of tokens with a weight: segment, layer, query, key, weight.

    Segments and layers count from 1, queries and keys from 0 in the order of the map. Weights are
    rounded to five digits. Pairs without weight, such as masked ones, are left out.
    """
    options = inputs.options(Options)
    record = chosen(inputs, options)
    weights = heads_of(record, options).round(5)
    segment, layer, query, key = np.nonzero(weights)
    frame = pd.DataFrame(
        {
            "segment": segment + 1,
            "layer": layer + 1,
            "query": query,
            "key": key,
            "weight": weights[segment, layer, query, key].astype(np.float64).round(5),
        }
    )
    for column, kept in (("layer", options.layers), ("segment", options.segments)):
        frame = frame if kept is None else frame[frame[column].isin(kept)]
    shown = [key for block in _shown(record, options) for key in range(block.first, block.last)]
    frame = frame[frame["key"].isin(shown)]
    return frame.reset_index(drop=True)


def _shown(record: AttentionRecord, options: Options) -> list[Block]:
    """The blocks of columns to draw; UserError if there are none."""
    columns = PanelLayout.of(record).columns
    chosen = [block for block in columns if options.looked_at in (None, block.kind)]
    if not chosen:
        what = f"{record.variant} has no tokens of the kind {options.looked_at!r} to look at"
        raise UserError(what, "figures.yaml: looked_at")
    return chosen


def chosen(inputs: FigureInputs, options: Options) -> AttentionRecord:
    """The recording that the options select; UserError if there is none.

    If the scale does not have the selected seed, another one is used.
    """
    recordings = [one for one in inputs.attention if options.variant in (None, one.variant)]
    if not recordings:
        raise inputs.nothing("recorded attention weights")
    return next((one for one in recordings if one.seed == options.seed), recordings[0])


def heads_of(
    record: AttentionRecord, options: Options
) -> Float[np.ndarray, "segments layers tokens keys"]:
    """The weights of one head, or the mean over all heads."""
    weights: np.ndarray = record.weights
    if options.head is None:
        return weights.mean(axis=2)  # type: ignore[no-any-return]
    return weights[:, :, min(options.head, weights.shape[2]) - 1]


def draw(data: pd.DataFrame, inputs: FigureInputs) -> Figure:
    """Segments side by side, layers below each other; wide, so it scrolls on a phone."""
    options = inputs.options(Options)
    record = chosen(inputs, options)
    layout = PanelLayout.of(record)
    blocks = _shown(record, options)
    segments, layers = sorted(data["segment"].unique()), sorted(data["layer"].unique())
    side = (style.WIDE - 0.9) / max(3, len(segments))
    figure = style.new_figure(1.0 + (side + 0.35) * len(layers), style.WIDE)
    grid = figure.subplots(len(layers), len(segments), squeeze=False)
    for (row, layer), (column, segment) in itertools.product(
        enumerate(layers), enumerate(segments)
    ):
        shown = data[(data["layer"] == layer) & (data["segment"] == segment)]
        axes, first = grid[row, column], (segment - 1) * record.segment_length
        image = _map(axes, _matrix(shown, record), layout, blocks)
        _ticks(axes, record, layout, first)
        if options.looked_at is None:
            _mark(axes, record, layout, segment - 1, options.decision)
        else:
            _cut_to_block(axes, blocks[0])
        if row == 0:
            title = f"segment {segment} (steps {first} to {first + record.segment_length - 1})"
            axes.set_title(title, pad=31, fontsize=9.5)
    for row, layer in enumerate(layers):
        grid[row, 0].set_ylabel(f"layer {layer}\nlooking (step)")
    for axes in grid[-1]:
        axes.set_xlabel("looked at (step)" if options.looked_at is None else "looked at (token)")
    _colour_bar(figure, grid, image)
    _legend(figure, layout)
    return figure


def _matrix(data: pd.DataFrame, record: AttentionRecord) -> Float[np.ndarray, "tokens keys"]:
    """The weights as a matrix; NaN, which is not drawn, where there is none."""
    weights = np.full(record.weights.shape[3:], np.nan)
    weights[data["query"], data["key"]] = data["weight"]
    return weights


def _cut_to_block(axes: Axes, block: Block) -> None:
    """Cut a map to the columns of one block; its tokens count from 1."""
    axes.set_xlim(block.first - 0.5, block.last - 0.5)
    every = max(1, round(len(block) / 5))
    tokens = range(0, len(block), every)
    axes.set_xticks([block.first + token for token in tokens], [str(1 + one) for one in tokens])


def _map(
    axes: Axes,
    weights: Float[np.ndarray, "tokens keys"],
    layout: PanelLayout,
    columns: list[Block],
) -> AxesImage:
    """One map with its borders, and the kinds of tokens along two edges."""
    axes.grid(False)
    axes.spines[:].set_visible(False)
    # A query spreads its weight over many keys; a linear scale would hide all but the peaks.
    image = axes.imshow(
        weights, cmap=sns.color_palette(style.HEAT, as_cmap=True), interpolation="none",
        norm=PowerNorm(0.4, 0, 1), aspect="auto",
    )  # fmt: skip
    line: dict[str, Any] = {"color": BORDER, "linewidth": 0.7}
    for block in columns:
        _edge(
            axes, axes.get_xaxis_transform(), (block.first - 0.5, 1.015), (len(block), 0.03), block
        )
        axes.axvline(block.first - 0.5, **line)
    for block in layout.rows:
        _edge(
            axes, axes.get_yaxis_transform(), (-0.045, block.first - 0.5), (0.03, len(block)), block
        )
        axes.axhline(block.first - 0.5, **line)
    return image


def _edge(
    axes: Axes,
    transform: Transform,
    corner: tuple[float, float],
    size: tuple[float, float],
    block: Block,
) -> None:
    """A strip beside the map in the colour of the block's kind."""
    strip: dict[str, Any] = {"color": _kind_colour(block), "linewidth": 0, "clip_on": False}
    axes.add_patch(Rectangle(corner, *size, transform=transform, **strip))


def _kind_colour(block: Block) -> str:
    return style.colour(KIND_COLOURS[block.kind])


def _mark(
    axes: Axes, record: AttentionRecord, layout: PanelLayout, segment: int, decides: bool
) -> None:
    """Mark the hint's columns and the decision's row if they are in this segment."""
    line: dict[str, Any] = {"color": MARK, "linewidth": 0.7, "linestyle": (0, (3, 2))}
    position: dict[str, Any]
    seen = record.hint_in(segment)
    columns = [layout.token(step, cached=True) for step in seen]
    if len(columns) == 1:
        axes.axvline(columns[0], **line)
        position = {"xycoords": axes.get_xaxis_transform(), "ha": "left", "va": "bottom"}
        axes.annotate("hint", (columns[0], 1.05), (4, 7), **position, **POINTING)
    elif columns:
        _hint_strip(axes, columns[0] - OBSERVATION, columns[-1] + TOKENS_OF_A_STEP - OBSERVATION)
    decided = record.decision_step - segment * record.segment_length
    if decides and 0 <= decided < record.segment_length:
        y = layout.token(decided, cached=False)
        axes.axhline(y, **line)
        position = {"xycoords": axes.get_yaxis_transform(), "ha": "left", "va": "bottom"}
        axes.annotate("decision", (1.01, y), (9, 0), **position, rotation=90, **POINTING)


def _hint_strip(axes: Axes, first: int, last: int) -> None:
    """A strip above the columns from ``first`` to ``last - 1``, with its name."""
    above = axes.get_xaxis_transform()
    size = (last - first, 0.02)
    axes.add_patch(
        Rectangle((first - 0.5, 1.055), *size, transform=above, color=MARK, lw=0, clip_on=False)
    )
    axes.text(first - 0.5, 1.085, "hint", transform=above, ha="left", va="bottom", fontsize=9.5)


def _ticks(axes: Axes, record: AttentionRecord, layout: PanelLayout, first: int) -> None:
    """Time on both axes: a third of the steps are numbered, counted from the episode's start."""
    every = max(1, round(record.segment_length / 3))
    steps = range(0, record.segment_length, every)
    names = [str(first + step) for step in steps]
    axes.set_xticks([layout.token(step, cached=True) for step in steps], names)
    axes.set_yticks([layout.token(step, cached=False) for step in steps], names)
    axes.tick_params(length=2, labelsize=9)
    axes.tick_params(axis="y", pad=5)


def _colour_bar(figure: Figure, grid: np.ndarray, image: AxesImage) -> None:
    ticks = [0, 0.05, 0.2, 0.5, 1]
    bar = figure.colorbar(image, ax=grid, shrink=0.7, aspect=30, pad=0.01, ticks=ticks)
    bar.set_label("attention weight")
    bar.outline.set_visible(False)


def _legend(figure: Figure, layout: PanelLayout) -> None:
    names = dict(
        zip(KINDS, ("cached states", "memory read", "steps", "memory written"), strict=True)
    )
    handles = [Patch(color=_kind_colour(b), label=names[b.kind]) for b in layout.columns]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=1)
