"""The learner of a model, which the model's module names in its constant ``LEARNER``."""

from __future__ import annotations

from collections.abc import Callable

from memdt import discovery
from memdt.errors import UserError
from memdt.settings.schema import TrainingSettings

PACKAGE = "memdt.training.learners"
DEFAULT = "behaviour_cloning"


def learner_of(model: str) -> str:
    """Return the learner that a model's module names, without importing the module."""
    return discovery.text("memdt.models", model, "LEARNER") or DEFAULT


def refuse_unused(training: TrainingSettings, model: str, origin: Callable[[str], str]) -> None:
    """UserError where training is told something that the model's learner has no use for.

    The learner names such settings in its constant ``REFUSES``; their defaults pass.
    """
    learner = learner_of(model)
    for name in discovery.constant(PACKAGE, learner, "REFUSES"):
        value = getattr(training, name)
        if value != TrainingSettings.model_fields[name].default:
            where, key = origin(f"training.{name}"), f"training.{name}"
            remedy = f"leave it out: it trains {model}"
            raise UserError(f"the learner {learner} cannot do {value!r}", f"{where}: {key}", remedy)
