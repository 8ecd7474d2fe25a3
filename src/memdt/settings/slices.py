"""The settings that shape the output of each step. Rules watch their digests.

Editing an evaluation setting must not retrain, and a longer curriculum must not repeat its first
stages.

Values that equal their default are left out, so that a new setting does not make results stale if
its default keeps the old behaviour. New parts of a slice must follow this rule too. A digest cannot
detect a changed default, so `defaults.py` pins them all. ``full=True`` includes the defaults, for
the readers of manifests; digests never use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memdt.errors import UserError
from memdt.settings.schema import DatasetSettings, DemonstrationSettings, RunSettings


@dataclass(frozen=True)
class Stage:
    """One training stage: its episodes and its budget. Source: RATE section 4.2."""

    number: int  # counts from 1
    segments: int  # largest number of segments in an episode of Q_k
    updates: int | None
    epochs: int | None
    batch_size: int
    horizon: int | None  # steps of each episode that are trained on; None: all


def stage(settings: RunSettings, number: int) -> Stage:
    """Return stage ``number`` of a run. Raises UserError if there is no such stage."""
    training = settings.training
    if not 1 <= number <= settings.stages:
        raise UserError(f"there is no stage {number}", "", f"stages are 1 to {settings.stages}")
    segments = number if training.curriculum else training.segments
    updates = _of_stage(training.updates_per_stage, number)
    batch_size = _of_stage(training.batch_size_per_stage, number) or training.batch_size
    horizon = _of_stage(training.horizons, number)
    epochs = training.epochs_per_stage
    return Stage(number, segments, updates, epochs, batch_size, horizon)


def _of_stage(values: tuple[int, ...] | None, number: int) -> int | None:
    """The value for a stage; later stages use the last value."""
    return None if values is None else values[min(number, len(values)) - 1]


def dataset(settings: RunSettings | DatasetSettings, *, full: bool = False) -> dict[str, Any]:
    """Return the settings that shape a dataset."""
    return {
        "module": settings.environment.module,
        "parameters": _parameters(settings, full),
        "dataset": {
            "source": settings.dataset["source"],
            **_component(settings, "dataset", settings.dataset, full),
        },
    }


# A stage contains the values that follow from these, so that a longer curriculum does not change
# the slices of its first stages.
_OF_STAGES = {
    "segments", "curriculum", "updates_per_stage", "epochs_per_stage", "batch_size",
    "batch_size_per_stage", "horizons",
}  # fmt: skip


def train(settings: RunSettings, number: int, *, full: bool = False) -> dict[str, Any]:
    """Return the settings that shape the checkpoint of a stage, those of earlier ones included."""
    stages = [vars(stage(settings, k)) for k in range(1, number + 1)]
    learner = _component(settings, "learner", settings.learner, full)
    return {
        "dataset": dataset(settings, full=full),
        "segment_length": settings.segment_length,
        "model": _model(settings, full),
        **_inputs(settings, full),
        "training": settings.training.model_dump(
            mode="json", exclude=_OF_STAGES, exclude_defaults=not full
        ),
        **({"learner": learner} if learner else {}),
        "stages": [{k: v for k, v in values.items() if full or v is not None} for values in stages],
        **({} if settings.start is None else {"start": settings.start}),
    }


def started(settings: RunSettings, number: int) -> dict[str, Any] | None:
    """Return what shaped the checkpoint that a stage starts from; None for random weights."""
    return settings.start if number == 1 else train(settings, number - 1)


def played(settings: RunSettings) -> dict[str, Any]:
    """Return what shaped the checkpoint that a run evaluates."""
    return settings.played or train(settings, settings.stages)


def demonstration(settings: RunSettings) -> DemonstrationSettings | None:
    """Return the settings of the model's demonstrations; None if it uses none."""
    fields = DemonstrationSettings.model_fields
    values = {name: settings.model[name] for name in fields if name in settings.model}
    demonstrations = DemonstrationSettings(**values)
    return demonstrations if demonstrations.demonstration_steps else None


def evaluate(settings: RunSettings, *, full: bool = False) -> dict[str, Any]:
    """Return the settings that shape the evaluation of a given checkpoint."""
    content = {
        "module": settings.environment.module,
        "parameters": _parameters(settings, full),
        "segment_length": settings.segment_length,
        "model": _model(settings, full),
        **_inputs(settings, full),
        "evaluation": settings.evaluation.model_dump(mode="json", exclude_defaults=not full),
        "trained_segments": settings.training.segments,
    }
    if demonstration(settings) is not None:
        content["demonstrations"] = dataset(settings, full=full)
    return content


def everything(settings: RunSettings) -> dict[str, Any]:
    """Return all settings of a run, because a figure may show any of them."""
    content = settings.model_dump(mode="json", exclude={"non_default"}, exclude_defaults=True)
    content["model"] = _model(settings, full=False)
    content["environment"]["parameters"] = _parameters(settings, full=False)
    content["dataset"] = _component(settings, "dataset", settings.dataset, full=False)
    learner = _component(settings, "learner", settings.learner, full=False)
    content |= {"learner": learner} if learner else {}
    return content


def _model(settings: RunSettings, full: bool) -> dict[str, Any]:
    """The model's settings, which always include its name, even if that is a default."""
    name = {"name": settings.model["name"]}
    return {**name, **_component(settings, "model", settings.model, full)}


def _inputs(settings: RunSettings, full: bool) -> dict[str, Any]:
    content = settings.inputs.model_dump(mode="json", exclude_defaults=not full)
    return {"inputs": content} if content else {}


def _parameters(settings: RunSettings | DatasetSettings, full: bool) -> dict[str, Any]:
    key = "environment.parameters"
    return _component(settings, key, settings.environment.parameters, full)


def _component(
    settings: RunSettings | DatasetSettings, key: str, values: dict[str, Any], full: bool
) -> dict[str, Any]:
    """The part under a dotted key that is checked by a module's Settings."""
    non_default = {} if full or settings.non_default is None else settings.non_default
    return non_default.get(key, values)
