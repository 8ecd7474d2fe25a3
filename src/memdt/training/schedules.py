"""Learning rates as pure functions of the update's number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from memdt.settings.schema import TrainingSettings
from memdt.training.optimiser import Optimiser


def learning_rate_factor(
    update: int, updates: int, warmup: int, schedule: str, final_fraction: float
) -> float:
    """Return the factor on the learning rate at an update, counted from 0.

    The factor rises linearly over ``warmup`` updates. Then it stays at 1, or falls to
    ``final_fraction`` at the last of all ``updates``, in a line or a half cosine.

    >>> [learning_rate_factor(u, 4, 2, "constant", 0.1) for u in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """
    if update < warmup:
        return (update + 1) / warmup
    if schedule == "constant":
        return 1.0
    # Updates count from 0: the last of them reaches the end of the schedule.
    progress = (update - warmup) / max(1, updates - 1 - warmup)
    remaining = 1.0 - progress if schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return final_fraction + (1.0 - final_fraction) * remaining


def set_learning_rate(
    optimiser: Optimiser | None, training: TrainingSettings, update: int, updates: int
) -> Tensor:
    """Set the learning rate of an update out of ``updates``, and return it for the curve."""
    factor = learning_rate_factor(
        update, updates, training.warmup_updates, training.schedule,
        training.final_learning_rate_fraction,
    )  # fmt: skip
    rate = training.learning_rate * factor
    for group in optimiser.param_groups if optimiser else ():
        group["lr"] = rate
    return torch.tensor(rate, dtype=torch.float64)
