"""The loss over action tokens, averaged over real steps and never over padding (Deviation D15)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from memdt.data.segments import Segment


@dataclass(frozen=True)
class Score:
    """Sums over the real steps of segments. Scores can be added; means are taken at the end."""

    loss: Float[Tensor, ""]
    correct: Float[Tensor, ""]
    steps: int

    def __add__(self, other: Score) -> Score:
        """Return the sums over the steps of both."""
        return Score(self.loss + other.loss, self.correct + other.correct, self.steps + other.steps)

    @property
    def mean_loss(self) -> Tensor:
        """Loss per real step."""
        return self.loss / self.steps

    @property
    def accuracy(self) -> float:
        """Share of real steps whose most likely action is the dataset's; nan for continuous ones.

        Reading it waits for the device.
        """
        return float(self.correct) / self.steps


def action_score(outputs: Float[Tensor, "batch time outputs"], segment: Segment) -> Score:
    """Return the loss against ``segment.learnt``: cross entropy, or squared error if continuous.

    Source: RATE section 4.2 (T-Maze, ViZDoom, Atari) and Table 5 (MuJoCo: MSE).
    """
    real, actions = segment.mask, segment.learnt
    if actions.is_floating_point():
        errors = functional.mse_loss(outputs[real], actions[real], reduction="none").mean(-1)
        return Score(errors.sum(), errors.new_tensor(torch.nan), int(real.sum()))
    # Full precision: under autocast outputs are bfloat16, too coarse for a sum over many steps.
    logits, labels = outputs[real].float(), actions[real]
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    correct = (logits.detach().argmax(-1) == labels).float().sum()
    return Score(loss, correct, labels.shape[0])
