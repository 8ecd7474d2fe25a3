"""Write dvc.yaml: coarse DVC stages whose commands are Snakemake targets.

There is one stage for the datasets, one for the runs of each experiment in config.yaml, and one for
the report. Dependencies follow from the settings and the imports, so they are computed, and a test
keeps the file in step. Every output persists: DVC must not delete what Snakemake may keep.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from memdt import paths
from memdt.data.agents import FILES
from memdt.errors import UserError
from memdt.files import write_text
from memdt.settings.composition import components
from memdt.settings.files import experiment_file, selection
from memdt.settings.layers import available
from memdt.settings.learners import learner_of
from memdt.settings.pages import figures
from memdt.settings.resolve import environment_of, lineage
from memdt.workflow import digests, inputs, plan

FILE = Path("dvc.yaml")
SCALE = "${item}"  # in a stage; `${scale}` elsewhere
HEADER = """\
# Written by `memdt pipeline`; a test keeps it in step with the settings and the imports.
# `dvc repro` makes the scale and the experiments of workflow/config/config.yaml. Stages are named
# for their scale, so that another scale leaves this one's entries in dvc.lock alone:
#   dvc repro                          what has changed, from the datasets to the report
#   dvc pull tmaze_table_2@quick       the runs of one experiment
# On a cluster: SNAKEMAKE_PROFILE=workflow/profiles/slurm dvc repro
"""
RUN_STEPS = ("train", "evaluate")
# A figure's kind of input -> the step that makes it.
RECORDING_STEPS = {"attention": "attention", "recordings": "record"}
# Snakemake reads these to decide what to do, so every stage depends on them.
WORKFLOW = ("Snakefile", "workflow/rules")
PLANNING = (
    "memdt.workflow.plan",
    "memdt.workflow.inputs",
    "memdt.workflow.digests",
    "memdt.workflow.guard",
    "memdt.workflow.ledgers",
)
VERBS = (
    "memdt.__main__",
    "memdt.cli.commands",
    "memdt.cli.steps",
    "memdt.cli.report_steps",
    "memdt.provenance",
)
# What `dvc plots` draws: columns of a file, and a template from .dvc/plots.
TABLE = {"x": "segments", "y": "reproduced_mean", "template": "success_against_segments"}
CURVES = {"x": "update", "y": "loss", "template": "training_curves"}


def write() -> None:
    """Write dvc.yaml from the current settings and imports."""
    write_text(FILE, text())


def check() -> None:
    """Raise UserError if dvc.yaml differs from what `write` would write."""
    if not FILE.is_file() or FILE.read_text(encoding="utf-8") != text():
        raise UserError("out of step with settings or imports", str(FILE), "memdt pipeline")


def text() -> str:
    """The content of dvc.yaml as text."""
    content = yaml.safe_dump(pipeline(), sort_keys=False, width=100, allow_unicode=True)
    return HEADER + content


def pipeline() -> dict[str, Any]:
    """The content of dvc.yaml as data."""
    experiments = selection().experiments
    if not experiments:
        raise UserError("there is nothing to keep", str(paths.CONFIG / "config.yaml"), "name one")
    stages = {"datasets": _datasets(experiments)}
    stages |= {name: _runs(name) for name in experiments}
    stages["report"] = _report(experiments)
    return {
        "vars": [f"{paths.CONFIG}/config.yaml:scale"],
        "stages": {name: {"foreach": ["${scale}"], "do": do} for name, do in stages.items()},
        "metrics": [_of(paths.metrics("${scale}"))],
        "plots": _plots(experiments),
    }


def _datasets(experiments: Sequence[str]) -> dict[str, Any]:
    names = _played(experiments)
    made = [_dataset(name) for name in names] + [_of(path) for path in _agents(names)]
    outs = [file for one in made for file in _recorded(one)]
    named = [_modules(name) for name in experiments]
    used = {
        kind: tuple(sorted({module for one in named for module in one[kind]}))
        for kind in ("environment", "source")
    }
    return {
        "cmd": _snakemake("datasets", experiments),
        "deps": _code(_reached(["dataset", *(["agent"] if _agents(names) else [])], used)),
        "params": _settings([("environments", _environments(experiments)), ("scales", [SCALE])]),
        "outs": _kept(outs),
    }


def _runs(experiment: str) -> dict[str, Any]:
    others = [name for name in components(experiment).experiments if name != experiment]
    data = [_dataset(name) for name in _played([experiment])]
    data += [_of(paths.experiment_folder(SCALE, name)) for name in others]
    drawn = {f.inputs for f in figures().values() if experiment in f.experiments}
    shown = [step for kind, step in RECORDING_STEPS.items() if kind in drawn]
    return {
        "cmd": [
            f"python -m memdt tidy --experiment {shlex.quote(experiment)} --scale {SCALE}",
            _snakemake("runs", [experiment]),
        ],
        "deps": data + _code(_reached([*RUN_STEPS, *shown], _modules(experiment))),
        "params": _run_settings([experiment]) + (_figure_settings() if shown else []),
        "outs": _kept([_of(paths.experiment_folder(SCALE, experiment))]),
    }


def _report(experiments: Sequence[str]) -> dict[str, Any]:
    drawn = plan.figures_of(experiments)
    of_runs = ("agent", "dataset", *RUN_STEPS, *RECORDING_STEPS.values())
    steps = [step for step in digests.ENTRIES if step not in of_runs]
    named = {"figure": tuple(plan.figure_module(name) for name in drawn)}
    data = [_of(paths.experiment_folder(SCALE, name)) for name in experiments]
    data += [_dataset(name) for name in _played(experiments)]
    # Templates and styles of the report: their folders count whole, and hold some of its code too.
    assets = [_of(_relative(digests.ROOT / folder)) for folder in digests.ASSETS.values()]
    code = _code(_reached(steps, named))
    files = [paths.table(SCALE, name) for name in experiments]
    files += [paths.figure(SCALE, name) for name in drawn]
    files += [paths.claims(SCALE), paths.report(SCALE), paths.metrics(SCALE)]
    outs = [file for path in files for file in _recorded(_of(path))]
    outs += [_of(paths.figure(SCALE, name).with_suffix(".csv")) for name in drawn]
    outs.append(_of(paths.claims(SCALE).with_suffix(".json")))  # written with the metrics
    outs += [_of(paths.clip(SCALE, name)) for name in plan.clips_of(experiments)]
    return {
        "cmd": _snakemake("all", experiments),
        "deps": [
            *data,
            *(_of(path) for path in (paths.PUBLISHED, Path("docs/deviations.md"))),
            *(file for file in code if _of(Path(file).parent) not in assets),
            *assets,
        ],
        # Files instead of folders: DVC compares their values, so a comment makes nothing stale.
        "params": _run_settings(available("experiments")) + _figure_settings(),
        "outs": _kept(outs),
    }


def _snakemake(target: str, experiments: Sequence[str]) -> str:
    chosen = f"--config scale={SCALE} experiments={shlex.quote(','.join(experiments))}"
    return f"snakemake {target} --cores all --rerun-incomplete {chosen}"


def _plots(experiments: Sequence[str]) -> list[dict[str, Any]]:
    """Success against segments of each table, and the training curves that a figure shows."""
    tables = {_of(paths.table("${scale}", name)): {**TABLE, "title": name} for name in experiments}
    curves = {
        _of(paths.figure("${scale}", name).with_suffix(".csv")): {**CURVES, "title": name}
        for name in plan.figures_of(experiments)
        if figures()[name].inputs == "curves"
    }
    return [{file: plot} for file, plot in (tables | curves).items()]


# ---- dependencies of a stage -----------------------------------------------------------------


def _code(modules: Iterable[str]) -> list[str]:
    files = {digests.file_of(name) for name in (*modules, *VERBS)}
    return [*WORKFLOW, *sorted(_of(_relative(file)) for file in files)]


def _reached(steps: Iterable[str], named: dict[str, tuple[str, ...]]) -> list[str]:
    """All modules that some steps and their components import, exempt ones included."""
    entries = [digests.ENTRIES[step] for step in steps]
    entries += [f"{digests.KINDS[kind]}.{name}" for kind, names in named.items() for name in names]
    return sorted(digests.closure([*entries, *PLANNING], exempt=()))


def _modules(experiment: str) -> dict[str, tuple[str, ...]]:
    used = components(experiment)
    return {
        "model": used.model_modules,
        "environment": used.environment_modules,
        "source": used.source_modules,
        "learner": tuple(sorted({learner_of(name) for name in used.model_modules})),
    }


def _relative(file: Path) -> Path:
    return file.relative_to(digests.ROOT.parents[1])


def _environments(experiments: Iterable[str]) -> list[str]:
    return sorted({name for one in experiments for name in components(one).environments})


def _played(experiments: Iterable[str]) -> list[str]:
    """The environments that have a dataset, without those that they only extend."""
    lines = [
        one
        for experiment in experiments
        for variant in experiment_file(experiment).variants
        for one in lineage(experiment, variant)
    ]
    return sorted({environment_of(*one) for one in lines})


def _agents(environments: Iterable[str]) -> list[Path]:
    """The files of the agents that their datasets are made with."""
    needed_agents = [inputs.agent(selection().scale, name) for name in environments]
    owners = sorted({one[0] for one in needed_agents if one is not None})
    return [paths.agent(SCALE, name) / file for name in owners for file in FILES]


def _run_settings(experiments: Sequence[str]) -> list[dict[str, None]]:
    read = sorted({other for name in experiments for other in components(name).experiments})
    models = sorted({name for other in read for name in components(other).models})
    kinds = {"environments": _environments(read), "models": models, "experiments": read}
    return _settings([*kinds.items(), ("scales", [SCALE])])


def _settings(files: Iterable[tuple[str, Sequence[str]]]) -> list[dict[str, None]]:
    return [{f"{paths.CONFIG}/{kind}/{name}.yaml": None} for kind, names in files for name in names]


def _figure_settings() -> list[dict[str, None]]:
    return [{f"{paths.CONFIG}/figures.yaml": None}]


# ---- outputs of a stage ----------------------------------------------------------------------


def _dataset(environment: str) -> str:
    return _of(paths.dataset(SCALE, environment))


def _recorded(file: str) -> list[str]:
    return [file, _of(paths.ledger(Path(file)))]


def _kept(files: Iterable[str]) -> list[dict[str, dict[str, bool]]]:
    return [{file: {"persist": True}} for file in files]


def _of(path: Path) -> str:
    return path.as_posix()
