"""Behaviour cloning over segments: predict the actions of the dataset, memory carried along.

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

from memdt.data.batches import Batches
from memdt.data.demonstrations import Demonstrations
from memdt.data.segments import EpisodeTensors, Segment
from memdt.errors import UserError
from memdt.models.interface import Memory, Policy, SequencePolicy
from memdt.seeding import generator
from memdt.settings import slices
from memdt.settings.schema import DemonstrationSettings, Frozen, TrainingSettings
from memdt.training.curve import mean
from memdt.training.learner import Effort, StageContext, part
from memdt.training.losses import Score, action_score
from memdt.training.optimiser import AdamW, adamw_of
from memdt.training.schedules import set_learning_rate


class Settings(Frozen):
    """Nothing of its own: behaviour cloning is what ``training`` describes."""


@dataclass
class BehaviourCloning:
    """A policy, its optimiser and how gradient flows."""

    policy: SequencePolicy
    training: TrainingSettings
    optimiser: AdamW | None  # None: a policy without weights
    noise: torch.Generator  # of the noise on memory
    segment_length: int
    seed: int = 0
    demonstration: DemonstrationSettings | None = None  # what the model is shown, if anything
    updates: int = 1  # of the stage, which the learning rate's schedule spans
    batches: Batches | None = None  # of the stage

    columns = ("loss", "accuracy", "learning_rate", "gradient_norm")

    def sampler(self, episodes: EpisodeTensors, stage: slices.Stage) -> SegmentSampler:
        """Every episode of the stage once an epoch, as segments."""
        shown = Demonstrations.of(episodes, self.demonstration)
        batches = self.batches = Batches.of_stage(
            episodes, stage, self.segment_length, self.training.start, self.seed, shown
        )
        whole, idle = self.policy.whole_episodes, self.training.idle_segments
        sampler = SegmentSampler(batches, whole, idle, self.seed, stage.number)
        self.updates = stage.updates or sampler.updates(stage.epochs or 1)
        return sampler

    def update(self, number: int, batch: Sequence[Segment]) -> dict[str, Tensor]:
        """Train on one batch, a Segment per segment index; the loss is that before the update."""
        rate = set_learning_rate(self.optimiser, self.training, number, self.updates)
        if self.training.gradient_through_memory == "full":
            score = self.unroll(batch)
            norm = self._step(score.mean_loss)
        else:
            score, norm = self._update_detached(batch)
        return {
            "loss": mean(score.loss, score.steps),
            # In float64, as Python divides: counts of steps are exact in it.
            "accuracy": mean(score.correct.double(), score.steps),
            "learning_rate": rate,
            "gradient_norm": norm,
        }

    def effort(self, updates: int) -> Effort:
        """Memory that is cut makes a step of the optimiser for each segment, or window."""
        assert self.batches is not None
        extents = [self.batches.extent(number) for number in range(updates)]
        steps = updates
        detached = self.training.gradient_through_memory == "detached"
        whole = self.policy.whole_episodes
        if detached:
            steps = sum(segments for _, segments in extents)
            if whole:
                steps = sum(len(self.batches.windows(number)) for number in range(updates))
        spans = whole or (self.policy.carries_gradient and not detached)
        seen = sum(real for real, _ in extents)
        return Effort(steps if self.optimiser else 0, seen, self.batches.longest if spans else 1)

    def state(self) -> dict[str, Tensor]:
        """Weights, the optimiser's averages, and the generator of the noise."""
        optimiser = {} if self.optimiser is None else self.optimiser.state()
        return {
            **{f"policy.{name}": tensor for name, tensor in self.policy.state_dict().items()},
            **{f"optimiser.{name}": tensor for name, tensor in optimiser.items()},
            "noise": self.noise.get_state(),
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Fill them again."""
        self.policy.load_state_dict(part(state, "policy"))
        if self.optimiser is not None:
            self.optimiser.load_state(part(state, "optimiser"))
        self.noise.set_state(state["noise"])

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
            if self.training.write_cost and memory is not None and index > 1:
                costs.append(_cost(memory.rows(len(segment))))
            score, memory = self._segment(segment, memory)
            total = score if total is None else total + score
        assert total is not None
        if not costs:
            return total
        charge = self.training.write_cost * torch.cat(costs).mean()
        return replace(total, loss=total.loss + charge * total.steps)

    def _segment(self, segment: Segment, memory: Memory | None) -> tuple[Score, Memory]:
        """One segment, from the memory of the one before; without recurrence each stands alone."""
        bfloat16 = self.training.precision == "bfloat16"
        with torch.autocast(segment.mask.device.type, torch.bfloat16, enabled=bfloat16):
            if memory is None or not self.policy.recurrent:
                memory = self.policy.memory_after(segment.demonstration, len(segment))
            outputs, memory = self.policy(segment, memory.rows(len(segment)))
        if self.training.memory_noise:
            memory = memory.edit(self._noisy)
        return action_score(outputs, segment), memory

    def _noisy(self, tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=self.noise, device=tensor.device)
        return tensor + self.training.memory_noise * noise

    def _update_detached(self, segments: Sequence[Segment]) -> tuple[Score, Tensor]:
        memory: Memory | None = None
        scores, norm = [], torch.zeros(())
        for segment in segments:
            score, memory = self._segment(segment, memory)
            norm = self._step(score.mean_loss)
            memory = memory.detach()
            scores.append(Score(score.loss.detach(), score.correct, score.steps))
        return sum(scores[1:], scores[0]), norm

    def _step(self, loss: Tensor) -> Tensor:
        """One step of the optimiser; returns the norm of the gradient before clipping."""
        if self.optimiser is None:
            return torch.zeros(())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = self.policy.parameters()
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.training.gradient_clip)
        self.optimiser.step()
        return norm


def build(policy: Policy, context: StageContext) -> BehaviourCloning:
    """Behaviour cloning of any policy over segments."""
    if not isinstance(policy, SequencePolicy):
        name = context.settings.model["name"]
        remedy = "name the learner of this model in its constant LEARNER"
        raise UserError("behaviour cloning needs a policy over segments", f"model {name}", remedy)
    settings, stage = context.settings, context.stage
    return BehaviourCloning(
        policy.train(),
        settings.training,
        adamw_of(policy, settings.training),
        generator(context.seed, "memory noise", stage.number, device=str(context.device)),
        settings.segment_length,
        context.seed,
        slices.demonstration(settings),
    )


@dataclass(frozen=True)
class SegmentSampler:
    """The segments that each update is trained on."""

    batches: Batches
    whole_episodes: bool  # as one window each
    idle_segments: int
    seed: int
    stage: int

    def __call__(self, number: int) -> list[Segment]:
        """Those of one update."""
        if self.whole_episodes:
            return self.batches.windows(number)
        draws = generator(self.seed, "idle", self.stage, number)
        return with_idle_segments(self.batches.batch(number), self.idle_segments, draws)

    def updates(self, epochs: int) -> int:
        """Updates after which every episode has been seen ``epochs`` times."""
        return self.batches.updates(epochs)


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


def _cost(memory: Memory) -> Tensor:
    cost = memory.cost()
    if cost is None:
        remedy = "set it to 0, or model.memory_update to gate or binary_gate"
        raise UserError("this model has no gates to charge", "training.write_cost", remedy)
    return cost
