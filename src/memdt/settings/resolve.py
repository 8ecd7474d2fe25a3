"""One ``resolve(experiment, variant, scale)`` serves Snakemake, the command line and the tests."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from memdt import discovery, paths
from memdt.errors import UserError, closest
from memdt.settings import slices
from memdt.settings.layers import (
    EXTENDS,
    Layered,
    available,
    environment_place,
    explain,
    family,
    flatten,
    read_file,
    read_yaml,
)
from memdt.settings.learners import PACKAGE as LEARNERS
from memdt.settings.learners import learner_of
from memdt.settings.names import fault
from memdt.settings.schema import (
    DatasetSettings,
    ExperimentFile,
    FigureSettings,
    ModelFile,
    RunSettings,
    ScaleFile,
    Selection,
    Variant,
)


@dataclass(frozen=True)
class Resolved:
    """The settings of one variant at one scale, and where each came from."""

    settings: RunSettings
    layers: Layered
    experiment: str  # of the run that is trained: the one named by checkpoint_of, else its own
    variant: str
    start: tuple[str, str] | None = None  # experiment and variant that training starts from


@cache
def experiment_file(name: str) -> ExperimentFile:
    """The checked file of an experiment."""
    return read_file("experiments", name, ExperimentFile)


@cache
def scale_file(name: str) -> ScaleFile:
    """The checked file of a scale; UserError where it names what is not there."""
    content = read_file("scales", name, ScaleFile)
    place = str(paths.CONFIG / "scales" / f"{name}.yaml")
    pairs = content.models_by_environment
    named = {
        "environments": [*content.environments, *pairs],
        "models": [*content.models, *(model for block in pairs.values() for model in block)],
        "experiments": [*content.experiments, *content.only],
    }
    for kind, names in named.items():
        _check_named(kind, names, place)
    for experiment, variants in content.only.items():
        for variant in variants:
            variant_of(experiment, variant)
    return content


@cache
def model_file(name: str) -> ModelFile:
    """The checked file of a model; UserError where it names an environment that is not there."""
    content = read_file("models", name, ModelFile)
    place = str(paths.CONFIG / "models" / f"{name}.yaml")
    _check_named("environments", content.environments, place)
    return content


def _check_named(kind: str, names: Iterable[str], place: str) -> None:
    """UserError for a name without a file: what is said of it would never count."""
    known = available(kind)
    for name in names:
        if name not in known:
            raise UserError(
                f"unknown {kind.removesuffix('s')} {name!r}", place, closest(name, known)
            )


@cache
def figures() -> dict[str, FigureSettings]:
    """All figures of workflow/config/figures.yaml by name."""
    path = paths.CONFIG / "figures.yaml"
    for name in read_yaml(path):
        if why := fault(name, dots=False):
            raise UserError(why, str(path), "rename the figure")
    try:
        return {k: FigureSettings.model_validate(v) for k, v in read_yaml(path).items()}
    except ValidationError as error:
        raise explain(error, FigureSettings, lambda key: str(path)) from None


def selection(overrides: dict[str, Any] | None = None) -> Selection:
    """What to run: workflow/config/config.yaml, with ``snakemake --config`` values over it."""
    path = paths.CONFIG / "config.yaml"
    saved = read_yaml(path)
    content = {**saved, **(overrides or {})}
    if content.get(discovery.KEY) != saved.get(discovery.KEY):
        # Every job of the workflow is a process of its own and reads the file, not the command.
        raise UserError("set it in the file itself", f"{path}: {discovery.KEY}")
    try:
        chosen = Selection.model_validate(content)
    except ValidationError as error:
        given = set(overrides or {})

        def origin(key: str) -> str:
            return "--config" if key.split(".")[0] in given else str(path)

        raise explain(error, Selection, origin) from None
    names = chosen.experiments
    if names == "all":
        names = tuple(available("experiments"))
    elif isinstance(names, str):
        names = tuple(name.strip() for name in names.strip("[]").split(","))
    if len(set(names)) < len(names):
        raise UserError("an experiment stands twice", f"{path}: experiments", "name each once")
    _check_names(names, chosen.scale, str(path))
    return chosen.model_copy(update={"experiments": names})


def _check_names(names: tuple[str, ...], scale: str, where: str) -> None:
    known = {"experiments": (names, "unknown experiment"), "scales": ((scale,), "unknown scale")}
    for kind, (asked, message) in known.items():
        for name in asked:
            if name not in available(kind):
                remedy = closest(name, available(kind))
                raise UserError(f"{message} {name!r}", where, remedy)


def variant_of(experiment: str, variant: str) -> Variant:
    """The variant's entry in the experiment's file."""
    variants = experiment_file(experiment).variants
    if variant not in variants:
        place = str(paths.CONFIG / "experiments" / f"{experiment}.yaml")
        raise UserError(f"unknown variant {variant!r}", place, closest(variant, variants))
    return variants[variant]


def variants_of(experiment: str, scale: str) -> tuple[str, ...]:
    """The variants of an experiment that a scale runs, in the order of the experiment's file."""
    only = scale_file(scale).only.get(experiment)
    if only is None:
        return tuple(experiment_file(experiment).variants)
    for name in only:
        variant_of(experiment, name)  # a misspelt name is told, not dropped
    return tuple(name for name in experiment_file(experiment).variants if name in only)


SOURCES = "memdt.data.sources"
# Of RunSettings: filled in here, never set by a file.
DERIVED = ("start", "played", "non_default")
DATASET_KEYS = tuple(name for name in DatasetSettings.model_fields if name not in DERIVED)


@cache
def resolve_dataset(environment: str, scale: str) -> DatasetSettings:
    """The settings of an environment's dataset: its own file, then the scale's."""
    layers = _apply_scale(environment_layers(environment), scale, environment, "", "")
    kept = {k: v for k, v in layers.values.items() if k.split(".")[0] in DATASET_KEYS}
    try:
        settings = DatasetSettings.model_validate(Layered(kept, layers.origins).nested())
    except ValidationError as error:
        raise explain(error, DatasetSettings, layers.origin) from None
    return settings.model_copy(update=_checked_components(layers, settings))


@cache
def resolve(experiment: str, variant: str, scale: str) -> Resolved:
    """The settings of a variant at a scale. Bad input is a UserError that names file and key."""
    entry = variant_of(experiment, variant)
    line = lineage(experiment, variant)
    layers = _file_layers(line)
    names = (
        *(component_name(layers, key) for key in ("environment.name", "model.name")),
        experiment,
    )
    layers = _apply_scale(layers, scale, *names, entry)
    source = resolve(*line[1], scale) if len(line) > 1 else None
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
        return Resolved(played, layers, *line[1], source.start)
    started = settings.model_copy(update={"start": shaped})
    return Resolved(started, layers, experiment, variant, line[1])


def _check_seeds(settings: RunSettings, dataset: dict[str, Any], layers: Layered) -> None:
    """UserError where a policy would be evaluated on episodes that it was trained on."""
    source = discovery.load(SOURCES, dataset["source"])
    if not hasattr(source, "seeds"):
        return
    trained, asked = source.seeds(source.Settings(**dataset)), settings.evaluation
    last = asked.first_seed + asked.episodes - 1
    if asked.first_seed < trained.stop and last >= trained.start:
        what = (
            f"evaluation.first_seed is {asked.first_seed}: episodes up to seed {last} would be "
            f"among those of the dataset, {trained.start} to {trained.stop - 1}"
        )
        remedy = f"stay below {trained.start}, or begin at {trained.stop}"
        raise UserError(what, layers.origin("evaluation.first_seed"), remedy)


def _check_dataset_untouched(settings: RunSettings, layers: Layered, scale: str) -> None:
    """One dataset serves all experiments on an environment: none of them may change what it is."""
    dataset = resolve_dataset(settings.environment.name, scale)
    for key in DATASET_KEYS:
        if getattr(settings, key) != getattr(dataset, key):
            raise UserError(
                f"{key} shapes the dataset, which all experiments share",
                layers.origin(key),
                "give the environment a file of its own under workflow/config/environments",
            )


def lineage(experiment: str, variant: str) -> tuple[tuple[str, str], ...]:
    """The variant, the one whose checkpoints it takes, the one whose that takes, and so on.

    UserError where one of them is unknown, is not trained itself, or is the variant itself.
    """
    line = [(experiment, variant)]
    while (named := variant_of(*line[-1]).source) is not None:
        key = "checkpoint_of" if variant_of(*line[-1]).checkpoint_of else "start_from"
        place = str(paths.CONFIG / "experiments" / f"{line[-1][0]}.yaml")
        name, _, of_it = named.partition("/")
        if name not in available("experiments") or not of_it:
            remedy = f"write experiment/variant; {closest(name, available('experiments'))}"
            raise UserError(f"{key} {named!r} is unknown", place, remedy)
        if variant_of(name, of_it).checkpoint_of is not None:
            raise UserError(f"{key} must name a variant that is trained itself", place)
        if (name, of_it) in line:
            raise UserError(f"{key} {named!r} leads back to itself", place)
        line.append((name, of_it))
    return tuple(line)


def environment_of(experiment: str, variant: str) -> str:
    """The configured environment of a variant: its own, that of its checkpoints, or the usual."""
    entry = variant_of(experiment, variant)
    if entry.environment is None and entry.checkpoint_of is not None:
        return environment_of(*lineage(experiment, variant)[1])
    return entry.environment or experiment_file(experiment).environment


def _file_layers(line: Sequence[tuple[str, str]]) -> Layered:
    """The layers of a variant below the scale: environment, model, experiment.

    What plays another run's checkpoints where that was trained takes over how it is evaluated.
    """
    entry = variant_of(*line[0])
    if entry.checkpoint_of is not None and entry.environment is None:
        layers = _file_layers(line[1:])
    else:
        layers = _base_layers(environment_of(*line[0]), variant_of(*line[-1]))
    return _apply_experiment(layers, line[0][0], entry)


def _as_trained(layers: Layered, source: Resolved, experiment: str, entry: Variant) -> Layered:
    """The layers with the model of the run whose checkpoints are taken.

    Where they are only played, with its training too: that is over. UserError where the experiment
    asks for another model, or the variant for what is over.
    """
    parts = {"model"} if entry.checkpoint_of is None else {"model", "training", "learner"}
    asked = {k: v for k, v in flatten(experiment_file(experiment).set).items() if _is_model(k)}
    asked |= {k: v for k, v in flatten(entry.set).items() if k.split(".")[0] in parts}
    is_so = flatten(source.settings.model_dump(mode="json"))
    for key, value in asked.items():
        if is_so.get(key) != value:
            what = (
                f"{key} is {is_so.get(key)!r} in the checkpoints of {entry.source}, not {value!r}"
            )
            raise UserError(what, str(paths.CONFIG / "experiments" / f"{experiment}.yaml"))
    return layers.with_parts_of(source.layers, parts)


def _is_model(key: str) -> bool:
    return key.split(".")[0] == "model"


def environment_layers(environment: str) -> Layered:
    """What the file of a configured environment says, over those that it extends."""
    line = family(environment)
    names = {
        "environment.name": environment,
        "environment.module": line[0],
        "dataset.source": "played",
    }
    layers = Layered().over(names, str(environment_place(environment)))
    for name in line:
        place = environment_place(name)
        content = {key: value for key, value in read_yaml(place).items() if key != EXTENDS}
        layers = layers.over(content, str(place))
    return layers


def _base_layers(environment: str, entry: Variant) -> Layered:
    assert entry.model is not None
    layers = environment_layers(environment)
    place = str(paths.CONFIG / "models" / f"{entry.model}.yaml")
    model = model_file(entry.model)
    layers = layers.over({"model.name": model_module(entry.model)}, place)
    layers = layers.over(model.defaults, place)
    for name in family(environment):
        layers = layers.over(model.environments.get(name, {}), place)
    return layers


def model_module(name: str) -> str:
    """The module under src/memdt/models of a configured model."""
    return model_file(name).module or name


def _apply_experiment(layers: Layered, experiment: str, entry: Variant) -> Layered:
    place = _experiment_place(experiment)
    return layers.over(experiment_file(experiment).set, place).over(entry.set, place)


def _experiment_place(experiment: str) -> str:
    return str(paths.CONFIG / "experiments" / f"{experiment}.yaml")


def _apply_scale(
    layers: Layered,
    scale: str,
    environment: str,
    model: str,
    experiment: str,
    entry: Variant | None = None,
) -> Layered:
    """What a scale says, in general first.

    What a variant sets is only changed by the scale's block for the experiment, but for a scale
    whose numbers mean nothing.
    """
    place = str(paths.CONFIG / "scales" / f"{scale}.yaml")
    content = scale_file(scale)
    line = family(environment)
    blocks = [
        content.defaults,
        content.models.get(model, {}),
        *(content.environments.get(name, {}) for name in line),
        *(content.models_by_environment.get(name, {}).get(model, {}) for name in line),
    ]
    for block in blocks:
        layers = layers.over(block, place)
    if entry is not None and not content.meaningless:
        layers = layers.over(entry.set, _experiment_place(experiment))
    return layers.over(content.experiments.get(experiment, {}), place)


def _validate(layers: Layered) -> RunSettings:
    """Check everything that can be known before a job starts, the parts of modules included."""
    for key, place in layers.origins.items():
        if key.split(".")[0] in DERIVED:
            raise UserError("unknown key", f"{place}: {key}", "it follows from the variant")
    try:
        settings = RunSettings.model_validate(layers.nested())
    except ValidationError as error:
        raise explain(error, RunSettings, layers.origin) from None
    settings = settings.model_copy(update=_checked_components(layers, settings))
    _check_length(layers, settings)
    return settings


def _checked_components(layers: Layered, settings: RunSettings | DatasetSettings) -> dict[str, Any]:
    """The parts that modules check, defaults filled in, and what of each differs from these."""
    environment = settings.environment
    module = _module_name(layers, "environment.module", "memdt.environments")
    source = _module_name(layers, "dataset.source", SOURCES)
    parts = [
        ("environment.parameters", "memdt.environments", module, environment.parameters),
        ("dataset", SOURCES, source, settings.dataset),
    ]
    if isinstance(settings, RunSettings):
        name = _module_name(layers, "model.name", "memdt.models")
        parts.append(("model", "memdt.models", name, settings.model))
        parts.append(("learner", LEARNERS, learner_of(name), settings.learner))
    checked = {
        key: _check_part(layers, key, _settings_class(package, name), values)
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


def _check_length(layers: Layered, settings: RunSettings) -> None:
    """UserError where training asks for longer episodes than the dataset will hold."""
    source = discovery.load(SOURCES, settings.dataset["source"])
    longest = source.expected(source.Settings(**settings.dataset)).longest
    asked, steps = settings.training.segments, settings.segment_length
    if longest is not None and asked > math.ceil(longest / steps):
        what = f"training.segments is {asked} ({asked} x {steps} steps)"
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


def _settings_class(package: str, name: str) -> type[BaseModel]:
    settings_class: type[BaseModel] = discovery.load(package, name).Settings
    return settings_class


def _check_part(
    layers: Layered, prefix: str, model: type[BaseModel], values: dict[str, Any]
) -> BaseModel:
    """The part checked by its module's Settings."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise explain(error, model, layers.origin, prefix) from None


def digest(content: Any) -> str:
    """Sixteen hexadecimal digits that stand for settings; equal settings, equal digest."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
