"""The interface of figure modules.

The last step before the report: results -> `data` (a frame, saved as CSV) -> `draw` (SVG).
A module of ``memdt.figures`` defines

    class Options(Frozen): ...                                  the keys under ``options:``
    def data(inputs: FigureInputs) -> pandas.DataFrame: ...     everything that is plotted
    def draw(data: DataFrame, inputs: FigureInputs) -> Figure: ...

and, if the figure is also an animation (``clip: true`` in figures.yaml),

    def clip(data: DataFrame, inputs: FigureInputs) -> Clip: ...

Files are read and written by `figures/drawing.py` and `figures/clips.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image
from pydantic import ValidationError

from memdt import paths
from memdt.errors import UserError
from memdt.evaluation.recordings import Recording
from memdt.results.published import Cell
from memdt.settings.layers import explain
from memdt.settings.pages import FigureSettings
from memdt.settings.schema import Frozen

OptionsModel = TypeVar("OptionsModel", bound=Frozen)


@dataclass(frozen=True)
class VariantFacts:
    """Facts about a variant besides its results."""

    trained_segments: int
    segment_length: int
    settings: Mapping[str, Any] = field(default_factory=dict)  # dotted keys


@dataclass(frozen=True)
class AttentionRecord:
    """The attention weights of one episode.

    Tokens of a segment: [cache | read m | R0 o0 a0 R1 o1 a1 ... | write m]; the cache holds
    only keys, so it has columns and no rows. Steps count from the start of the episode. The hint is
    visible from ``hint_start`` to ``hint_stop - 1``.
    """

    experiment: str
    variant: str
    seed: int
    weights: Float[np.ndarray, "segments layers heads tokens keys"]
    memory_tokens: int
    cache: int
    segment_length: int
    hint_start: int
    hint_stop: int
    decision_step: int

    def hint_in(self, segment: int) -> range:
        """The steps of a segment in which the hint is visible, counted from 0."""
        first, length = segment * self.segment_length, self.segment_length
        return range(
            *(min(max(step - first, 0), length) for step in (self.hint_start, self.hint_stop))
        )


@dataclass(frozen=True)
class RecordedRun:
    """What was recorded of a run."""

    experiment: str
    variant: str
    seed: int
    recording: Recording


@dataclass(frozen=True)
class Clip:
    """An animation; all frames have the same size."""

    frames: Sequence[Image.Image]
    milliseconds: int  # of each frame


@dataclass(frozen=True)
class FigureInputs:
    """All data that a figure may use; frames that it does not request are empty.

    ``episodes`` and ``curves`` come from `results/results.py`, ``facts`` are keyed by experiment
    and variant, and so are ``dataset_returns``, the returns of the episodes that a variant could
    learn from. ``published`` holds every printed number.
    """

    name: str
    settings: FigureSettings
    episodes: pd.DataFrame = field(default_factory=pd.DataFrame)
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    attention: tuple[AttentionRecord, ...] = ()
    recordings: tuple[RecordedRun, ...] = ()
    published: tuple[Cell, ...] = ()
    facts: Mapping[tuple[str, str], VariantFacts] = field(default_factory=dict)
    dataset_returns: Mapping[tuple[str, str], Float[np.ndarray, " episodes"]] = field(
        default_factory=dict
    )

    def options(self, model: type[OptionsModel]) -> OptionsModel:
        """The figure's options, checked; a UserError names the key and what is allowed."""
        try:
            return model.model_validate(self.settings.options)
        except ValidationError as error:
            where = f"{paths.CONFIG / 'figures.yaml'}: {self.name}.options"
            raise explain(error, model, lambda key: where) from None

    def nothing(self, what: str) -> UserError:
        """The error of a figure without any data."""
        where = f"{paths.CONFIG / 'figures.yaml'}: {self.name}"
        return UserError(f"there are no {what} to draw", where, "run its experiments first")


class FigureModule(Protocol):
    """A module of ``memdt.figures``."""

    Options: type[Frozen]

    def data(self, inputs: FigureInputs) -> pd.DataFrame:
        """Everything that is plotted, tidy."""

    def draw(self, data: pd.DataFrame, inputs: FigureInputs) -> Figure:
        """The figure; everything that it plots comes from ``data``."""
