"""Which runs an experiment has, and which of them a figure wants to be recorded.

Everything here follows from the settings; nothing looks at what has been made already.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from memdt import paths
from memdt.settings.pages import FigureSettings
from memdt.settings.remembered import resolve
from memdt.settings.resolve import variants_of

RECORDED = {"attention": paths.attention, "recordings": paths.recording}


@dataclass(frozen=True)
class Run:
    """One variant of an experiment under one seed."""

    experiment: str
    variant: str
    seed: int


@cache
def runs(scale: str, experiment: str) -> tuple[Run, ...]:
    """The runs of an experiment: every variant under every one of its seeds."""
    found = seeds_of(scale, experiment)
    return tuple(Run(experiment, variant, seed) for variant in found for seed in found[variant])


def seeds_of(scale: str, experiment: str) -> dict[str, tuple[int, ...]]:
    """The variants of an experiment in their order, with the seeds of each."""
    variants = variants_of(experiment, scale)
    return {v: resolve(experiment, v, scale).settings.seeds for v in variants}


def recorded_for(scale: str, figure: FigureSettings) -> dict[Path, Run]:
    """What a figure wants to be recorded, and of which runs."""
    runs_of = {"attention": attention_runs, "recordings": recording_runs}
    if figure.inputs not in runs_of:
        return {}
    found = runs_of[figure.inputs](scale, figure)
    return {RECORDED[figure.inputs](scale, *vars(run).values()): run for run in found}


def attention_runs(scale: str, figure: FigureSettings) -> list[Run]:
    """The run whose attention a figure shows: ``options.variant``, else the first, and one seed."""
    candidates = [run for experiment in figure.experiments for run in runs(scale, experiment)]
    asked = {key: figure.options.get(key) for key in ("variant", "seed")}
    for run in candidates:
        if all(value in (None, getattr(run, key)) for key, value in asked.items()):
            return [run]
    # A scale may have fewer seeds than the figure was made for: its first one serves.
    return [run for run in candidates if asked["variant"] in (None, run.variant)][:1]


def recording_runs(scale: str, figure: FigureSettings) -> list[Run]:
    """The runs whose episodes a figure shows: ``options.variants``, else all, under all seeds.

    With ``options.seed`` only under that seed, or, where a scale does not have it, the first one.
    """
    candidates = [run for experiment in figure.experiments for run in runs(scale, experiment)]
    variants, seed = (figure.options.get(key) for key in ("variants", "seed"))
    found = [run for run in candidates if variants is None or run.variant in variants]
    if seed is None:
        return found
    asked = [run for run in found if run.seed == seed]
    return asked or [run for run in found if run.seed == found[0].seed]
