"""The files and modules that an experiment consists of, without importing any of them."""

from __future__ import annotations

from dataclasses import dataclass

from memdt.settings.files import experiment_file, variant_of
from memdt.settings.layers import family
from memdt.settings.resolve import (
    component_name,
    environment_layers,
    environment_of,
    lineage,
    model_module,
)


@dataclass(frozen=True)
class Components:
    """Names of the files and modules that an experiment uses, at any scale."""

    experiments: tuple[str, ...]  # the experiment, and those whose checkpoints it uses
    environments: tuple[str, ...]
    environment_modules: tuple[str, ...]
    source_modules: tuple[str, ...]  # of their datasets
    models: tuple[str, ...]
    model_modules: tuple[str, ...]


def components(experiment: str) -> Components:
    """Return the files and modules that the variants of an experiment name, at any scale."""
    variants = experiment_file(experiment).variants
    trained = [pair for variant in variants for pair in lineage(experiment, variant)]
    environments = sorted({environment_of(*pair) for pair in trained})
    models = {variant_of(*pair).model for pair in trained} - {None}
    layers = [environment_layers(name) for name in environments]
    return Components(
        experiments=tuple(sorted({name for name, _ in trained})),
        environments=tuple(sorted({base for name in environments for base in family(name)})),
        environment_modules=tuple(
            sorted({component_name(one, "environment.module") for one in layers})
        ),
        source_modules=tuple(sorted({component_name(one, "dataset.source") for one in layers})),
        models=tuple(sorted(filter(None, models))),
        model_modules=tuple(sorted({model_module(name) for name in filter(None, models)})),
    )
