"""AdamW with PyTorch's arithmetic, but without the compiler that PyTorch's class imports.

The first ``torch.optim.AdamW`` of a process imports ``torch._dynamo``, which takes a large part of
the start-up time of a training job, and a curriculum has many jobs. This class calls the function
behind it in its fused form, which updates all parameters at once. A test checks that both give the
same bits. Source: decoupled weight decay, Loshchilov & Hutter 2019.
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
    """The methods that training uses of an optimiser; those of ``torch.optim`` have them too."""

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
        """Create an optimiser whose ``lr`` can be changed later, in ``param_groups``."""
        self.parameters = list(parameters)
        self.param_groups: list[dict[str, Any]] = [{"lr": lr}]
        self.betas, self.weight_decay, self.eps = betas, weight_decay, eps
        self.averages = [torch.zeros_like(p) for p in self.parameters]
        self.square_averages = [torch.zeros_like(p) for p in self.parameters]
        # The fused kernel reads the counts on the device that the parameters are on.
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def state(self) -> dict[str, Tensor]:
        """Return the averages and step counts by name, without copying them."""
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
        """Restore what ``state`` returned, bit for bit."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        # A weight without a gradient is left out: with a gradient of zero it would still decay.
        indices = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        gradients = [p.grad for p in self.parameters if p.grad is not None]

        def select(values: list[Any]) -> list[Tensor]:
            return [values[i] for i in indices]

        adamw(
            select(self.parameters), gradients, select(self.averages),
            select(self.square_averages), [], select(self.steps), fused=True, amsgrad=False,
            beta1=self.betas[0], beta2=self.betas[1], lr=self.param_groups[0]["lr"],
            weight_decay=self.weight_decay, eps=self.eps, maximize=False,
        )  # fmt: skip


def adamw_of(policy: nn.Module, training: TrainingSettings) -> AdamW | None:
    """Return a new AdamW for a stage (Deviation D17); None for a policy without weights."""
    parameters = [p for p in policy.parameters() if p.requires_grad]
    if not parameters:
        return None
    return AdamW(
        parameters,
        lr=training.learning_rate,
        betas=(training.beta_1, training.beta_2),
        weight_decay=training.weight_decay,
    )
