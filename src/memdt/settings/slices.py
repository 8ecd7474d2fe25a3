"""What shapes each step's output: the settings a rule watches, cut so that no step sees too much.

Editing an evaluation setting must not retrain; a longer curriculum must not redo its first stages.
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


def dataset(settings: RunSettings | DatasetSettings) -> dict[str, Any]:
    """What shapes a dataset."""
    return {
        "module": settings.environment.module,
        "parameters": settings.environment.parameters,
        "dataset": settings.dataset,
    }


def train(settings: RunSettings, number: int) -> dict[str, Any]:
    """What shapes the checkpoint of a stage, given its dataset and the stage before."""
    training = settings.training.model_dump(mode="json")
    for budget in ("segments", "curriculum", "updates_per_stage", "epochs_per_stage"):
        del training[budget]
    for budget in ("batch_size", "batch_size_per_stage", "horizons"):
        del training[budget]
    return {
        "dataset": dataset(settings),
        "segment_length": settings.segment_length,
        "model": settings.model,
        "training": training,
        "stages": [vars(stage(settings, k)) for k in range(1, number + 1)],
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


def evaluate(settings: RunSettings) -> dict[str, Any]:
    """What shapes the evaluation of a checkpoint, given the checkpoint."""
    return {
        "module": settings.environment.module,
        "parameters": settings.environment.parameters,
        "segment_length": settings.segment_length,
        "model": settings.model,
        "evaluation": settings.evaluation.model_dump(mode="json"),
        "trained_segments": settings.training.segments,
        **({} if demonstration(settings) is None else {"demonstrations": dataset(settings)}),
    }
