"""The loss over action tokens, averaged over real ones, never over padding (Deviation D15).

Beside the plain one, the two that RATE section 4.2 names and leaves aside: weights inverse to how
often an action is taken, and the last action of an episode alone. Weights have a mean of 1 over the
real steps of a batch, so that losses stay comparable. Deviation D81.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from memdt.data.segments import Segment
from memdt.errors import UserError

ActionLoss = Literal["all", "balanced", "last"]


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


def action_score(
    outputs: Float[Tensor, "batch time outputs"],
    segment: Segment,
    weights: Float[Tensor, "batch time"] | None = None,
) -> Score:
    """Cross entropy for discrete actions, squared error for continuous ones, of what is learnt.

    ``weights`` multiply the loss of each step (`step_weights`); None: all steps count alike.

    Source: RATE section 4.2 (T-Maze, ViZDoom, Atari) and Table 5 (MuJoCo: MSE).
    """
    real, actions = segment.mask, segment.learnt
    if actions.is_floating_point():
        errors = functional.mse_loss(outputs[real], actions[real], reduction="none").mean(-1)
        errors = errors if weights is None else errors * weights[real]
        return Score(errors.sum(), errors.new_tensor(torch.nan), int(real.sum()))
    # Full precision: under autocast outputs are bfloat16, too coarse for a sum over many steps.
    logits, labels = outputs[real].float(), actions[real]
    if weights is None:
        loss = functional.cross_entropy(logits, labels, reduction="sum")
    else:
        losses = functional.cross_entropy(logits, labels, reduction="none")
        loss = (losses * weights[real]).sum()
    correct = (logits.detach().argmax(-1) == labels).float().sum()
    return Score(loss, correct, labels.shape[0])


def step_weights(
    segments: Sequence[Segment], kind: ActionLoss, whole_episodes: bool = False
) -> list[Float[Tensor, "batch time"] | None]:
    """The weights of all steps of a batch, segment by segment; None where all count alike.

    ``whole_episodes``: each is a window of other rows, not the next segment of the same ones.

    UserError where balanced weights are asked for and actions are no choices.
    """
    if kind == "all":
        return [None] * len(segments)
    if kind == "last":
        continuing = (
            [0] * len(segments) if whole_episodes else [len(one) for one in segments[1:]] + [0]
        )
        raw = [_last_steps(*pair) for pair in zip(segments, continuing, strict=True)]
    else:
        raw = _balanced(segments)
    steps = sum(int(segment.mask.sum()) for segment in segments)
    total = torch.stack([weights.sum() for weights in raw]).sum()
    return [weights * (steps / total) for weights in raw]


def _last_steps(segment: Segment, continuing: int) -> Float[Tensor, "batch time"]:
    """1 at the last real step of the rows from number ``continuing`` on, which end here; else 0."""
    weights = torch.zeros(segment.mask.shape, device=segment.mask.device)
    rows = torch.arange(continuing, len(segment), device=weights.device)
    weights[rows, segment.mask[continuing:].sum(dim=1) - 1] = 1.0
    return weights


def _balanced(segments: Sequence[Segment]) -> list[Float[Tensor, "batch time"]]:
    """1 over how often a step's action is taken in the batch; 0 at padding."""
    if segments[0].learnt.is_floating_point():
        raise UserError(
            "continuous actions have no classes", "training.action_loss", "set it to all or last"
        )
    counts = torch.cat([segment.learnt[segment.mask] for segment in segments]).bincount()
    # Padding is action 0. Where 0 is never taken, infinity times the mask would be NaN.
    inverse = 1.0 / counts.clamp(min=1)
    return [
        inverse[segment.learnt.clamp(max=len(counts) - 1)] * segment.mask for segment in segments
    ]
