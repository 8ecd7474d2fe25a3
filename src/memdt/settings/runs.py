"""The runs of an experiment, and those that a figure needs recordings of.

Everything here follows from the settings alone; files that exist already have no influence.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from memdt import paths
from memdt.settings.files import variants_of
from memdt.settings.pages import FigureSettings
from memdt.settings.remembered import resolve
from memdt.settings.resolve import environment_of

SEEDS = "MEMDT_SEEDS"
RECORDED = {"attention": paths.attention, "recordings": paths.recording}


@dataclass(frozen=True)
class Run:
    """One variant of an experiment under one seed."""

    experiment: str
    variant: str
    seed: int


@cache
def runs(scale: str, experiment: str) -> tuple[Run, ...]:
    """Return the runs of an experiment: every variant with every one of its seeds."""
    seeds = seeds_of(scale, experiment)
    return tuple(Run(experiment, variant, seed) for variant in seeds for seed in seeds[variant])


def seeds_of(scale: str, experiment: str) -> dict[str, tuple[int, ...]]:
    """Return the variants of an experiment, in order, with the seeds of each.

    `MEMDT_SEEDS` asks for another number of them. It leaves a choice of particular seeds alone.
    """
    variants = variants_of(experiment, scale)
    seeds = {v: resolve(experiment, v, scale).settings.seeds for v in variants}
    number = os.environ.get(SEEDS)
    if not number:
        return seeds
    # Seeds 0 to n - 1 say how many; any others were chosen for what they show.
    counted = {v: s == tuple(range(len(s))) for v, s in seeds.items()}
    return {v: tuple(range(int(number))) if counted[v] else s for v, s in seeds.items()}


def datasets_shown(scale: str, figure: FigureSettings) -> dict[tuple[str, str], Path]:
    """Return the dataset of each variant that learns from one, by experiment and variant."""
    return {
        (experiment, variant): paths.dataset(scale, environment_of(experiment, variant))
        for experiment in figure.experiments
        for variant in variants_of(experiment, scale)
        if resolve(experiment, variant, scale).settings.stages
    }


def recorded_for(scale: str, figure: FigureSettings) -> dict[Path, Run]:
    """Return the recordings that a figure needs, by path, with the run of each."""
    runs_of = {"attention": attention_runs, "recordings": recording_runs}
    if figure.inputs not in runs_of:
        return {}
    selected = runs_of[figure.inputs](scale, figure)
    return {RECORDED[figure.inputs](scale, *vars(run).values()): run for run in selected}


def attention_runs(scale: str, figure: FigureSettings) -> list[Run]:
    """Return the one run whose attention a figure shows.

    ``options.variant`` and ``options.seed`` select it; the default is the first run.
    """
    candidates = [run for experiment in figure.experiments for run in runs(scale, experiment)]
    options = {key: figure.options.get(key) for key in ("variant", "seed")}
    for run in candidates:
        if all(value in (None, getattr(run, key)) for key, value in options.items()):
            return [run]
    # A scale may have fewer seeds than the figure was designed for.
    return [run for run in candidates if options["variant"] in (None, run.variant)][:1]


def recording_runs(scale: str, figure: FigureSettings) -> list[Run]:
    """Return the runs whose episodes a figure shows.

    ``options.variants`` selects variants, and ``options.seed`` a seed; the default is all. If a
    scale does not have the seed, its first one is used.
    """
    candidates = [run for experiment in figure.experiments for run in runs(scale, experiment)]
    variants, seed = (figure.options.get(key) for key in ("variants", "seed"))
    selected = [run for run in candidates if variants is None or run.variant in variants]
    if seed is None:
        return selected
    with_seed = [run for run in selected if run.seed == seed]
    return with_seed or [run for run in selected if run.seed == selected[0].seed]
