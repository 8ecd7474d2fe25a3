"""What shapes each step's output: the settings whose digest a rule watches, cut for each step.

Editing an evaluation setting must not retrain; a longer curriculum must not redo its first stages.

Values that equal their default are left out, so a new setting whose default keeps the old behaviour
makes no result stale. ``full=True`` puts them back in, for people who read a manifest; no digest is
taken of that. Because a default stands in no digest, changing one would go unnoticed: `defaults.py`
pins them all. What is added to a slice must be left out too where it has its default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memdt.errors import UserError
from memdt.settings.schema import DatasetSettings, DemonstrationSettings, RunSettings


@dataclass(frozen=True)
class Stage:
    """One training stage: the episodes it trains on and its budget. Source: RATE section 4.2."""

    number: int  # counts from 1
    segments: int  # Q_k: episodes of at most so many segments
    updates: int | None
    epochs: int | None
    batch_size: int
    horizon: int | None  # steps of each episode that are trained on; None: all


def stage(settings: RunSettings, number: int) -> Stage:
    """Stage ``number`` of a run; with a curriculum stage k trains on up to k segments."""
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
    """The value of a stage; the last one serves the rest."""
    return None if values is None else values[min(number, len(values)) - 1]


def dataset(settings: RunSettings | DatasetSettings, *, full: bool = False) -> dict[str, Any]:
    """What shapes a dataset."""
    return {
        "module": settings.environment.module,
        "parameters": _parameters(settings, full),
        "dataset": {
            "source": settings.dataset["source"],
            **_component(settings, "dataset", settings.dataset, full),
        },
    }


# A stage holds what these come to, so that a longer curriculum leaves the first stages as they are.
_OF_STAGES = {
    "segments", "curriculum", "updates_per_stage", "epochs_per_stage", "batch_size",
    "batch_size_per_stage", "horizons",
}  # fmt: skip


def train(settings: RunSettings, number: int, *, full: bool = False) -> dict[str, Any]:
    """What shapes the checkpoint of a stage, given its dataset and the stage before."""
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
        "stages": [{k: v for k, v in one.items() if full or v is not None} for one in stages],
        **({} if settings.start is None else {"start": settings.start}),
    }


def started(settings: RunSettings, number: int) -> dict[str, Any] | None:
    """What shaped the checkpoint that a stage starts from; None where weights are drawn."""
    return settings.start if number == 1 else train(settings, number - 1)


def played(settings: RunSettings) -> dict[str, Any]:
    """What shaped the checkpoint that a run is evaluated from."""
    return settings.played or train(settings, settings.stages)


def demonstration(settings: RunSettings) -> DemonstrationSettings | None:
    """Which part of another episode the model is shown; None where it wants none."""
    fields = DemonstrationSettings.model_fields
    asked = {name: settings.model[name] for name in fields if name in settings.model}
    wanted = DemonstrationSettings(**asked)
    return wanted if wanted.demonstration_steps else None


def evaluate(settings: RunSettings, *, full: bool = False) -> dict[str, Any]:
    """What shapes the evaluation of a checkpoint, given the checkpoint."""
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
    """All settings of a run, of which a figure may show any."""
    content = settings.model_dump(mode="json", exclude={"non_default"}, exclude_defaults=True)
    content["model"] = _model(settings, full=False)
    content["environment"]["parameters"] = _parameters(settings, full=False)
    content["dataset"] = _component(settings, "dataset", settings.dataset, full=False)
    learner = _component(settings, "learner", settings.learner, full=False)
    content |= {"learner": learner} if learner else {}
    return content


def _model(settings: RunSettings, full: bool) -> dict[str, Any]:
    """The model's settings; its name counts even where a module has a default for it."""
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
    """The part under a dotted key, which a module's own Settings have checked."""
    known = {} if full or settings.non_default is None else settings.non_default
    return known.get(key, values)
