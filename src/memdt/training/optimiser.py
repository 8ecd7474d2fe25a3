"""AdamW with the library's arithmetic, and without the compiler that the library's class imports.

The first ``torch.optim.AdamW`` of a process imports ``torch._dynamo``, a good part of the start of
every training job, and a curriculum has many. This one calls the function behind it, in its fused
form, which does all parameters at once. A test holds the two together bit for bit.
Source: decoupled weight decay, Loshchilov & Hutter 2019.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from memdt.settings.schema import TrainingSettings


@runtime_checkable
class Optimiser(Protocol):
    """What training asks of an optimiser; those of ``torch.optim`` offer it too."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""

    def step(self) -> Any:
        """Update the parameters."""


class AdamW:
    """The part of ``torch.optim.AdamW(..., fused=True)`` that training uses."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        eps: float = 1e-8,
    ) -> None:
        """``lr`` may be changed later, in ``param_groups``."""
        self.parameters = list(parameters)
        self.param_groups: list[dict[str, Any]] = [{"lr": lr}]
        self.betas, self.weight_decay, self.eps = betas, weight_decay, eps
        self.averages = [torch.zeros_like(p) for p in self.parameters]
        self.square_averages = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def state(self) -> dict[str, Tensor]:
        """What it remembers of the updates so far, by name; these tensors themselves, no copies."""
        kinds = {
            "average": self.averages,
            "square_average": self.square_averages,
            "steps": self.steps,
        }
        return {
            f"{kind}.{index}": tensor
            for kind, tensors in kinds.items()
            for index, tensor in enumerate(tensors)
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what ``state`` gave, bit for bit."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        chosen = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        gradients = [p.grad for p in self.parameters if p.grad is not None]

        def of(values: list[Any]) -> list[Tensor]:
            return [values[i] for i in chosen]

        adamw(
            of(self.parameters), gradients, of(self.averages), of(self.square_averages), [],
            of(self.steps), fused=True, amsgrad=False, beta1=self.betas[0], beta2=self.betas[1],
            lr=self.param_groups[0]["lr"], weight_decay=self.weight_decay, eps=self.eps,
            maximize=False,
        )  # fmt: skip


def adamw_of(policy: nn.Module, training: TrainingSettings) -> AdamW | None:
    """AdamW, anew in each stage (Deviation D17); None for a policy without weights."""
    parameters = [p for p in policy.parameters() if p.requires_grad]
    if not parameters:
        return None
    return AdamW(
        parameters,
        lr=training.learning_rate,
        betas=(training.beta_1, training.beta_2),
        weight_decay=training.weight_decay,
    )
