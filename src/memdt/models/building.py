"""Build the model that a run's settings name."""

from __future__ import annotations

import torch

from memdt import discovery
from memdt.environments.task import Task
from memdt.models.interface import Policy
from memdt.models.parts.input_scaling import InputScaling
from memdt.settings.schema import InputSettings, RunSettings


def build_policy(settings: RunSettings, weights_seed: int) -> Policy:
    """Build the model named in the settings, with weights drawn from ``weights_seed``."""
    module = discovery.load("memdt.models", settings.model["name"])
    spaces = Task.of(settings.environment).spaces
    torch.manual_seed(weights_seed)
    policy: Policy = module.build(module.Settings(**settings.model), spaces)
    if settings.inputs != InputSettings():
        policy.inputs = InputScaling(settings.inputs, spaces)
    return policy
