"""Which runs, stages and files an experiment needs: what the Snakefile and ``memdt status`` ask.

Everything here follows from the settings; nothing looks at what has been made already.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from memdt import discovery, paths
from memdt.errors import UserError, closest
from memdt.results.metric_names import columns_of, late, parse, refuse_unknown
from memdt.settings import slices
from memdt.settings.composition import components
from memdt.settings.layers import available, environment_place
from memdt.settings.remembered import keep, resolve
from memdt.settings.resolve import (
    SOURCES,
    Resolved,
    environment_of,
    experiment_file,
    figures,
    lineage,
    resolve_dataset,
    scale_file,
    selection,
    variants_of,
)
from memdt.settings.runs import RECORDED, Run, recorded_for, runs
from memdt.settings.schema import DatasetSettings, FigureSettings, Selection
from memdt.workflow import observations


def trains_itself(resolved: Resolved, experiment: str, variant: str) -> bool:
    """False for a variant that is evaluated from another one's checkpoints."""
    return (resolved.experiment, resolved.variant) == (experiment, variant)


def stages(scale: str, run: Run) -> int:
    """How many training jobs a run has; 0 where it takes another run's checkpoints."""
    resolved = resolve(run.experiment, run.variant, scale)
    itself = trains_itself(resolved, run.experiment, run.variant)
    return resolved.settings.stages if itself else 0


def last_checkpoint(scale: str, run: Run) -> Path:
    """The checkpoint that a run is evaluated from."""
    resolved = resolve(run.experiment, run.variant, scale)
    number = resolved.settings.stages
    return paths.checkpoint(scale, resolved.experiment, resolved.variant, run.seed, number)


def start(scale: str, run: Run, number: int) -> Path | None:
    """The checkpoint that a stage starts from; None where weights are drawn."""
    if number > 1:
        return paths.checkpoint(scale, run.experiment, run.variant, run.seed, number - 1)
    source = resolve(run.experiment, run.variant, scale).start
    return None if source is None else last_checkpoint(scale, Run(*source, run.seed))


def trained(scale: str, run: Run) -> tuple[Run, ...]:
    """The runs that are trained for this one: itself or that whose checkpoints it plays, first."""
    resolved = resolve(run.experiment, run.variant, scale)
    mine = Run(resolved.experiment, resolved.variant, run.seed)
    before = () if resolved.start is None else trained(scale, Run(*resolved.start, run.seed))
    return (mine, *before)


def stages_behind(scale: str, run: Run) -> list[Path]:
    """The manifests of all stages that are trained for a run, in the order of their training."""
    return [
        paths.stage(scale, one.experiment, one.variant, one.seed, number) / "manifest.json"
        for one in reversed(trained(scale, run))
        for number in range(1, resolve(one.experiment, one.variant, scale).settings.stages + 1)
    ]


def raw_files(settings: DatasetSettings) -> list[Path]:
    """The files that a dataset is made from; UserError where people have yet to put one there."""
    if not discovery.defines(SOURCES, settings.dataset["source"], "raw_files"):
        return []  # without importing it: every plan asks
    from memdt.data.sources import interface

    return [file.path for file in interface.raw_files(settings.dataset)]


def dataset(scale: str, experiment: str, variant: str) -> Path:
    """The dataset of a variant's environment, on which it is trained."""
    return paths.dataset(scale, environment_of(experiment, variant))


def demonstrations(scale: str, experiment: str, variant: str) -> Path | None:
    """The dataset that an evaluation shows demonstrations of; None where the model wants none."""
    wanted = slices.demonstration(resolve(experiment, variant, scale).settings)
    return None if wanted is None else dataset(scale, experiment, variant)


def episodes(scale: str, experiments: Iterable[str]) -> list[Path]:
    """The evaluations of all runs of some experiments."""
    return [
        paths.episodes(scale, run.experiment, run.variant, run.seed)
        for experiment in experiments
        for run in runs(scale, experiment)
    ]


def manifests(scale: str, experiments: Iterable[str], name: str = "manifest.json") -> list[Path]:
    """A file of every training stage of some experiments."""
    return [
        paths.stage(scale, run.experiment, run.variant, run.seed, number) / name
        for experiment in experiments
        for run in runs(scale, experiment)
        for number in range(1, stages(scale, run) + 1)
    ]


def datasets(scale: str, experiments: Iterable[str]) -> list[Path]:
    """The datasets of some experiments' environments, and of those they start on, each once."""
    found = [
        dataset(scale, *one)
        for experiment in experiments
        for variant in variants_of(experiment, scale)
        for one in lineage(experiment, variant)
    ]
    return list(dict.fromkeys(found))


def recorded(scale: str, experiments: Iterable[str]) -> list[Path]:
    """What is to be recorded of some experiments' runs, for figures and tables."""
    names = list(experiments)
    found = [
        recorded_for(scale, one) for one in figures().values() if set(names) & set(one.experiments)
    ]
    drawn = [path for one in found for path in one if one[path].experiment in names]
    return list(dict.fromkeys([*drawn, *(path for e in names for path in counted(scale, e))]))


def counted(scale: str, experiment: str) -> list[Path]:
    """The recordings that a table counts in: those of all runs, if it shows what only they tell."""
    if not late(experiment_file(experiment).table.metrics):
        return []
    return [paths.recording(scale, *vars(run).values()) for run in runs(scale, experiment)]


def figures_of(experiments: Sequence[str]) -> list[str]:
    """The figures all of whose experiments are among ``experiments``."""
    return [
        name for name, figure in figures().items() if set(figure.experiments) <= set(experiments)
    ]


def figure_module(name: str) -> str:
    """The module that draws a figure; an unknown name is a UserError with the closest match."""
    if name not in figures():
        place = str(paths.CONFIG / "figures.yaml")
        raise UserError(f"unknown figure {name!r}", place, closest(name, figures()))
    return figures()[name].module


def figure_inputs(scale: str, name: str) -> list[Path]:
    """What a figure is drawn from."""
    figure = figures()[name]
    if figure.inputs == "curves":
        return manifests(scale, figure.experiments, "curve.csv")
    if figure.inputs in RECORDED:
        return list(recorded_for(scale, figure))
    return episodes(scale, figure.experiments)


def clips_of(experiments: Sequence[str]) -> list[str]:
    """The figures of some experiments that also come as an animated picture."""
    return [name for name in figures_of(experiments) if figures()[name].clip]


def figure_content(scale: str, name: str) -> list[Any]:
    """What shapes a figure beside its results: its entry, and the settings it may show."""
    figure = figures()[name]
    shown = [
        [experiment, variant, slices.everything(resolve(experiment, variant, scale).settings)]
        for experiment in figure.experiments
        for variant in variants_of(experiment, scale)
    ]
    return [figure.model_dump(mode="json", exclude_defaults=True), shown]


def report_content(scale: str, experiments: Sequence[str]) -> list[Any]:
    """What shapes the report beside its inputs; it also lists what has not been run."""
    files = {name: experiment_file(name) for name in available("experiments")}
    return [
        scale_file(scale).model_dump(mode="json", exclude_defaults=True),
        list(experiments),
        *(
            {name: one.model_dump(mode="json", exclude_defaults=True) for name, one in kind.items()}
            for kind in (files, figures())
        ),
    ]


def critical_path(scale: str, run: Run, number: int) -> int:
    """How much is left from stage ``number`` on, in thousands of segments: the longest goes first.

    Stages of one run wait for each other, so on few cores the longest chain decides how long all
    takes. Only the order matters, so an epoch counts as ten updates.
    """
    settings = resolve(run.experiment, run.variant, scale).settings
    left = [slices.stage(settings, k) for k in range(number, settings.stages + 1)]
    segments = sum(s.segments * (s.updates or 10 * (s.epochs or 1)) * s.batch_size for s in left)
    return 1 + segments // 1000


def evaluation_share(scale: str, experiment: str, variant: str) -> float:
    """How long an evaluation is, between 0 and 1: longer ones go first, but after all training."""
    evaluation = resolve(experiment, variant, scale).settings.evaluation
    lengths = (one.segments or evaluation.segments for one in evaluation.conditions.values())
    segments = evaluation.episodes * sum(map(sum, lengths))
    return segments / (segments + 100_000)


def selected(asked: Selection, explicit: bool, scale: str) -> tuple[str, ...]:
    """The experiments of a scale's report.

    A scale that only checks the layout takes all of them, unless somebody asked for some.
    """
    if scale_file(scale).meaningless and not explicit:
        return tuple(available("experiments"))
    return tuple(asked.experiments)


def default_experiments(scale: str) -> tuple[str, ...]:
    """The experiments of a scale's report as config.yaml has them, if they can run."""
    names = selected(selection(), False, scale)
    return tuple(name for name in names if not missing_simulators(name))


def missing_simulators(experiment: str) -> list[str]:
    """What an experiment's environments need and this installation lacks; nothing is imported."""
    modules = components(experiment).environment_modules
    needed = dict.fromkeys(name for module in modules for name in required_simulators(module))
    return [name for name in needed if importlib.util.find_spec(name) is None]


def required_simulators(module: str) -> tuple[str, ...]:
    """``REQUIRES`` of an environment's module, read and not imported: it may not be importable."""
    return discovery.constant("memdt.environments", module, "REQUIRES")


def check(scale: str, experiments: Iterable[str]) -> None:
    """Resolve all that will be needed, so that bad input is told before any job starts.

    Files that nobody asked for are read too: a slip in them would be told much later otherwise.
    """
    for experiment in available("experiments"):
        _check_table(experiment)
    for name in available("scales"):
        scale_file(name)
    wanted = [(e, v, scale) for e in experiments for v in variants_of(e, scale)]
    for name in {resolve(*one).settings.environment.name for one in wanted}:
        _check_dataset(resolve_dataset(name, scale))
    keep(wanted, observations.note)
    for name, figure in figures().items():
        _check_figure(name, figure)


def _check_dataset(settings: DatasetSettings) -> None:
    """UserError where a dataset cannot be made from its source, as far as a plan can tell."""
    source, module = settings.dataset["source"], settings.environment.module
    for name in discovery.constant(SOURCES, source, "NEEDS"):
        if not discovery.defines("memdt.environments", module, name):
            what = f"the source {source!r} needs {name} in the environment {module!r}"
            where = f"{environment_place(settings.environment.name)}: dataset.source"
            raise UserError(what, where, f"name another source, or define {name} there")
    raw_files(settings)
    if discovery.defines(SOURCES, source, "check"):
        from memdt.data.sources import interface
        from memdt.environments.task import Task

        interface.check(Task.of(settings.environment), settings.dataset)


def _check_table(experiment: str) -> None:
    """UserError where a table shows what nobody measures in its environment."""
    known = [columns_of(module) for module in components(experiment).environment_modules]
    columns = tuple(name for name in known[0] if all(name in one for one in known))
    try:
        for name in experiment_file(experiment).table.metrics:
            refuse_unknown(name, parse(name), columns)
    except UserError as error:
        where = f"{paths.CONFIG / 'experiments' / experiment}.yaml: table.metric"
        raise UserError(error.what, where, error.remedy) from None


def _check_figure(name: str, figure: FigureSettings) -> None:
    known = {"figure": discovery.names("memdt.figures"), "experiment": available("experiments")}
    named = {"figure": (figure.module,), "experiment": figure.experiments}
    for kind, names in named.items():
        for asked in names:
            if asked not in known[kind]:
                where = f"{paths.CONFIG / 'figures.yaml'}: {name}"
                raise UserError(f"unknown {kind} {asked!r}", where, closest(asked, known[kind]))
    if figure.inputs in RECORDED:
        _check_recorded(name, figure)


def _check_recorded(name: str, figure: FigureSettings) -> None:
    """UserError for a variant that nobody has: nothing would be recorded of it."""
    known = [variant for one in figure.experiments for variant in experiment_file(one).variants]
    variants = figure.options.get("variants") or (figure.options.get("variant"),)
    for asked in variants:
        if asked not in (None, *known):
            where = f"{paths.CONFIG / 'figures.yaml'}: {name}.options"
            raise UserError(f"unknown variant {asked!r}", where, closest(str(asked), known))
