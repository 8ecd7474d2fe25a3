"""List the runs, stages and files that an experiment needs, for the Snakefile and the commands.

Everything here follows from the settings; nothing looks at which files exist already.
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
from memdt.settings.files import (
    Selection,
    experiment_file,
    scale_file,
    selection,
    variant_of,
    variants_of,
)
from memdt.settings.layers import available, environment_path
from memdt.settings.pages import FigureSettings, figures
from memdt.settings.remembered import keep, resolve
from memdt.settings.resolve import SOURCES, Resolved, environment_of, lineage, resolve_dataset
from memdt.settings.runs import RECORDED, Run, datasets_shown, recorded_for, runs
from memdt.settings.schema import DatasetSettings
from memdt.workflow import inputs, observations

MOST_JOBS = 200_000  # of a plan


def trains_itself(resolved: Resolved, experiment: str, variant: str) -> bool:
    """Whether a variant is trained; False if it is evaluated from another one's checkpoints."""
    return (resolved.experiment, resolved.variant) == (experiment, variant)


def stages(scale: str, run: Run) -> int:
    """How many training jobs a run has; 0 if it uses another run's checkpoints."""
    resolved = resolve(run.experiment, run.variant, scale)
    itself = trains_itself(resolved, run.experiment, run.variant)
    return resolved.settings.stages if itself else 0


def last_checkpoint(scale: str, run: Run) -> Path:
    """The checkpoint that a run is evaluated from."""
    resolved = resolve(run.experiment, run.variant, scale)
    number = resolved.settings.stages
    return paths.checkpoint(scale, resolved.experiment, resolved.variant, run.seed, number)


def start(scale: str, run: Run, number: int) -> Path | None:
    """The checkpoint that a stage starts from; None if its weights are drawn at random."""
    if number > 1:
        return paths.checkpoint(scale, run.experiment, run.variant, run.seed, number - 1)
    source = resolve(run.experiment, run.variant, scale).start
    return None if source is None else last_checkpoint(scale, Run(*source, run.seed))


def trained(scale: str, run: Run) -> tuple[Run, ...]:
    """The runs trained for this one: first the run whose checkpoints it plays, then its ancestors.

    The first one is the run itself, unless it plays another run's checkpoints.
    """
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


def dataset(scale: str, experiment: str, variant: str) -> Path:
    """The dataset that a variant is trained on."""
    return paths.dataset(scale, environment_of(experiment, variant))


def demonstrations(scale: str, experiment: str, variant: str) -> Path | None:
    """The dataset that an evaluation takes demonstrations from; None if the model uses none."""
    demonstration = slices.demonstration(resolve(experiment, variant, scale).settings)
    return None if demonstration is None else dataset(scale, experiment, variant)


def episodes(scale: str, experiments: Iterable[str]) -> list[Path]:
    """The evaluations of all runs of some experiments."""
    return [
        paths.episodes(scale, run.experiment, run.variant, run.seed)
        for experiment in experiments
        for run in runs(scale, experiment)
    ]


def manifests(scale: str, experiments: Iterable[str], name: str = "manifest.json") -> list[Path]:
    """The file ``name`` of every training stage of some experiments."""
    return [
        paths.stage(scale, run.experiment, run.variant, run.seed, number) / name
        for experiment in experiments
        for run in runs(scale, experiment)
        for number in range(1, stages(scale, run) + 1)
    ]


def files(scale: str, experiments: Sequence[str]) -> list[Path]:
    """Datasets, stages, evaluations, tables and figures of some experiments, and the report."""
    of_stage = ("checkpoint.safetensors", "curve.csv", "manifest.json")
    evaluated = episodes(scale, experiments)
    return [
        *datasets(scale, experiments),
        *(path for name in of_stage for path in manifests(scale, experiments, name)),
        *evaluated,
        *(path.with_name("evaluation_manifest.json") for path in evaluated),
        *recorded(scale, experiments),
        *(paths.table(scale, name) for name in experiments),
        *(paths.figure(scale, name) for name in figures_of(experiments)),
        paths.claims(scale),
        paths.metrics(scale),
        paths.report(scale),
    ]


def datasets(scale: str, experiments: Iterable[str]) -> list[Path]:
    """The datasets of some experiments, and of the runs that they start from, each once."""
    used = [
        dataset(scale, *ancestor)
        for experiment in experiments
        for variant in variants_of(experiment, scale)
        for ancestor in lineage(experiment, variant)
        if _uses_dataset(scale, *ancestor)
    ]
    return list(dict.fromkeys(used))


def _uses_dataset(scale: str, experiment: str, variant: str) -> bool:
    """False if a variant only plays another one's checkpoints, and is shown no demonstration."""
    trains = variant_of(experiment, variant).checkpoint_of is None
    return trains or demonstrations(scale, experiment, variant) is not None


def recorded(scale: str, experiments: Iterable[str]) -> list[Path]:
    """The recordings of some experiments' runs that figures and tables need."""
    names = list(experiments)
    recordings = [
        recorded_for(scale, one) for one in figures().values() if set(names) & set(one.experiments)
    ]
    drawn = [path for one in recordings for path in one if one[path].experiment in names]
    return list(dict.fromkeys([*drawn, *(path for e in names for path in counted(scale, e))]))


def counted(scale: str, experiment: str) -> list[Path]:
    """The recordings that a table reads: those of all runs, if it has a metric of recordings."""
    if not late(experiment_file(experiment).table.metrics):
        return []
    return [paths.recording(scale, *vars(run).values()) for run in runs(scale, experiment)]


def figures_of(experiments: Sequence[str]) -> list[str]:
    """The figures all of whose experiments are among ``experiments``."""
    return [
        name for name, figure in figures().items() if set(figure.experiments) <= set(experiments)
    ]


def figure_module(name: str) -> str:
    """The module that draws a figure; UserError with the closest name for an unknown one."""
    if name not in figures():
        file = str(paths.CONFIG / "figures.yaml")
        raise UserError(f"unknown figure {name!r}", file, closest(name, figures()))
    return figures()[name].module


def figure_inputs(scale: str, name: str) -> list[Path]:
    """The files that a figure is drawn from."""
    figure = figures()[name]
    if figure.inputs == "curves":
        return manifests(scale, figure.experiments, "curve.csv")
    if figure.inputs in RECORDED:
        return list(recorded_for(scale, figure))
    return [
        *episodes(scale, figure.experiments),
        *(datasets_shown(scale, figure).values() if figure.datasets else ()),
    ]


def clips_of(experiments: Sequence[str]) -> list[str]:
    """The figures of some experiments that also have an animated version."""
    return [name for name in figures_of(experiments) if figures()[name].clip]


def figure_content(scale: str, name: str) -> list[Any]:
    """The settings that shape a figure: its own, and those of runs that it may show."""
    figure = figures()[name]
    shown = [
        [experiment, variant, slices.everything(resolve(experiment, variant, scale).settings)]
        for experiment in figure.experiments
        for variant in variants_of(experiment, scale)
    ]
    return [figure.model_dump(mode="json", exclude_defaults=True), shown]


def report_content(scale: str, experiments: Sequence[str]) -> list[Any]:
    """The settings that shape the report, which also lists experiments that have not been run."""
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
    """Priority of a stage: the training left from it on, in thousands of segments.

    Stages of one run wait for each other, so on few cores the longest chain decides when everything
    is done. Only the order matters, so an epoch counts as ten updates.
    """
    settings = resolve(run.experiment, run.variant, scale).settings
    left = [slices.stage(settings, k) for k in range(number, settings.stages + 1)]
    segments = sum(s.segments * (s.updates or 10 * (s.epochs or 1)) * s.batch_size for s in left)
    return 1 + segments // 1000


def evaluation_share(scale: str, experiment: str, variant: str) -> float:
    """Priority of an evaluation, in [0, 1): longer ones go first, but after all training."""
    evaluation = resolve(experiment, variant, scale).settings.evaluation
    lengths = (one.segments or evaluation.segments for one in evaluation.conditions.values())
    segments = evaluation.episodes * sum(map(sum, lengths))
    return segments / (segments + 100_000)


def selected(asked: Selection, explicit: bool, scale: str) -> tuple[str, ...]:
    """The experiments of a scale's report.

    A scale that only checks the layout takes all of them, unless the user names some. It leaves
    out those whose data must be fetched, because it has to work anywhere.
    """
    if scale_file(scale).meaningless and not explicit:
        names = available("experiments")
        return tuple(name for name in names if not inputs.fetched_for(name, scale))
    return tuple(asked.experiments)


def default_experiments(scale: str) -> tuple[str, ...]:
    """The experiments of a scale's report by config.yaml, without those that cannot run here."""
    names = selected(selection(), False, scale)
    return tuple(name for name in names if not missing_simulators(name))


def missing_simulators(experiment: str) -> list[str]:
    """Packages that an experiment's environments need and that are not installed."""
    modules = components(experiment).environment_modules
    needed = dict.fromkeys(name for module in modules for name in required_simulators(module))
    return [name for name in needed if importlib.util.find_spec(name) is None]


def required_simulators(module: str) -> tuple[str, ...]:
    """``REQUIRES`` of an environment's module, parsed because it may not be importable."""
    return discovery.constant("memdt.environments", module, "REQUIRES")


def check(scale: str, experiments: Iterable[str]) -> None:
    """Resolve all settings, so that bad input is reported before any job starts.

    Files of other experiments are read too: a mistake in them would otherwise show much later.
    """
    for experiment in available("experiments"):
        _check_table(experiment)
        inputs.check_origins(experiment)
    for name in available("scales"):
        scale_file(name)
    variants = [(e, v, scale) for e in experiments for v in variants_of(e, scale)]
    _check_number(variants)
    for name in {resolve(*variant).settings.environment.name for variant in variants}:
        _check_dataset(resolve_dataset(name, scale))
    keep(variants, observations.note)
    for name, figure in figures().items():
        _check_figure(name, figure)


def _check_number(variants: Iterable[tuple[str, str, str]]) -> None:
    """UserError where there are more jobs than Snakemake can plan."""
    jobs = 0
    for experiment, variant, scale in variants:
        settings = resolve(experiment, variant, scale).settings
        jobs += len(settings.seeds) * (settings.stages + 1)
        if jobs > MOST_JOBS:
            what = f"more than {MOST_JOBS:,} jobs up to {experiment}/{variant}"
            raise UserError(what, f"scale {scale}", "lower training.segments, or name fewer seeds")


def _check_dataset(settings: DatasetSettings) -> None:
    """Raise UserError if a plan can tell that a dataset cannot be made from its source."""
    source, module = settings.dataset["source"], settings.environment.module
    for name in discovery.constant(SOURCES, source, "NEEDS"):
        if not discovery.defines("memdt.environments", module, name):
            what = f"the source {source!r} needs {name} in the environment {module!r}"
            where = f"{environment_path(settings.environment.name)}: dataset.source"
            raise UserError(what, where, f"name another source, or define {name} there")
    inputs.raw_files(settings)
    if discovery.defines(SOURCES, source, "check"):
        from memdt.data.sources import interface
        from memdt.environments.task import Task

        interface.check(Task.of(settings.environment), settings.dataset)


def _check_table(experiment: str) -> None:
    """Raise UserError if a table shows a metric that its environments do not measure."""
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
        _check_recorded_variants(name, figure)


def _check_recorded_variants(name: str, figure: FigureSettings) -> None:
    """Raise UserError for an unknown variant, of which nothing would be recorded."""
    known = [variant for one in figure.experiments for variant in experiment_file(one).variants]
    for asked in figure.options.get("variants") or (figure.options.get("variant"),):
        if asked not in (None, *known):
            where = f"{paths.CONFIG / 'figures.yaml'}: {name}.options"
            raise UserError(f"unknown variant {asked!r}", where, closest(str(asked), known))
