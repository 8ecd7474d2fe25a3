"""Draw figures: gather a figure's data, let its module draw, write SVG and CSV.

The step behind the rule ``figure``, between the runs and the report. What a figure shows is set in
`workflow/config/figures.yaml`; how it is drawn is in ``memdt.figures``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float

from memdt import discovery, paths
from memdt.data.episode_file import read_all_but_observations
from memdt.errors import UserError, closest
from memdt.evaluation.recordings import read_recording
from memdt.figures.interface import (
    AttentionRecord,
    FigureInputs,
    FigureModule,
    RecordedRun,
    VariantFacts,
)
from memdt.figures.parts import style
from memdt.files import atomic_path
from memdt.results.published import published_cells
from memdt.results.results import load_curves, load_episodes
from memdt.settings.layers import flatten
from memdt.settings.pages import FigureSettings, figures
from memdt.settings.resolve import resolve
from memdt.settings.runs import datasets_shown, recorded_for, seeds_of

ATTENTION_KEYS = (
    "memory_tokens", "cache", "segment_length", "hint_start", "hint_stop", "decision_step",
)  # fmt: skip


def draw_all(names: Iterable[str], scale: str) -> None:
    """Draw several figures in one process."""
    for name in names:
        draw_figure(name, scale)


def draw_figure(name: str, scale: str) -> Path:
    """Draw one figure of `workflow/config/figures.yaml`; returns the path of the SVG.

    UserError for an unknown figure or module, a wrong option, or if nothing has run yet.
    """
    known = figures()
    if name not in known:
        file = str(paths.CONFIG / "figures.yaml")
        raise UserError(f"unknown figure {name!r}", file, closest(name, known))
    module = cast(FigureModule, discovery.load("memdt.figures", known[name].module))
    return write(module, gather(name, known[name], scale), paths.figure(scale, name))


def write(module: FigureModule, inputs: FigureInputs, path: Path) -> Path:
    """Write the figure as ``path`` and its data beside it; the same inputs give the same bytes."""
    frame = module.data(inputs)
    with mpl.rc_context(style.settings(inputs.name)):  # type: ignore[arg-type]
        figure = module.draw(frame, inputs)
        with atomic_path(path.with_suffix(".csv")) as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    return path


def gather(name: str, settings: FigureSettings, scale: str) -> FigureInputs:
    """All data that a figure may use, from all its experiments."""
    seeds = {experiment: seeds_of(scale, experiment) for experiment in settings.experiments}
    curves = settings.inputs == "curves"
    recordings = settings.inputs == "recordings"
    episodes = settings.inputs == "episodes"
    return FigureInputs(
        name,
        settings,
        episodes=_joined(load_episodes(scale, e, v) for e, v in seeds.items() if episodes),
        curves=_joined(load_curves(scale, e, v) for e, v in seeds.items() if curves),
        attention=tuple(_attention(scale, seeds)) if settings.inputs == "attention" else (),
        recordings=tuple(_recordings(scale, settings)) if recordings else (),
        published=published_cells(),
        facts={(e, v): facts_of(e, v, scale) for e, variants in seeds.items() for v in variants},
        dataset_returns=_dataset_returns(scale, settings) if settings.datasets else {},
    )


def facts_of(experiment: str, variant: str, scale: str) -> VariantFacts:
    """Facts about a variant for figures."""
    settings = resolve(experiment, variant, scale).settings
    dotted = flatten(settings.model_dump(mode="json"))
    return VariantFacts(settings.training.segments, settings.segment_length, dotted)


def read_attention(path: Path, experiment: str, variant: str, seed: int) -> AttentionRecord:
    """Read a recording; UserError if the file is not one."""
    remedy = f"make it anew: snakemake {path} --force --cores all"
    try:
        with np.load(path, allow_pickle=False) as stored:
            numbers = {key: int(stored[key]) for key in ATTENTION_KEYS}
            weights = stored["weights"].astype(np.float32)
    except Exception as error:  # zipfile, zlib and numpy report damage with many exceptions
        raise UserError(f"no recorded attention: {error}", str(path), remedy) from error
    if weights.ndim != 5 or weights.shape[4] != weights.shape[3] + numbers["cache"]:
        raise UserError(f"weights of the shape {weights.shape}", str(path), remedy)
    return AttentionRecord(experiment, variant, seed, weights, **numbers)


def _attention(
    scale: str, seeds: Mapping[str, Mapping[str, Sequence[int]]]
) -> Iterator[AttentionRecord]:
    for experiment, variants in seeds.items():
        for variant, numbers in variants.items():
            for seed in numbers:
                path = paths.attention(scale, experiment, variant, seed)
                if path.is_file():
                    yield read_attention(path, experiment, variant, seed)


def _recordings(scale: str, settings: FigureSettings) -> Iterator[RecordedRun]:
    for path, run in recorded_for(scale, settings).items():
        if path.is_file():
            yield RecordedRun(run.experiment, run.variant, run.seed, read_recording(path))


def _dataset_returns(
    scale: str, settings: FigureSettings
) -> dict[tuple[str, str], Float[np.ndarray, " episodes"]]:
    """By experiment and variant; each file is read once."""
    shown = datasets_shown(scale, settings)
    returns = {
        path: read_all_but_observations(path, None, f"snakemake --cores all {path}")[0].returns
        for path in dict.fromkeys(shown.values())
        if path.is_file()
    }
    return {key: returns[path] for key, path in shown.items() if path in returns}


def _joined(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if not frame.empty]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
