"""The interface that everything generic depends on: a policy over segments, with a memory.

Training unrolls ``forward`` over the segments of an episode; a rollout decodes one environment step
at a time with a key/value cache and must give the same logits (a contract test).

Legend of dimensions for the whole package:
    batch   episodes side by side            time    steps in a segment (K in RATE section 4.2)
    token   3 * time, (return-to-go, observation, action) interleaved; logits at the observation
    slot    vectors of the working memory    width   model dimension          head    attention head
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
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
    previous_action: Tensor | None  # batch ...; None at the first step of an episode or segment


class DecodeState(ABC):
    """What decoding has seen since the last segment border. Used once: ``step`` may reuse it."""

    @abstractmethod
    def rows(self, rows: Bool[Tensor, " batch"]) -> DecodeState:
        """The state of the episodes marked true; the others have ended."""


@dataclass(frozen=True)
class NoState(DecodeState):
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
    """What acts in an environment."""


class SequencePolicy(Policy):
    """A policy over segments of (return-to-go, observation, action) with a memory between them."""

    # False: the model has no recurrence; a rollout never closes a segment, the window slides.
    recurrent: ClassVar[bool] = True
    # Continuous actions that are sampled are uniform, at most so far from the means.
    spread: ClassVar[float] = 0.0
    # True: training feeds whole episodes as one window instead of segments.
    whole_episodes: bool = False

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
    def begin_segment(self, memory: Memory, context_steps: int) -> DecodeState:
        """Open a segment for decoding.

        ``context_steps``: how far a model without recurrence looks back; the segments of recurrent
        models are closed by the caller after that many steps.
        """

    @abstractmethod
    def step(
        self, step: Step, state: DecodeState
    ) -> tuple[Float[Tensor, "batch outputs"], DecodeState]:
        """Action logits (or means) of one environment step, in inference mode."""

    def end_segment(self, last_action: Tensor, state: DecodeState) -> Memory:
        """Close a full segment with its last action; the memory is the one ``forward`` returns."""
        return Memory()

    def attention(self, segment: Segment, memory: Memory) -> tuple[AttentionMaps, Memory] | None:
        """Where ``forward`` looks, and the memory after it; None for a policy without attention."""
        return None
