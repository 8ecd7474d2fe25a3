"""What an experiment is made of: names of files and of modules. Nothing is imported."""

from __future__ import annotations

from dataclasses import dataclass

from memdt.settings.files import experiment_file, variant_of
from memdt.settings.layers import family
from memdt.settings.resolve import environment_layers, environment_of, lineage, model_module


@dataclass(frozen=True)
class Components:
    """What an experiment is made of, at any scale: names of files and of modules."""

    experiments: tuple[str, ...]  # itself, and those whose checkpoints it takes
    environments: tuple[str, ...]
    environment_modules: tuple[str, ...]
    source_modules: tuple[str, ...]  # of their datasets
    models: tuple[str, ...]
    model_modules: tuple[str, ...]


def components(experiment: str) -> Components:
    """The files and modules that the variants of an experiment name, at any scale."""
    line = [one for v in experiment_file(experiment).variants for one in lineage(experiment, v)]
    environments = sorted({environment_of(*one) for one in line})
    models = {variant_of(*one).model for one in line} - {None}
    values = [environment_layers(name).values for name in environments]
    modules = {one["environment.module"] for one in values}
    return Components(
        experiments=tuple(sorted({name for name, _ in line})),
        environments=tuple(sorted({one for name in environments for one in family(name)})),
        environment_modules=tuple(sorted(modules)),
        source_modules=tuple(sorted({one["dataset.source"] for one in values})),
        models=tuple(sorted(filter(None, models))),
        model_modules=tuple(sorted({model_module(name) for name in filter(None, models)})),
    )
