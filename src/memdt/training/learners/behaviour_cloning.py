"""Behaviour cloning over segments: predicts the dataset's actions, carrying memory along.

Source: RATE section 4.2 and Figure 2. The paper says in one place that memory is detached, and in
another that gradient flows through it. The public code detaches it and updates after every segment.
``training.gradient_through_memory`` selects one:

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
from memdt.training.losses import Score, action_score, step_weights
from memdt.training.optimiser import AdamW, adamw_of
from memdt.training.schedules import set_learning_rate


class Settings(Frozen):
    """Behaviour cloning has no settings of its own; ``training`` describes all of it."""


@dataclass
class BehaviourCloning:
    """Trains a policy over segments by supervised learning of actions."""

    policy: SequencePolicy
    training: TrainingSettings
    optimiser: AdamW | None  # None: a policy without weights
    noise: torch.Generator  # of the noise on memory
    segment_length: int
    seed: int = 0
    demonstration: DemonstrationSettings | None = None  # None: the model reads no demonstration
    updates: int = 1  # of the stage, which the learning rate's schedule spans
    batches: Batches | None = None  # of the stage

    columns = ("loss", "accuracy", "learning_rate", "gradient_norm")

    def sampler(self, episodes: EpisodeTensors, stage: slices.Stage) -> SegmentSampler:
        """Return batches that go through every episode of the stage once an epoch, as segments."""
        demonstrations = Demonstrations.of(episodes, self.demonstration)
        batches = self.batches = Batches.of_stage(
            episodes, stage, self.segment_length, self.training.start, self.seed, demonstrations,
            self.training.window_draw,
        )  # fmt: skip
        whole, idle = self.policy.whole_episodes, self.training.idle_segments
        sampler = SegmentSampler(batches, whole, idle, self.seed, stage.number)
        self.updates = stage.updates or sampler.updates(stage.epochs or 1)
        return sampler

    def update(self, number: int, batch: Sequence[Segment]) -> dict[str, Tensor]:
        """Train on one batch, a Segment for each segment index; the loss is from before the update.

        Returns the figures of ``columns``.
        """
        rate = set_learning_rate(self.optimiser, self.training, number, self.updates)
        if self.training.gradient_through_memory == "full":
            score = self.unroll(batch)
            norm = self._step(score.mean_loss)
        else:
            score, norm = self._update_detached(batch)
        return {
            "loss": mean(score.loss, score.steps),
            # float64 holds counts of steps exactly.
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
        """Return weights, the optimiser's averages, and the state of the noise generator."""
        optimiser = {} if self.optimiser is None else self.optimiser.state()
        return {
            **{f"policy.{name}": tensor for name, tensor in self.policy.state_dict().items()},
            **{f"optimiser.{name}": tensor for name, tensor in optimiser.items()},
            "noise": self.noise.get_state(),
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        self.policy.load_state_dict(part(state, "policy"))
        if self.optimiser is not None:
            self.optimiser.load_state(part(state, "optimiser"))
        self.noise.set_state(state["noise"])

    def unroll(self, segments: Sequence[Segment]) -> Score:
        """Return the score over all segments; memory passes between them with its gradient.

        Later segments have fewer rows, because some episodes have ended. The loss includes the cost
        of overwriting memory (``training.write_cost``).
        """
        memory: Memory | None = None
        total: Score | None = None
        costs: list[Tensor] = []
        weights = self._weights(segments)
        for index, segment in enumerate(segments):
            # Memory is empty before the first segment, so its first write destroys nothing. A cost
            # on that write would teach the model never to write.
            if self.training.write_cost and memory is not None and index > 1:
                costs.append(_cost(memory.rows(len(segment))))
            score, memory = self._segment(segment, memory, weights[index])
            total = score if total is None else total + score
        assert total is not None
        if not costs:
            return total
        cost = self.training.write_cost * torch.cat(costs).mean()
        return replace(total, loss=total.loss + cost * total.steps)

    def _segment(
        self, segment: Segment, memory: Memory | None, weights: Tensor | None = None
    ) -> tuple[Score, Memory]:
        """One segment, from the memory of the one before; without recurrence each stands alone."""
        bfloat16 = self.training.precision == "bfloat16"
        with torch.autocast(segment.mask.device.type, torch.bfloat16, enabled=bfloat16):
            if memory is None or not self.policy.recurrent:
                memory = self.policy.memory_after(segment.demonstration, len(segment))
            # Longest rows come first, so those that go on are the first rows of the memory.
            outputs, memory = self.policy(segment, memory.rows(len(segment)))
        if self.training.memory_noise:
            memory = memory.edit(self._noisy)
        return action_score(outputs, segment, weights), memory

    def _weights(self, segments: Sequence[Segment]) -> list[Tensor | None]:
        return step_weights(segments, self.training.action_loss, self.policy.whole_episodes)

    def _noisy(self, tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=self.noise, device=tensor.device)
        return tensor + self.training.memory_noise * noise

    def _update_detached(self, segments: Sequence[Segment]) -> tuple[Score, Tensor]:
        memory: Memory | None = None
        scores, norm = [], torch.zeros(())
        weights = self._weights(segments)
        for segment, step_weight in zip(segments, weights, strict=True):
            score, memory = self._segment(segment, memory, step_weight)
            norm = self._step(score.mean_loss)
            # No gradient reaches what earlier segments wrote: the public code (Deviation D16).
            memory = memory.detach()
            scores.append(Score(score.loss.detach(), score.correct, score.steps))
        return sum(scores[1:], scores[0]), norm

    def _step(self, loss: Tensor) -> Tensor:
        """Take one step of the optimiser, and return the gradient's norm before clipping."""
        if self.optimiser is None:
            return torch.zeros(())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = self.policy.parameters()
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.training.gradient_clip)
        self.optimiser.step()
        return norm


def build(policy: Policy, context: StageContext) -> BehaviourCloning:
    """Build behaviour cloning for a policy over segments.

    Raises UserError for any other policy.
    """
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
    """The segments of each update."""

    batches: Batches
    whole_episodes: bool  # True: each episode is one window
    idle_segments: int
    seed: int
    stage: int

    def __call__(self, number: int) -> list[Segment]:
        """Return the segments of one update."""
        if self.whole_episodes:
            return self.batches.windows(number)
        draws = generator(self.seed, "idle", self.stage, number)
        return with_idle_segments(self.batches.batch(number), self.idle_segments, draws)

    def updates(self, epochs: int) -> int:
        """Return the number of updates that go through every episode ``epochs`` times."""
        return self.batches.updates(epochs)


def with_idle_segments(
    segments: list[Segment], most: int, generator: torch.Generator
) -> list[Segment]:
    """Repeat a middle segment up to ``most`` times, so that memory must last longer.

    The first and last segments are never repeated. Copies only have the rows that continue:

        s1 s2 s3 s4   ->   s1 s2 s3' s3' s3 s4
    """
    if most == 0 or len(segments) < 3:
        return segments
    middle = int(torch.randint(1, len(segments) - 1, (), generator=generator))
    copies = int(torch.randint(0, most + 1, (), generator=generator))
    # A copy of a row that ends in the middle segment would show the end of its episode twice.
    continuing = segments[middle].rows(len(segments[middle + 1]))
    return segments[: middle + 1] + [continuing] * copies + segments[middle + 1 :]


def _cost(memory: Memory) -> Tensor:
    cost = memory.cost()
    if cost is None:
        remedy = "set it to 0, or model.memory_update to gate or binary_gate"
        what = "this model has no gates whose writing could cost something"
        raise UserError(what, "training.write_cost", remedy)
    return cost
