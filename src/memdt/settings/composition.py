"""What an experiment is made of: names of files and of modules. Nothing is imported."""

from __future__ import annotations

from dataclasses import dataclass

from memdt.settings.layers import family
from memdt.settings.resolve import (
    component_name,
    environment_layers,
    environment_of,
    experiment_file,
    lineage,
    model_module,
    variant_of,
)


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
    layers = [environment_layers(name) for name in environments]
    modules = {component_name(one, "environment.module") for one in layers}
    return Components(
        experiments=tuple(sorted({name for name, _ in line})),
        environments=tuple(sorted({one for name in environments for one in family(name)})),
        environment_modules=tuple(sorted(modules)),
        source_modules=tuple(sorted({component_name(one, "dataset.source") for one in layers})),
        models=tuple(sorted(filter(None, models))),
        model_modules=tuple(sorted({model_module(name) for name in filter(None, models)})),
    )
