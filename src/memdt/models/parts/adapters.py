"""LoRA: trains low-rank matrices beside the frozen weights of named linear layers.

Source: Hu et al. 2022 section 4; DT-Mem section 4.4 and Algorithm 2, which adapts the memory alone.

    weight + alpha / rank * up @ down        weight  outputs x inputs   frozen
                                             up      outputs x rank     initially 0
                                             down    rank x inputs      initially random

An adapter replaces the weight and not the layer's call, because attention here multiplies weights
with each other and never calls the layers that own them. A model that reads ``layer.weight`` gets
the sum. ``merge`` turns the sum into an ordinary weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from memdt.errors import UserError, closest
from memdt.settings.schema import AdapterSettings

SETTING = "training.adapter.layers"


class LowRank(nn.Module):
    """The adapter of one weight. Called with the weight, it returns the adapted weight."""

    def __init__(self, weight: Tensor, settings: AdapterSettings) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.scale, self.dropout = settings.alpha / settings.rank, settings.dropout
        self.down = nn.Parameter(weight.new_empty(settings.rank, inputs))
        self.up = nn.Parameter(weight.new_zeros(outputs, settings.rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as nn.Linear initialises its weight

    def forward(self, weight: Float[Tensor, "outputs inputs"]) -> Float[Tensor, "outputs inputs"]:
        """Return the adapted weight.

        Dropout removes inputs of the adapter. Deviation D47: each access of the weight drops other
        inputs, but the same ones for all tokens, because an adapted weight does not see tokens.
        """
        down: Tensor = self.down
        if self.dropout and self.training:
            down = down * functional.dropout(torch.ones_like(down[0]), self.dropout)
        return weight + self.scale * self.up @ down


@dataclass(frozen=True)
class Trainable:
    """Numbers of parameters of a policy."""

    trainable: int
    total: int  # adapters included

    @property
    def share(self) -> float:
        """Share of the parameters that are trained, from 0 to 1; 0 if there are none."""
        return self.trainable / max(1, self.total)


def trainable(policy: nn.Module) -> Trainable:
    """Count the parameters of a policy."""
    parameters = list(policy.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return Trainable(trained, sum(p.numel() for p in parameters))


def adapt(policy: nn.Module, settings: AdapterSettings) -> list[str]:
    """Freeze a policy, add an adapter to each layer that the settings name, return the names.

    Outputs do not change until an adapter is trained. ``down`` is drawn from torch's generator.
    If a pattern matches no linear layer, or the policy already has adapters, this raises UserError
    and changes nothing.
    """
    if next(_adapted(policy), None) is not None:
        raise UserError("the policy already has adapters", SETTING, "merge them first")
    layers = _matching_layers(policy, settings.layers)
    policy.requires_grad_(False)
    for layer in layers.values():
        # A policy in evaluation mode must not get an adapter that drops inputs.
        adapter = LowRank(layer.weight, settings).train(layer.training)
        parametrize.register_parametrization(layer, "weight", adapter)
    return list(layers)


def _matching_layers(policy: nn.Module, patterns: tuple[str, ...]) -> dict[str, nn.Linear]:
    """The linear layers that match any of the patterns, in the order of the policy."""
    linear = {name: m for name, m in policy.named_modules() if isinstance(m, nn.Linear)}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in linear):
            remedy = closest(pattern, linear)
            raise UserError(f"{pattern!r} matches no linear layer", SETTING, remedy)
    return {
        name: layer
        for name, layer in linear.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


@torch.no_grad()
def merge(policy: nn.Module) -> None:
    """Make each adapted weight an ordinary one, without dropout. All parameters stay frozen.

    The policy then has the names, shapes and speed of one that was never adapted.
    """
    for layer in list(_adapted(policy)):
        layer.parametrizations.eval()
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _adapted(policy: nn.Module) -> Iterator[nn.Module]:
    for module in policy.modules():
        if parametrize.is_parametrized(module, "weight"):
            yield module
