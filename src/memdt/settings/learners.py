"""The learner of a model, which the model's module names in its constant ``LEARNER``."""

from __future__ import annotations

from memdt import discovery

PACKAGE = "memdt.training.learners"
DEFAULT = "behaviour_cloning"


def learner_of(model: str) -> str:
    """Return the learner that a model's module names, without importing the module."""
    return discovery.text("memdt.models", model, "LEARNER") or DEFAULT
