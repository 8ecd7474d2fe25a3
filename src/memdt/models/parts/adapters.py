"""LoRA: matrices of low rank beside the weights of named linear layers; they alone are trained.

Source: Hu et al. 2022 section 4; DT-Mem section 4.4 and Algorithm 2, there on the memory alone.

    weight + alpha / rank * up @ down        weight  outputs x inputs   frozen
                                             up      outputs x rank     0 at first: nothing changes
                                             down    rank x inputs      drawn

An adapter replaces the weight and not the layer's call: attention here multiplies weights with
each other and never calls the layers that they belong to. Wherever a model takes ``layer.weight``,
it gets the sum; merged, the sum is an ordinary weight again, and the model what it was before.
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

WHERE = "training.adapter.layers"


class LowRank(nn.Module):
    """What is added to one weight; given the weight, it returns the sum."""

    def __init__(self, weight: Tensor, settings: AdapterSettings) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.scale, self.dropout = settings.alpha / settings.rank, settings.dropout
        self.down = nn.Parameter(weight.new_empty(settings.rank, inputs))
        self.up = nn.Parameter(weight.new_zeros(outputs, settings.rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as a linear layer's own weight

    def forward(self, weight: Float[Tensor, "outputs inputs"]) -> Float[Tensor, "outputs inputs"]:
        """The adapted weight.

        Dropout leaves inputs of the layer out. Deviation D47: the same ones for all tokens, since
        an adapted weight does not see them; every time that the weight is asked for, others.
        """
        down: Tensor = self.down
        if self.dropout and self.training:
            down = down * functional.dropout(torch.ones_like(down[0]), self.dropout)
        return weight + self.scale * self.up @ down


@dataclass(frozen=True)
class Trainable:
    """How much of a policy is trained."""

    trainable: int
    total: int  # adapters included

    @property
    def share(self) -> float:
        """From 0 to 1; of a policy without parameters 0."""
        return self.trainable / max(1, self.total)


def trainable(policy: nn.Module) -> Trainable:
    """Numbers of parameters, those that are trained and all."""
    parameters = list(policy.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return Trainable(trained, sum(p.numel() for p in parameters))


def adapt(policy: nn.Module, settings: AdapterSettings) -> list[str]:
    """Freeze a policy and put an adapter beside the layers named; returns their full names.

    Outputs stay what they were until an adapter is trained. ``down`` is drawn from the generator
    of torch. Raises UserError, and changes nothing, where a name fits no linear layer or where the
    policy has adapters already.
    """
    if next(_adapted(policy), None) is not None:
        raise UserError("the policy has adapters already", WHERE, "merge them first")
    found = _named(policy, settings.layers)
    policy.requires_grad_(False)
    for layer in found.values():
        adapter = LowRank(layer.weight, settings).train(layer.training)
        parametrize.register_parametrization(layer, "weight", adapter)
    return list(found)


def _named(policy: nn.Module, patterns: tuple[str, ...]) -> dict[str, nn.Linear]:
    """The linear layers that any of the patterns fits, in the order of the policy."""
    linear = {name: m for name, m in policy.named_modules() if isinstance(m, nn.Linear)}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in linear):
            remedy = closest(pattern, linear)
            raise UserError(f"{pattern!r} is the name of no linear layer", WHERE, remedy)
    return {
        name: layer
        for name, layer in linear.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


@torch.no_grad()
def merge(policy: nn.Module) -> None:
    """Make each adapted weight an ordinary one, without dropout; all stays frozen.

    The policy then has the names, the shapes and the speed of one that was never adapted.
    """
    for layer in list(_adapted(policy)):
        layer.parametrizations.eval()
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _adapted(policy: nn.Module) -> Iterator[nn.Module]:
    for module in policy.modules():
        if parametrize.is_parametrized(module, "weight"):
            yield module
