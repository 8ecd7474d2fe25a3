"""The interfaces that everything generic depends on: a policy, and one over segments.

    Policy            ``begin`` and ``act``: all that a rollout knows
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
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from memdt.data.segments import Segment
from memdt.environments.spaces import Spaces as Spaces  # what every model imports from here


@dataclass(frozen=True)
class Memory:
    """What a model carries from one segment to the next: a frozen bundle of tensors, batch first.

    A model without memory uses this class itself; others add fields that are tensors or tuples of
    tensors. Nothing generic looks inside.
    """

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same memory with ``function`` applied to every tensor."""
        return type(self)(
            **{f.name: _map_value(function, getattr(self, f.name)) for f in fields(self)}
        )

    def edit(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The memory with its content (not, say, cached hidden states) changed by ``function``."""
        return self.map(function)

    def with_content_of(self, other: Self) -> Self:
        """This memory with the content (see ``edit``) of another."""
        return other

    def cost(self) -> Float[Tensor, " batch"] | None:
        """What writing this memory may be charged with in training; None: nothing to charge.

        The share of the memory that was overwritten, 0 to 1, with gradient.
        """
        return None

    def rows(self, rows: int | slice | Bool[Tensor, " batch"]) -> Self:
        """The first ``rows`` rows of the batch, a slice of them, or those marked true."""
        index = slice(rows) if isinstance(rows, int) else rows
        return self.map(lambda tensor: tensor[index])

    def detach(self) -> Self:
        """The same values, cut from the graph."""
        return self.map(torch.Tensor.detach)


def _map_value(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    return tuple(function(tensor) for tensor in value)


@dataclass(frozen=True)
class Step:
    """One environment step as a policy sees it."""

    observation: Tensor  # batch ...
    return_to_go: Float[Tensor, " batch"]
    # batch ...; None at the first step of an episode or segment. Policies keep it themselves: who
    # asks for an action leaves it out. Deviation D94: it is not shifted against training.
    previous_action: Tensor | None = None


@dataclass(frozen=True)
class Choice:
    """How an action is chosen among those that a policy thinks possible."""

    greedy: bool  # the best one; False: drawn
    generator: torch.Generator

    def uniform(self, like: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch outputs"]:
        """Draws from [-1, 1], one for each number of ``like``."""
        return 2 * torch.rand(like.shape, generator=self.generator, device=like.device) - 1


@dataclass(frozen=True)
class Segmentation:
    """How an episode is cut while it is played; a policy without segments has no use for it."""

    steps: int  # of a segment, K in RATE section 4.2
    context_steps: int  # how far a policy without recurrence looks back
    # Called when a segment is closed; returns the memory that the next one starts from.
    at_border: Callable[[Memory], Memory] = lambda memory: memory


class State(ABC):
    """What a policy remembers between two steps. Used once: the next step may reuse its memory."""

    @abstractmethod
    def rows(self, rows: Bool[Tensor, " batch"]) -> State:
        """The state of the episodes marked true; the others have ended."""


@dataclass(frozen=True)
class NoState(State):
    """The state of a policy that remembers nothing between steps."""

    def rows(self, rows: Bool[Tensor, " batch"]) -> NoState:
        """Itself."""
        return self


@dataclass(frozen=True)
class AttentionMaps:
    """Where a policy looks in one segment; memory tokens stand at both ends of the queries."""

    weights: Float[Tensor, "batch layers heads queries keys"]
    memory_tokens: int


class Policy(nn.Module, ABC):
    """What acts in an environment, in several episodes side by side: all that a rollout knows."""

    def __init__(self, spaces: Spaces) -> None:
        super().__init__()
        self.spaces = spaces

    @abstractmethod
    def begin(
        self,
        rows: int,
        demonstration: Segment | None = None,
        segmentation: Segmentation | None = None,
    ) -> State:
        """The state before the first step of ``rows`` episodes.

        Args:
            rows: number of episodes.
            demonstration: a stretch of another episode for each row, for policies that want one.
            segmentation: how episodes are cut; None: not at all.
        """

    @abstractmethod
    def act(self, step: Step, state: State, choice: Choice) -> tuple[Tensor, State]:
        """The action of each episode (batch ...), and the state after it."""


@dataclass(frozen=True)
class SequenceState(State):
    """Where a policy over segments is in its episodes."""

    segmentation: Segmentation
    decoding: State  # of the open segment
    steps: int = 0  # since the segment was opened
    previous_action: Tensor | None = None

    def rows(self, rows: Bool[Tensor, " batch"]) -> SequenceState:
        """The episodes marked true."""
        previous = None if self.previous_action is None else self.previous_action[rows]
        return replace(self, decoding=self.decoding.rows(rows), previous_action=previous)


WHOLE = Segmentation(sys.maxsize, sys.maxsize)  # one segment, however long an episode is


class SequencePolicy(Policy):
    """A policy over segments of (return-to-go, observation, action) with a memory between them.

    Models offer ``forward`` for training and ``begin_segment``, ``step`` and ``end_segment`` for
    decoding; ``begin`` and ``act`` follow from these.
    """

    # False: the model has no recurrence; no segment is ever closed, the window slides.
    recurrent: ClassVar[bool] = True
    # Continuous actions that are sampled are uniform, at most so far from the means.
    spread: ClassVar[float] = 0.0
    # True: training feeds whole episodes as one window instead of segments.
    whole_episodes: bool = False

    @property
    def carries_gradient(self) -> bool:
        """Whether a loss reaches the segments before it through the memory."""
        return self.recurrent

    @abstractmethod
    def initial_memory(self, batch: int) -> Memory:
        """The memory before the first segment."""

    def prompted(self, memory: Memory, demonstration: Segment) -> Memory:
        """The memory before the first segment of a policy that has been shown a demonstration.

        Asked of models whose settings have ``demonstration_steps``; another has no use for it.
        Rows of both belong together. What is masked in the demonstration is padding.
        """
        return memory

    def memory_after(self, demonstration: Segment | None, batch: int) -> Memory:
        """The memory before the first segment, with or without a demonstration."""
        memory = self.initial_memory(batch)
        return memory if demonstration is None else self.prompted(memory, demonstration)

    @abstractmethod
    def forward(
        self, segment: Segment, memory: Memory
    ) -> tuple[Float[Tensor, "batch time outputs"], Memory]:
        """Action logits (or means) at every step, and the memory after the segment.

        Logits at a step depend on its return-to-go and observation, on what came before, and on
        nothing else: not on its own action, not on later steps. The memory of a row that ends
        inside the segment is undefined: no later segment of that row exists.
        """

    @abstractmethod
    def begin_segment(self, memory: Memory, context_steps: int) -> State:
        """Open a segment for decoding.

        ``context_steps``: how far a model without recurrence looks back; the segments of recurrent
        models are closed after that many steps.
        """

    @abstractmethod
    def step(self, step: Step, state: State) -> tuple[Float[Tensor, "batch outputs"], State]:
        """Action logits (or means) of one environment step, in inference mode."""

    def end_segment(self, last_action: Tensor, state: State) -> Memory:
        """Close a full segment with its last action; the memory is the one ``forward`` returns."""
        return Memory()

    def begin(
        self,
        rows: int,
        demonstration: Segment | None = None,
        segmentation: Segmentation | None = None,
    ) -> SequenceState:
        """The first segment, opened."""
        return self._open(self.memory_after(demonstration, rows), segmentation or WHOLE)

    def act(self, step: Step, state: State, choice: Choice) -> tuple[Tensor, SequenceState]:
        """One cached step; a segment that is full is closed first, as in training."""
        assert isinstance(state, SequenceState)
        if self.recurrent and state.steps == state.segmentation.steps:
            assert state.previous_action is not None
            memory = self.end_segment(state.previous_action, state.decoding)
            state = self._open(state.segmentation.at_border(memory), state.segmentation)
        seen = replace(step, previous_action=state.previous_action)
        outputs, decoding = self.step(seen, state.decoding)
        actions = self.choose(outputs, choice)
        return actions, replace(
            state, decoding=decoding, steps=state.steps + 1, previous_action=actions
        )

    def _open(self, memory: Memory, segmentation: Segmentation) -> SequenceState:
        steps = segmentation.steps if self.recurrent else segmentation.context_steps
        return SequenceState(segmentation, self.begin_segment(memory, steps))

    def choose(self, outputs: Float[Tensor, "batch outputs"], choice: Choice) -> Tensor:
        """The best or a drawn action; continuous ones lie around their means (see ``spread``)."""
        if not self.spaces.discrete:
            spread = 0.0 if choice.greedy else self.spread
            return outputs + spread * choice.uniform(outputs) if spread else outputs
        if choice.greedy:
            return outputs.argmax(-1)
        drawn = torch.multinomial(outputs.softmax(-1), 1, generator=choice.generator)
        return drawn[:, 0]

    def attention(self, segment: Segment, memory: Memory) -> tuple[AttentionMaps, Memory] | None:
        """Where ``forward`` looks, and the memory after it; None for a policy without attention."""
        return None
