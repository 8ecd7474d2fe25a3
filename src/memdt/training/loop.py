"""One update: unroll a policy over the segments of a batch and step the optimiser.

Source: RATE section 4.2 and Figure 2. The paper says both that memory is detached and that gradient
flows through it; the public code cuts it and steps after every segment. Both are here:

    full       segment 1 -> segment 2 -> segment 3 -> loss of all -> one optimiser step
    detached   segment 1 -> step | segment 2 -> step | segment 3 -> step       (Deviation D16)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memdt.data.segments import Segment
from memdt.errors import UserError
from memdt.models.interface import Memory, SequencePolicy
from memdt.settings.schema import TrainingSettings
from memdt.training.losses import Score, action_score
from memdt.training.optimiser import Optimiser


@dataclass
class Trainer:
    """A policy, its optimiser and how gradient flows."""

    policy: SequencePolicy
    settings: TrainingSettings
    optimiser: Optimiser | None  # None: a policy without weights
    generator: torch.Generator  # of the noise on memory

    def update(self, segments: Sequence[Segment]) -> tuple[Score, float]:
        """Train on one batch, a Segment per segment index; the score before and gradient norm."""
        if self.settings.gradient_through_memory == "full":
            score = self.unroll(segments)
            return score, self._step(score.mean_loss)
        return self._update_detached(segments)

    def unroll(self, segments: Sequence[Segment]) -> Score:
        """The score over all segments, memory carried between them with its gradient.

        Later segments hold fewer rows: episodes that have ended are no longer there. The loss
        holds the charge for overwriting (``training.write_cost``).
        """
        memory: Memory | None = None
        total: Score | None = None
        costs: list[Tensor] = []
        for index, segment in enumerate(segments):
            # Charged where memory is read again and something could be lost: before the first
            # segment memory is empty, and a charge on filling it ends in memory never written.
            if self.settings.write_cost and memory is not None and index > 1:
                costs.append(_cost(memory.rows(len(segment))))
            score, memory = self._segment(segment, memory)
            total = score if total is None else total + score
        assert total is not None
        if not costs:
            return total
        charge = self.settings.write_cost * torch.cat(costs).mean()
        return replace(total, loss=total.loss + charge * total.steps)

    def _segment(self, segment: Segment, memory: Memory | None) -> tuple[Score, Memory]:
        """One segment, from the memory of the one before; without recurrence each stands alone."""
        bfloat16 = self.settings.precision == "bfloat16"
        with torch.autocast(segment.mask.device.type, torch.bfloat16, enabled=bfloat16):
            if memory is None or not self.policy.recurrent:
                memory = self.policy.memory_after(segment.demonstration, len(segment))
            outputs, memory = self.policy(segment, memory.rows(len(segment)))
        if self.settings.memory_noise:
            memory = memory.edit(self._noisy)
        return action_score(outputs, segment), memory

    def _noisy(self, tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=self.generator, device=tensor.device)
        return tensor + self.settings.memory_noise * noise

    def _update_detached(self, segments: Sequence[Segment]) -> tuple[Score, float]:
        memory: Memory | None = None
        scores, norm = [], 0.0
        for segment in segments:
            score, memory = self._segment(segment, memory)
            norm = self._step(score.mean_loss)
            memory = memory.detach()
            scores.append(Score(score.loss.detach(), score.correct, score.steps))
        return sum(scores[1:], scores[0]), norm

    def _step(self, loss: Tensor) -> float:
        if self.optimiser is None:
            return 0.0
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = self.policy.parameters()
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.settings.gradient_clip)
        self.optimiser.step()
        return float(norm)


def _cost(memory: Memory) -> Tensor:
    cost = memory.cost()
    if cost is None:
        remedy = "set it to 0, or model.memory_update to gate or binary_gate"
        raise UserError("this model has no gates to charge", "training.write_cost", remedy)
    return cost


def with_idle_segments(
    segments: list[Segment], most: int, generator: torch.Generator
) -> list[Segment]:
    """Repeat a middle segment up to ``most`` times, so that memory is carried for longer.

    Neither the first segment nor the last is repeated, and only rows that go on are:

        s1 s2 s3 s4   ->   s1 s2 s3' s3' s3 s4
    """
    if most == 0 or len(segments) < 3:
        return segments
    middle = int(torch.randint(1, len(segments) - 1, (), generator=generator))
    copies = int(torch.randint(0, most + 1, (), generator=generator))
    # Rows that end in the middle segment do not go on: their copy would show the end twice.
    going_on = segments[middle].rows(len(segments[middle + 1]))
    return segments[: middle + 1] + [going_on] * copies + segments[middle + 1 :]
