"""The learning curve of a stage: figures of its updates, and a row of curve.csv every few updates.

A learner returns each figure of an update as a tensor, whose value is only read when a row is
written. The shape of the tensor decides what the row shows:

    one number      the latest value, such as a learning rate
    [sum, count]    the mean since the last row, such as a loss over the real steps of a batch
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the report reads curves without torch
    from torch import Tensor

FIXED_COLUMNS = ("stage", "update", "segments")  # every curve begins with these


def mean(total: Tensor, count: int | Tensor) -> Tensor:
    """Return a figure that is averaged: a sum over ``count`` steps or rows, without its gradient.

    The result is a tensor [sum, count] on the device of ``total``.
    """
    import torch

    # Filled on the device, because a copy from the host would make the host wait.
    number = total.new_full((), count) if isinstance(count, int) else count.to(total.dtype)
    return torch.stack([total.detach(), number])


@dataclass
class Curve:
    """The rows so far, and the figures since the last one."""

    rows: list[str] = field(default_factory=list)
    figures: dict[str, Tensor] = field(default_factory=dict)

    def add(self, figures: dict[str, Tensor]) -> None:
        """Add the figures of one update."""
        for name, figure in figures.items():
            total = self.figures.get(name)
            if total is not None and figure.dim():
                figure = total.to(figure.device) + figure  # after a resume the sum is on the host
            self.figures[name] = figure

    def add_row(self, fixed: Sequence[int], columns: Sequence[str]) -> dict[str, float]:
        """Write a row; returns what it shows of ``columns``."""
        values = {name: figure_value(self.figures[name]) for name in columns}
        cells = [str(number) for number in fixed] + [f"{value:.6g}" for value in values.values()]
        self.rows.append(",".join(cells) + "\n")
        self.figures = {}
        return values

    def text(self, columns: Sequence[str]) -> str:
        """Return the content of curve.csv."""
        return ",".join((*FIXED_COLUMNS, *columns)) + "\n" + "".join(self.rows)


def figure_value(figure: Tensor) -> float:
    """What a figure shows: itself, or its mean."""
    return float(figure[0] / figure[1]) if figure.dim() else float(figure)
