"""Which learner trains a model: the constant ``LEARNER`` of the model's module says."""

from __future__ import annotations

from memdt import discovery

PACKAGE = "memdt.training.learners"
DEFAULT = "behaviour_cloning"


def learner_of(model: str) -> str:
    """The name of the learner of a model's module, which is read and not imported."""
    return discovery.text("memdt.models", model, "LEARNER") or DEFAULT
