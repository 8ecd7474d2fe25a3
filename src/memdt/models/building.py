"""Build the model that a run's settings name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from memdt import discovery
from memdt.environments.frame_stacks import stacked_spaces
from memdt.environments.spaces import Spaces
from memdt.environments.task import Task
from memdt.models.interface import Policy
from memdt.models.parts.input_scaling import InputScaling
from memdt.settings.schema import InputSettings, RunSettings


def build_policy(settings: RunSettings, weights_seed: int) -> Policy:
    """Build the model named in the settings, with weights drawn from ``weights_seed``."""
    spaces = Task.of(settings.environment).spaces
    torch.manual_seed(weights_seed)
    return build(settings.model, settings.inputs, spaces)


def build(model: Mapping[str, Any], inputs: InputSettings, spaces: Spaces) -> Policy:
    """Build a model for the spaces of single frames; ``model``: its settings, with its name."""
    spaces = stacked_spaces(spaces, inputs.frame_stack)
    module = discovery.load("memdt.models", model["name"])
    policy: Policy = module.build(module.Settings(**model), spaces)
    # Otherwise no buffers: they would be part of every checkpoint.
    if inputs != InputSettings():
        policy.inputs = InputScaling(inputs, spaces)
    return policy
