"""Resolve the settings of a run; Snakemake, the command line and the tests share this code."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from memdt import discovery, paths
from memdt.errors import UserError, closest
from memdt.settings import slices
from memdt.settings.files import (
    Variant,
    experiment_file,
    model_file,
    scale_file,
    variant_of,
)
from memdt.settings.layers import (
    EXTENDS,
    TITLE,
    Layered,
    available,
    environment_path,
    explain,
    family,
    flatten,
    read_yaml,
)
from memdt.settings.learners import PACKAGE as LEARNERS
from memdt.settings.learners import learner_of, refuse_unused
from memdt.settings.schema import DatasetSettings, RunSettings


@dataclass(frozen=True)
class Resolved:
    """The settings of one variant at one scale, with the origin of each."""

    settings: RunSettings
    layers: Layered
    experiment: str  # of the run that is trained: that of checkpoint_of, or else its own
    variant: str
    start: tuple[str, str] | None = None  # experiment and variant that training starts from


SOURCES = "memdt.data.sources"
SOURCE_KEY = "dataset.source"
MODEL_SIZE_LIMIT = 1_000_000  # of layers, slots, tokens, ...: a larger number is a typing error
# Fields of RunSettings that `resolve` fills in, and that no file may set.
DERIVED = ("start", "played", "non_default")
OF_MODEL = ("model", "inputs")  # what a checkpoint brings along wherever it goes on
DATASET_KEYS = tuple(name for name in DatasetSettings.model_fields if name not in DERIVED)


@cache
def resolve_dataset(environment: str, scale: str) -> DatasetSettings:
    """Return the settings of an environment's dataset, from its own file and the scale's.

    Raises UserError for bad input.
    """
    layers = _apply_scale(environment_layers(environment), scale, environment, "", "")
    values = {k: v for k, v in layers.values.items() if k.split(".")[0] in DATASET_KEYS}
    try:
        settings = DatasetSettings.model_validate(Layered(values, layers.origins).nested())
    except ValidationError as error:
        raise explain(error, DatasetSettings, layers.origin) from None
    return settings.model_copy(update=_checked_components(layers, settings))


@cache
def resolve(experiment: str, variant: str, scale: str) -> Resolved:
    """Return the settings of a variant at a scale.

    Raises UserError with file and key for bad input.
    """
    entry = variant_of(experiment, variant)
    ancestors = lineage(experiment, variant)
    layers = _file_layers(ancestors)
    environment = component_name(layers, "environment.name")
    model = component_name(layers, "model.name")
    layers = _apply_scale(layers, scale, environment, model, experiment, entry)
    source = resolve(*ancestors[1], scale) if len(ancestors) > 1 else None
    if source is not None:
        layers = _as_trained(layers, source, experiment, entry)
    settings = _validate(layers)
    _check_dataset_untouched(settings, layers, scale)
    for trained in (settings, *([] if source is None else [source.settings])):
        _check_seeds(settings, trained.dataset, layers)
    if source is None:
        return Resolved(settings, layers, experiment, variant)
    shaped = slices.train(source.settings, source.settings.stages)
    if entry.checkpoint_of is not None:
        played = settings.model_copy(update={"played": shaped})
        return Resolved(played, layers, *ancestors[1], source.start)
    started = settings.model_copy(update={"start": shaped})
    return Resolved(started, layers, experiment, variant, ancestors[1])


def _check_seeds(settings: RunSettings, dataset: dict[str, Any], layers: Layered) -> None:
    """UserError where a policy would be evaluated on episodes that it was trained on."""
    source = discovery.load(SOURCES, dataset["source"])
    if not hasattr(source, "seeds"):
        return
    trained, evaluated = source.seeds(source.Settings(**dataset)), settings.evaluation
    last = evaluated.first_seed + evaluated.episodes - 1
    if evaluated.first_seed < trained.stop and last >= trained.start:
        what = (
            f"evaluation.first_seed is {evaluated.first_seed}: episodes up to seed {last} would be "
            f"among those of the dataset, {trained.start} to {trained.stop - 1}"
        )
        remedy = f"stay below {trained.start}, or begin at {trained.stop}"
        raise UserError(what, layers.origin("evaluation.first_seed"), remedy)


def _check_dataset_untouched(settings: RunSettings, layers: Layered, scale: str) -> None:
    """Raise UserError if an experiment changes the dataset, which all experiments share."""
    dataset = resolve_dataset(settings.environment.name, scale)
    for key in DATASET_KEYS:
        if getattr(settings, key) != getattr(dataset, key):
            raise UserError(
                f"{key} shapes the dataset, which all experiments share",
                layers.origin(key),
                "give the environment a file of its own under workflow/config/environments",
            )


def lineage(experiment: str, variant: str) -> tuple[tuple[str, str], ...]:
    """Return the variant, the variant whose checkpoints it uses, and so on.

    Raises UserError if one of them is unknown, is not trained itself, or repeats.
    """
    line = [(experiment, variant)]
    while (source := variant_of(*line[-1]).source) is not None:
        key = "checkpoint_of" if variant_of(*line[-1]).checkpoint_of else "start_from"
        path = _experiment_path(line[-1][0])
        source_experiment, _, source_variant = source.partition("/")
        if source_experiment not in available("experiments") or not source_variant:
            matches = closest(source_experiment, available("experiments"))
            remedy = f"write experiment/variant; {matches}"
            raise UserError(f"{key} {source!r} is unknown", path, remedy)
        if variant_of(source_experiment, source_variant).checkpoint_of is not None:
            raise UserError(f"{key} must name a variant that is trained itself", path)
        if (source_experiment, source_variant) in line:
            raise UserError(f"{key} {source!r} leads back to itself", path)
        line.append((source_experiment, source_variant))
    return tuple(line)


def environment_of(experiment: str, variant: str) -> str:
    """Return a variant's environment: its own, that of its checkpoints, or the experiment's."""
    entry = variant_of(experiment, variant)
    if entry.environment is None and entry.checkpoint_of is not None:
        return environment_of(*lineage(experiment, variant)[1])
    return entry.environment or experiment_file(experiment).environment


def _file_layers(line: Sequence[tuple[str, str]]) -> Layered:
    """The layers of a variant below the scale: environment, model, experiment.

    A variant that evaluates another run's checkpoints in the same environment inherits the
    evaluation settings of that run.
    """
    entry = variant_of(*line[0])
    if entry.checkpoint_of is not None and entry.environment is None:
        layers = _file_layers(line[1:])
    else:
        layers = _base_layers(environment_of(*line[0]), variant_of(*line[-1]))
    path = _experiment_path(line[0][0])
    return layers.over(experiment_file(line[0][0]).set, path).over(entry.set, path)


def _as_trained(layers: Layered, source: Resolved, experiment: str, entry: Variant) -> Layered:
    """The layers with the model settings of the run whose checkpoints are used.

    If they are only evaluated, the training settings are replaced too. Raises UserError if the
    experiment or the variant sets other values, which could have no effect.
    """
    parts = {*OF_MODEL} if entry.checkpoint_of is None else {*OF_MODEL, "training", "learner"}
    experiment_values = flatten(experiment_file(experiment).set)
    values = {k: v for k, v in experiment_values.items() if k.split(".")[0] in OF_MODEL}
    values |= {k: v for k, v in flatten(entry.set).items() if k.split(".")[0] in parts}
    trained = flatten(source.settings.model_dump(mode="json"))
    for key, value in values.items():
        if trained.get(key) != value:
            what = (
                f"{key} is {trained.get(key)!r} in the checkpoints of {entry.source}, not {value!r}"
            )
            raise UserError(what, _experiment_path(experiment))
    return layers.with_parts_of(source.layers, parts)


def environment_layers(environment: str) -> Layered:
    """Return the layers of an environment's file and of those that it extends."""
    members = family(environment)
    names = {
        "environment.name": environment,
        "environment.module": members[0],
        SOURCE_KEY: "played",
    }
    layers = Layered().over(names, str(environment_path(environment)))
    for name in members:
        path = environment_path(name)
        content = {
            key: value for key, value in read_yaml(path).items() if key not in (EXTENDS, TITLE)
        }
        source = component_name(layers, SOURCE_KEY)
        # Another source has other keys, so none of the old ones may remain.
        if flatten(content).get(SOURCE_KEY, source) != source:
            layers = layers.with_parts_of(Layered(), ["dataset"])
        layers = layers.over(content, str(path))
    return layers


def _for_source(block: dict[str, Any], name: str, source: str) -> dict[str, Any]:
    """What a scale says of an environment, for one that extends it.

    Without the dataset where that comes from another source: its keys would be unknown there.
    """
    if environment_layers(name).values[SOURCE_KEY] == source:
        return block
    return {k: v for k, v in flatten(block).items() if k.split(".")[0] != "dataset"}


def _base_layers(environment: str, entry: Variant) -> Layered:
    assert entry.model is not None
    layers = environment_layers(environment)
    path = str(paths.CONFIG / "models" / f"{entry.model}.yaml")
    model = model_file(entry.model)
    layers = layers.over({"model.name": model_module(entry.model)}, path)
    layers = layers.over(model.defaults, path)
    for name in family(environment):
        layers = layers.over(model.environments.get(name, {}), path)
    return layers


def model_module(name: str) -> str:
    """Return the module under src/memdt/models of a configured model."""
    return model_file(name).module or name


def _experiment_path(experiment: str) -> str:
    return str(paths.CONFIG / "experiments" / f"{experiment}.yaml")


def _apply_scale(
    layers: Layered,
    scale: str,
    environment: str,
    model: str,
    experiment: str,
    entry: Variant | None = None,
) -> Layered:
    """Merge the blocks of a scale into the layers, general blocks first.

    Only the scale's block for the experiment may change values that the variant sets. A scale whose
    numbers are meaningless may change them in any block.
    """
    path = str(paths.CONFIG / "scales" / f"{scale}.yaml")
    content = scale_file(scale)
    environments, source = family(environment), component_name(layers, SOURCE_KEY)
    blocks = [
        content.defaults,
        content.models.get(model, {}),
        *(_for_source(content.environments.get(name, {}), name, source) for name in environments),
        *(content.models_by_environment.get(name, {}).get(model, {}) for name in environments),
    ]
    for block in blocks:
        layers = layers.over(block, path)
    if entry is not None and not content.meaningless:
        layers = layers.over(entry.set, _experiment_path(experiment))
    return layers.over(content.experiments.get(experiment, {}), path)


def _validate(layers: Layered) -> RunSettings:
    """Check everything that can be checked before a job starts, including parts of modules."""
    for key, path in layers.origins.items():
        if key.split(".")[0] in DERIVED:
            raise UserError("unknown key", f"{path}: {key}", "it follows from the variant")
    try:
        settings = RunSettings.model_validate(layers.nested())
    except ValidationError as error:
        raise explain(error, RunSettings, layers.origin) from None
    settings = settings.model_copy(update=_checked_components(layers, settings))
    _check_size(layers, settings)
    _check_length(layers, settings)
    refuse_unused(settings.training, settings.model["name"], layers.origin)
    return settings


def _checked_components(layers: Layered, settings: RunSettings | DatasetSettings) -> dict[str, Any]:
    """The parts that modules check: their values with defaults, and without them."""
    environment = settings.environment
    module = _module_name(layers, "environment.module", "memdt.environments")
    source = _module_name(layers, SOURCE_KEY, SOURCES)
    parts = [
        ("environment.parameters", "memdt.environments", module, environment.parameters),
        ("dataset", SOURCES, source, settings.dataset),
    ]
    if isinstance(settings, RunSettings):
        name = _module_name(layers, "model.name", "memdt.models")
        parts.append(("model", "memdt.models", name, settings.model))
        parts.append(("learner", LEARNERS, learner_of(name), settings.learner))
    checked = {
        key: _check_part(layers, key, discovery.load(package, name).Settings, values)
        for key, package, name, values in parts
    }
    full = {key: part.model_dump(mode="json") for key, part in checked.items()}
    parameters = full.pop("environment.parameters")
    return {
        **full,
        "environment": environment.model_copy(update={"parameters": parameters}),
        "non_default": {
            key: part.model_dump(mode="json", exclude_defaults=True)
            for key, part in checked.items()
        },
    }


def _check_size(layers: Layered, settings: RunSettings) -> None:
    """Raise UserError for a model that no machine could build."""
    for key, value in settings.model.items():
        if isinstance(value, int) and value > MODEL_SIZE_LIMIT:
            remedy = f"at most {MODEL_SIZE_LIMIT:,}"
            raise UserError(f"model.{key} is {value:,}", layers.origin(f"model.{key}"), remedy)


def _check_length(layers: Layered, settings: RunSettings) -> None:
    """Raise UserError if training needs longer episodes than the dataset will hold."""
    source = discovery.load(SOURCES, settings.dataset["source"])
    longest = source.expected(source.Settings(**settings.dataset)).longest
    segments, steps = settings.training.segments, settings.segment_length
    if longest is not None and segments > math.ceil(longest / steps):
        what = f"training.segments is {segments} ({segments} x {steps} steps)"
        remedy = f"the dataset holds episodes of at most {longest} steps (dataset)"
        raise UserError(what, layers.origin("training.segments"), remedy)


def component_name(layers: Layered, key: str) -> str:
    """A name that a file gives by being there; UserError where a setting takes its place."""
    if not isinstance(layers.values.get(key), str):
        part = key.split(".")[0]
        remedy = f"set what is below {part}, such as {part}.x, and not all of it"
        raise UserError(f"{key} is lost", layers.origin(part), remedy)
    return str(layers.values[key])


def _module_name(layers: Layered, key: str, package: str) -> str:
    name = component_name(layers, key)
    if name not in discovery.names(package):
        remedy = closest(str(name), discovery.names(package))
        raise UserError(f"unknown module {name!r}", f"{layers.origin(key)}: {key}", remedy)
    return str(name)


def _check_part(
    layers: Layered, prefix: str, model: type[BaseModel], values: dict[str, Any]
) -> BaseModel:
    """Check a part with its module's Settings."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise explain(error, model, layers.origin, prefix) from None


def digest(content: Any) -> str:
    """Return a digest of settings, 16 hexadecimal digits; equal settings have equal digests."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
