"""Small models of every kind, with large weights, so that a wrong number shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces

from memdt import discovery
from memdt.errors import UserError
from memdt.models.interface import Policy, Spaces

SIZES = {"layers": 2, "heads": 2, "width": 16, "head_width": 8, "feed_forward_width": 32}
SPACES = {
    "vector": Spaces(gym_spaces.Box(-1, 1, (4,), np.float32), gym_spaces.Discrete(4)),
    "continuous": Spaces(
        gym_spaces.Box(-1, 1, (6,), np.float32), gym_spaces.Box(-1, 1, (2,), np.float32)
    ),
    "frames": Spaces(gym_spaces.Box(0, 255, (64, 64, 3), np.uint8), gym_spaces.Discrete(5)),
}
# Parts that a model offers beyond its defaults; a new model without an entry is tried as it is.
PARTS = {
    "rate": [
        {"memory_tokens": 2},
        {"memory_tokens": 2, "cache_length": 2},
        {"memory_tokens": 2, "cache_length": 40, "cache_memory_tokens": False},
        {"memory_tokens": 2, "memory_update": "retention_valve"},
        {"memory_tokens": 2, "memory_update": "gate"},
        {"memory_tokens": 2, "memory_update": "binary_gate"},
        {"memory_tokens": 2, "memory_positions": "start"},
        {"memory_tokens": 2, "feed_forward_width": 0, "normalization": "pre"},
    ],
    "recurrent_memory_transformer": [{"memory_tokens": 2}],
    "transformer_xl": [{"cache_length": 9}, {"cache_length": 40}],
    "rate_without_memory": [{"cache_length": 2}],
    "dt_mem": [
        {"slots": 4},
        {"slots": 4, "placement": "after_last"},
        {"slots": 4, "operations": 2},
        {"slots": 4, "writing": "at_once"},
        {"slots": 4, "carried": False},
        {"slots": 4, "retrieval": "nearest", "nearest": 2},
        {"slots": 4, "demonstration_steps": 3, "rank": 3, "task_width": 8, "hyper_width": 4},
    ],
    "pdt": [{"demonstration_steps": 2}],
    "trajectory_autoencoding_planner": [
        {
            "layers": 1,
            "codes": 8,
            "code_width": 4,
            "window": 6,
            "horizon": 6,
            "beams": 3,
            "expansions": 2,
            "dropout": 0.0,
        },
    ],
    "hdt": [{"demonstration_steps": 3, "rank": 4, "task_width": 8, "hyper_width": 4}],
}


def make(name: str, parts: dict, spaces: Spaces | None = None, seed: int = 0) -> Policy:
    """A policy of these spaces; where none are given, of the first that the model takes."""
    if spaces is None:
        try:
            return make(name, parts, SPACES["vector"], seed)
        except UserError:
            return make(name, parts, SPACES["continuous"], seed)
    module = discovery.load("memdt.models", name)
    sizes = {key: value for key, value in SIZES.items() if key in module.Settings.model_fields}
    torch.manual_seed(seed)
    policy = module.build(module.Settings(**{**sizes, **parts, "name": name}), spaces)
    for parameter in policy.parameters():  # large weights, so that a wrong token shows
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return policy.eval()


def kind_of(policy: Policy) -> str:
    """The name of the spaces that a policy was made for."""
    return next(kind for kind, spaces in SPACES.items() if spaces is policy.spaces)


def cases(kind: type[Policy] = Policy) -> list:
    """Every model that is such a policy, with the parts that it is tried with."""
    parameters = []
    for name in discovery.names("memdt.models"):
        for parts in PARTS.get(name, [{}]):
            if not isinstance(make(name, parts), kind):
                continue
            label = ",".join(f"{k}={v}" for k, v in parts.items())
            parameters.append(pytest.param(name, parts, id=f"{name}[{label}]"))
    return parameters
