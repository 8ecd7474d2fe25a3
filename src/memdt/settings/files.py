"""The YAML files under workflow/config, each checked: models of their content, and their readers.

Between `layers.py`, which reads and layers YAML, and `resolve.py`, which makes the settings of a
run out of several files.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator

from memdt import discovery, paths
from memdt.errors import UserError, closest
from memdt.settings.layers import available, explain, read_file, read_yaml
from memdt.settings.names import Name, twice
from memdt.settings.schema import Frozen, distinct


class Variant(Frozen):
    """One row of an experiment: a model and what is different about it."""

    model: str | None = Field(default=None, description="the file under workflow/config/models")
    checkpoint_of: str | None = Field(
        default=None, description="experiment/variant whose checkpoints are evaluated"
    )
    start_from: str | None = Field(
        default=None, description="experiment/variant whose checkpoints training starts from"
    )
    environment: str | None = Field(
        default=None, description="null: that of the experiment, or of the checkpoints"
    )
    set: dict[str, Any] = Field(default={}, description="dotted settings of this variant")

    @model_validator(mode="after")
    def _one_source(self) -> Variant:
        sources = (self.model, self.checkpoint_of, self.start_from)
        if sum(one is not None for one in sources) != 1:
            raise ValueError("a variant needs exactly one of model, checkpoint_of and start_from")
        return self

    @property
    def source(self) -> str | None:
        """experiment/variant whose checkpoints this one takes, to play or to start from."""
        return self.checkpoint_of or self.start_from


class TableSettings(Frozen):
    """The shape of the experiment's table."""

    rows: str = Field(
        default="segments",
        description="one of variant, condition, segments and metric; set or method: the part of a "
        "variant's name before or after its last hyphen",
    )
    columns: str = Field(default="variant", description="another one of them")
    metric: str | tuple[str, ...] = Field(
        default="success",
        description="one or more; docs/output.md says how they are written",
    )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics as a tuple, also where there is one."""
        return self.metric if isinstance(self.metric, tuple) else (self.metric,)


class Answers(Frozen):
    """What of a paper the experiment answers."""

    paper: str
    item: str


class ExperimentFile(Frozen):
    """A file under workflow/config/experiments: one table or figure of a paper."""

    title: str
    answers: Answers | None = Field(
        default=None, description="null: nothing is published that it could be held against"
    )
    environment: str
    set: dict[str, Any] = Field(default={}, description="dotted settings for every variant")
    variants: dict[Name, Variant] = Field(min_length=1)
    table: TableSettings = TableSettings()
    note: str = Field(default="", description="printed under the table")

    @model_validator(mode="after")
    def _folders_differ(self) -> ExperimentFile:
        if why := twice(self.variants):
            raise ValueError(f"variants: {why}")
        return self


class ScaleFile(Frozen):
    """A file under workflow/config/scales: budgets only, never what is asked."""

    title: str
    reduced: bool = Field(description="sizes or budgets are below the published ones")
    meaningless: bool = Field(default=False, description="a layout check; its numbers mean nothing")
    defaults: dict[str, Any] = {}
    environments: dict[str, dict[str, Any]] = {}
    models: dict[str, dict[str, Any]] = {}
    models_by_environment: dict[str, dict[str, dict[str, Any]]] = Field(
        default={}, description="what a model has in one environment only"
    )
    experiments: dict[str, dict[str, Any]] = {}
    only: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default={}, description="variants of an experiment run at this scale; all where not named"
    )


class ModelFile(Frozen):
    """A file under workflow/config/models: published hyper-parameters, by environment."""

    module: str | None = None
    defaults: dict[str, Any] = {}
    environments: dict[str, dict[str, Any]] = {}


class Selection(Frozen):
    """workflow/config/config.yaml: what a bare ``snakemake`` runs."""

    scale: str
    experiments: Annotated[tuple[str, ...], AfterValidator(distinct)] | str
    plugins: tuple[str, ...] = Field(
        default=(), description="folders of components that are searched beside src/memdt"
    )


@cache
def experiment_file(name: str) -> ExperimentFile:
    """The checked file of an experiment."""
    return read_file("experiments", name, ExperimentFile)


@cache
def scale_file(name: str) -> ScaleFile:
    """The checked file of a scale; UserError where it names what is not there."""
    content = read_file("scales", name, ScaleFile)
    location = str(paths.CONFIG / "scales" / f"{name}.yaml")
    pairs = content.models_by_environment
    named = {
        "environments": [*content.environments, *pairs],
        "models": [*content.models, *(model for block in pairs.values() for model in block)],
        "experiments": [*content.experiments, *content.only],
    }
    for kind, names in named.items():
        _check_named(kind, names, location)
    for experiment, variants in content.only.items():
        for variant in variants:
            variant_of(experiment, variant)
    return content


@cache
def model_file(name: str) -> ModelFile:
    """The checked file of a model; UserError where it names an environment that is not there."""
    content = read_file("models", name, ModelFile)
    location = str(paths.CONFIG / "models" / f"{name}.yaml")
    _check_named("environments", content.environments, location)
    return content


def _check_named(kind: str, names: Iterable[str], location: str) -> None:
    """UserError for a name without a file: what is said of it would never count."""
    known = available(kind)
    for name in names:
        if name not in known:
            raise UserError(
                f"unknown {kind.removesuffix('s')} {name!r}", location, closest(name, known)
            )


def selection(overrides: dict[str, Any] | None = None) -> Selection:
    """What to run: workflow/config/config.yaml, with ``snakemake --config`` values over it."""
    path = paths.CONFIG / "config.yaml"
    saved = read_yaml(path)
    content = {**saved, **(overrides or {})}
    if content.get(discovery.KEY) != saved.get(discovery.KEY):
        # Every job of the workflow is a process of its own and reads the file, not the command.
        raise UserError("set it in the file itself", f"{path}: {discovery.KEY}")
    # Snakemake merges the file into its own config: only what differs is from the command line.
    given = {key for key in overrides or {} if content[key] != saved.get(key)}

    def origin(key: str) -> str:
        return "--config" if key.split(".")[0] in given else str(path)

    try:
        chosen = Selection.model_validate(content)
    except ValidationError as error:
        raise explain(error, Selection, origin) from None
    names = chosen.experiments
    if names == "all":
        names = tuple(available("experiments"))
    elif isinstance(names, str):
        names = tuple(name.strip() for name in names.strip("[]").split(","))
    if len(set(names)) < len(names):
        raise UserError(
            "an experiment appears twice", f"{origin('experiments')}: experiments", "name each once"
        )
    _check_names("scales", (chosen.scale,), origin("scale"))
    _check_names("experiments", names, origin("experiments"))
    return chosen.model_copy(update={"experiments": names})


def _check_names(kind: str, names: tuple[str, ...], where: str) -> None:
    known = available(kind)
    for name in names:
        if name not in known:
            what = f"unknown {kind.removesuffix('s')} {name!r}"
            raise UserError(what, where, closest(name, known))


def variant_of(experiment: str, variant: str) -> Variant:
    """The variant's entry in the experiment's file."""
    variants = experiment_file(experiment).variants
    if variant not in variants:
        location = str(paths.CONFIG / "experiments" / f"{experiment}.yaml")
        raise UserError(f"unknown variant {variant!r}", location, closest(variant, variants))
    return variants[variant]


def variants_of(experiment: str, scale: str) -> tuple[str, ...]:
    """The variants of an experiment that a scale runs, in the order of the experiment's file."""
    only = scale_file(scale).only.get(experiment)
    if only is None:
        return tuple(experiment_file(experiment).variants)
    for name in only:
        variant_of(experiment, name)  # a misspelt name is told, not dropped
    return tuple(name for name in experiment_file(experiment).variants if name in only)
