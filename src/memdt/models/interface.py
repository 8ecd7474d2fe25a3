"""The interfaces that all generic code depends on: a policy, and a policy over segments.

    Policy            ``begin`` and ``act``: all that a rollout calls
    SequencePolicy    ``forward`` over a segment, and a memory carried to the next one

Training unrolls ``forward`` over the segments of an episode; decoding takes one environment step at
a time with a key/value cache and must give the same logits (a contract test).

Legend of dimensions for the whole package:
    batch   episodes side by side            time    steps in a segment (K in RATE section 4.2)
    token   3 * time, (return-to-go, observation, action) interleaved; logits at the observation
    slot    vectors of the working memory    width   model dimension          head    attention head
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from memdt.data.segments import Segment
from memdt.environments.spaces import Spaces as Spaces  # what every model imports from here
from memdt.models.parts.input_scaling import InputScaling


@dataclass(frozen=True)
class Memory:
    """What a model carries from one segment to the next: a frozen bundle of tensors, batch first.

    A model without memory uses this class itself. Other models add fields that are tensors or
    tuples of tensors. Generic code never looks inside.
    """

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Apply ``function`` to every tensor and return the resulting memory."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(
            **{
                name: function(value) if isinstance(value, Tensor) else tuple(map(function, value))
                for name, value in values.items()
            }
        )

    def edit(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Apply ``function`` to the content only, and not to cached hidden states, for example."""
        return self.map(function)

    def with_content_of(self, other: Self) -> Self:
        """Return this memory with its content (see ``edit``) replaced by that of ``other``."""
        return other

    def cost(self) -> Float[Tensor, " batch"] | None:
        """The cost of writing this memory, which training may penalise; None if there is none.

        It is the share of the memory that was overwritten, from 0 to 1, with its gradient.
        """
        return None

    def rows(self, rows: int | slice | Bool[Tensor, " batch"]) -> Self:
        """Select the first ``rows`` rows of the batch, a slice of them, or those marked true."""
        index = slice(rows) if isinstance(rows, int) else rows
        return self.map(lambda tensor: tensor[index])

    def detach(self) -> Self:
        """Return the same values without their gradient."""
        return self.map(torch.Tensor.detach)


@dataclass(frozen=True)
class Step:
    """One environment step as a policy sees it."""

    observation: Tensor  # batch ...
    return_to_go: Float[Tensor, " batch"]
    # batch ...; None at the first step of an episode or segment. Policies keep it themselves, so
    # callers of ``act`` leave it out. Deviation D94: it is not shifted.
    previous_action: Tensor | None = None


@dataclass(frozen=True)
class Choice:
    """How a policy chooses an action from its distribution."""

    greedy: bool  # True: the most likely action; False: a sampled one
    generator: torch.Generator

    def uniform(self, like: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch outputs"]:
        """Draw numbers from [-1, 1], in the shape of ``like``."""
        return 2 * torch.rand(like.shape, generator=self.generator, device=like.device) - 1


@dataclass(frozen=True)
class Segmentation:
    """How a rollout cuts an episode into segments. Policies without segments ignore it."""

    steps: int  # of a segment, K in RATE section 4.2
    context_steps: int  # how far a policy without recurrence looks back
    # Called with the memory of each closed segment; returns the memory for the next one.
    at_border: Callable[[Memory], Memory] = lambda memory: memory


class State(ABC):
    """What a policy remembers between two steps.

    A state is used once, because the next step may write into its tensors.
    """

    @abstractmethod
    def rows(self, rows: Bool[Tensor, " batch"]) -> State:
        """Keep the episodes marked true; the others have ended."""


@dataclass(frozen=True)
class NoState(State):
    """The state of a policy that remembers nothing between steps."""

    def rows(self, rows: Bool[Tensor, " batch"]) -> NoState:
        """Return the state itself."""
        return self


@dataclass(frozen=True)
class AttentionMaps:
    """Attention in one segment; the first and last ``memory_tokens`` queries are memory tokens."""

    weights: Float[Tensor, "batch layers heads queries keys"]
    memory_tokens: int


class Policy(nn.Module, ABC):
    """Acts in an environment, in several episodes side by side. Rollouts use nothing else."""

    def __init__(self, spaces: Spaces) -> None:
        super().__init__()
        self.spaces = spaces
        self.inputs: InputScaling | None = None  # None: as they are

    def scaled(self, step: Step) -> Step:
        """What the policy is trained to see in place of what the environment shows."""
        if self.inputs is None:
            return step
        observation = self.inputs.observations(step.observation)
        return replace(
            step, observation=observation, return_to_go=self.inputs.returns(step.return_to_go)
        )

    @abstractmethod
    def begin(
        self,
        rows: int,
        demonstration: Segment | None = None,
        segmentation: Segmentation | None = None,
    ) -> State:
        """Return the state before the first step of ``rows`` episodes.

        Args:
            rows: number of episodes.
            demonstration: part of another episode for each row, for policies that use one.
            segmentation: how episodes are cut; None: each episode is one segment.
        """

    @abstractmethod
    def act(self, step: Step, state: State, choice: Choice) -> tuple[Tensor, State]:
        """Return the action of each episode (batch ...), and the state after it; see ``scaled``."""


@dataclass(frozen=True)
class SequenceState(State):
    """The progress of a policy over segments through its episodes."""

    segmentation: Segmentation
    decoding: State  # of the open segment
    steps: int = 0  # since the segment was opened
    previous_action: Tensor | None = None

    def rows(self, rows: Bool[Tensor, " batch"]) -> SequenceState:
        """Keep the episodes marked true."""
        previous = None if self.previous_action is None else self.previous_action[rows]
        return replace(self, decoding=self.decoding.rows(rows), previous_action=previous)


WHOLE = Segmentation(sys.maxsize, sys.maxsize)  # one segment, however long an episode is


class SequencePolicy(Policy):
    """A policy over segments of (return-to-go, observation, action) with a memory between them.

    Models implement ``forward`` for training and ``begin_segment``, ``step`` and ``end_segment``
    for decoding. ``begin`` and ``act`` are built on these.
    """

    # False: the model has no recurrence. Its segments are never closed; the window slides instead.
    recurrent: ClassVar[bool] = True
    # Sampled continuous actions are uniform within this distance of the means.
    spread: ClassVar[float] = 0.0
    # True: training feeds whole episodes as one window instead of segments.
    whole_episodes: bool = False

    @property
    def carries_gradient(self) -> bool:
        """Whether a loss reaches the segments before it through the memory."""
        return self.recurrent

    @abstractmethod
    def initial_memory(self, batch: int) -> Memory:
        """Return the memory before the first segment."""

    def prompted(self, memory: Memory, demonstration: Segment) -> Memory:
        """Return the memory before the first segment, given a demonstration.

        Only models whose settings have ``demonstration_steps`` override this. Row i of the
        demonstration belongs to row i of the memory; its masked steps are padding.
        """
        return memory

    def memory_after(self, demonstration: Segment | None, batch: int) -> Memory:
        """Return the memory before the first segment, with or without a demonstration."""
        memory = self.initial_memory(batch)
        return memory if demonstration is None else self.prompted(memory, demonstration)

    @abstractmethod
    def forward(
        self, segment: Segment, memory: Memory
    ) -> tuple[Float[Tensor, "batch time outputs"], Memory]:
        """Return action logits (or means) at every step, and the memory after the segment.

        Logits at a step depend on its return-to-go, its observation and earlier steps only. They
        never depend on its own action or on later steps. If a row ends inside the segment, its
        memory is undefined, because that row has no later segment.
        """

    @abstractmethod
    def begin_segment(self, memory: Memory, context_steps: int) -> State:
        """Open a segment for decoding.

        Args:
            memory: the memory after the segment before.
            context_steps: how far a model without recurrence looks back. Segments of recurrent
                models are closed after this many steps.
        """

    @abstractmethod
    def step(self, step: Step, state: State) -> tuple[Float[Tensor, "batch outputs"], State]:
        """Return action logits (or means) of one environment step, in inference mode."""

    def end_segment(self, last_action: Tensor, state: State) -> Memory:
        """Close a full segment with its last action, and return the memory as ``forward`` does."""
        return Memory()

    def begin(
        self,
        rows: int,
        demonstration: Segment | None = None,
        segmentation: Segmentation | None = None,
    ) -> SequenceState:
        """Open the first segment."""
        return self._open(self.memory_after(demonstration, rows), segmentation or WHOLE)

    def act(self, step: Step, state: State, choice: Choice) -> tuple[Tensor, SequenceState]:
        """Take one cached step. A full segment is closed first, as in training."""
        assert isinstance(state, SequenceState)
        # A segment is closed by the step after its last one, and never at the end of an episode:
        # only then is the last action known and the memory needed.
        if self.recurrent and state.steps == state.segmentation.steps:
            assert state.previous_action is not None
            memory = self.end_segment(state.previous_action, state.decoding)
            state = self._open(state.segmentation.at_border(memory), state.segmentation)
        step = replace(step, previous_action=state.previous_action)
        outputs, decoding = self.step(step, state.decoding)
        actions = self.choose(outputs, choice)
        return actions, replace(
            state, decoding=decoding, steps=state.steps + 1, previous_action=actions
        )

    def _open(self, memory: Memory, segmentation: Segmentation) -> SequenceState:
        steps = segmentation.steps if self.recurrent else segmentation.context_steps
        return SequenceState(segmentation, self.begin_segment(memory, steps))

    def choose(self, outputs: Float[Tensor, "batch outputs"], choice: Choice) -> Tensor:
        """Return the best or a sampled action; ``spread`` bounds samples of continuous ones."""
        if not self.spaces.discrete:
            spread = 0.0 if choice.greedy else self.spread
            return outputs + spread * choice.uniform(outputs) if spread else outputs
        if choice.greedy:
            return outputs.argmax(-1)
        drawn = torch.multinomial(outputs.softmax(-1), 1, generator=choice.generator)
        return drawn[:, 0]

    def attention(self, segment: Segment, memory: Memory) -> tuple[AttentionMaps, Memory] | None:
        """Return the attention of ``forward``, and the memory after it; None without attention."""
        return None
