"""A transformer over segments with memory tokens and cached hidden states: the family of RATE.

RATE, RMT, Transformer-XL, RATE without memory and Decision Transformer are this policy with parts
switched on or off. The module of each model holds what is specific to it. Source: RATE section 3,
Figure 2.

Tokens of a segment, and which of them a query (row) may see (x), with m = 2 slots, 2 steps and 2
cached positions:

                cache  read   R o a R o a  write
    read          . .   x x   . . . . . .   . .      memory tokens see each other, not the cache
    step R        x x   x x   x . . . . .   . .      ordinary tokens: cache, memory, the past
    step o        x x   x x   x x . . . .   . .
    write         . .   x x   x x x x x x   x x      write tokens: memory and the whole segment
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from memdt.data.segments import Segment
from memdt.models.interface import AttentionMaps, Memory, SequencePolicy, Spaces, State, Step
from memdt.models.parts.encoders import StepTokens, action_head
from memdt.models.parts.geometry import Layout, geometry
from memdt.models.parts.memory_update import memory_update
from memdt.models.parts.transformer import KeyValueCache, LayerTrace, Transformer
from memdt.settings.schema import Frozen


class Settings(Frozen):
    """Sizes and parts of a segment transformer; the parts are RATE's ablations."""

    name: str
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    width: int = Field(gt=0, multiple_of=2, description="d_model")
    head_width: int = Field(gt=0, description="d_head, independent of width")
    feed_forward_width: int = Field(ge=0, description="d_inner; 0: no feed-forward layer")
    normalization: Literal["post", "pre"] = "post"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    memory_tokens: int = Field(default=0, ge=0, description="m; 0: no memory tokens")
    memory_positions: Literal["both", "start"] = Field(
        default="both", description="memory at both ends of the segment, or at its start only"
    )
    memory_update: Literal["replace", "retention_valve", "gate", "binary_gate"] = "replace"
    valve_heads: int = Field(default=1, gt=0, description="heads of the retention valve")
    gate_bias: float = Field(default=0.0, description="initial bias of a gate; positive: open")
    cache_length: int = Field(default=0, ge=0, description="hidden states kept of the last segment")
    cache_memory_tokens: bool = Field(
        default=True, description="cache the positions of memory tokens too, as the public code"
    )

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        if self.memory_update == "retention_valve" and self.width % self.valve_heads:
            raise ValueError(
                f"model.width {self.width} is not divisible by model.valve_heads {self.valve_heads}"
            )
        if self.memory_tokens == 0 and self.memory_update != "replace":
            raise ValueError("model.memory_update needs model.memory_tokens > 0")
        return self


@dataclass(frozen=True)
class SegmentMemory(Memory):
    """Memory tokens, and the last hidden states of every layer (never with gradient)."""

    tokens: Float[Tensor, "batch slot width"]
    cache: tuple[Float[Tensor, "batch cached width"], ...] = ()
    openness: tuple[Float[Tensor, "batch slot"], ...] = ()  # of the gates that wrote it, if any

    def edit(self, function: Callable[[Tensor], Tensor]) -> SegmentMemory:
        """Apply ``function`` to the memory tokens, or to the cache if there are none."""
        if self.tokens.shape[1]:
            return replace(self, tokens=function(self.tokens))
        return replace(self, cache=tuple(function(hidden) for hidden in self.cache))

    def with_content_of(self, other: SegmentMemory) -> SegmentMemory:
        """Take the memory tokens of ``other``, or its cache if there are none."""
        if self.tokens.shape[1]:
            return replace(self, tokens=other.tokens)
        return other

    def cost(self) -> Float[Tensor, " batch"] | None:
        """Return how far the gates were open that wrote this memory; None without gates."""
        return self.openness[0].mean(dim=1) if self.openness else None


@dataclass
class SegmentState(State):
    """The tokens of the open segment, and what is needed when it ends."""

    memory: SegmentMemory
    past: KeyValueCache
    kinds: tuple[str, ...]  # cache, read or step, for every key so far
    hidden: list[Tensor] = field(default_factory=list)  # per layer, this segment's, for the cache
    top: Tensor | None = None  # top-layer states of this segment's steps

    def rows(self, rows: Bool[Tensor, " batch"]) -> SegmentState:
        """Keep the episodes marked true."""
        return SegmentState(
            self.memory.rows(rows),
            self.past.rows(rows),
            self.kinds,
            [states[rows] for states in self.hidden],
            None if self.top is None else self.top[rows],
        )


# What each kind of query may see of each kind of key: all, only earlier ones, or none.
SEES = {
    "read": {"read": "all"},
    "prompt": {"prompt": "earlier"},  # tokens of a demonstration
    "step": {"cache": "all", "read": "all", "prompt": "all", "step": "earlier"},
    "write": {"read": "all", "step": "all", "write": "all"},
}


@lru_cache(maxsize=512)
@torch.inference_mode(False)  # training may reuse a layout that a rollout has cached
def layout_of(
    kinds: tuple[str, ...], queries: int, selected: tuple[int, ...] | None, width: int, device: str
) -> Layout:
    """Return the mask and positions of the last ``queries`` of the tokens of these kinds.

    ``selected``: queries that the top layer computes, by their numbers; None: all.
    """
    total, first = len(kinds), len(kinds) - queries
    cached = sum(kind == "cache" for kind in kinds)
    allowed = torch.zeros(queries, total, dtype=torch.bool)
    for row, query in enumerate(kinds[first:]):
        for column, key in enumerate(kinds):
            sees = SEES[query].get(key)
            allowed[row, column] = sees == "all" or (sees == "earlier" and column <= first + row)
    positions = torch.arange(-cached, total - cached)
    return Layout.of(geometry(allowed, positions, width, device), selected)


class SegmentTransformer(SequencePolicy):
    """A policy of this family, with the parts that its settings name."""

    read_kind = "read"  # the kind (see SEES) of the memory tokens in front of a segment

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(spaces)
        self.settings = settings
        self.steps = StepTokens(spaces, settings.width, settings.dropout)
        # Deviation D12: each token is drawn separately; the public code repeats one draw.
        self.memory = nn.Parameter(torch.randn(settings.memory_tokens, settings.width))
        self.transformer = Transformer(
            settings.layers,
            settings.width,
            settings.heads,
            settings.head_width,
            settings.feed_forward_width,
            settings.normalization,
            settings.dropout,
            settings.attention_dropout,
        )
        self.update = memory_update(
            settings.memory_update, settings.width, settings.valve_heads, settings.gate_bias
        )
        self.head = action_head(spaces, settings.width)

    @property
    def write_tokens(self) -> int:
        """Number of memory tokens at the end of a segment."""
        both = self.settings.memory_positions == "both"
        return self.settings.memory_tokens if both else 0

    @property
    def carries_gradient(self) -> bool:
        """Through memory tokens; cached states are cut from the graph."""
        return self.recurrent and self.settings.memory_tokens > 0

    def initial_memory(self, batch: int) -> SegmentMemory:
        """Return the trained initial tokens and an empty cache."""
        return SegmentMemory(self.memory.expand(batch, -1, -1))

    def forward(
        self, segment: Segment, memory: Memory, recording: LayerTrace | None = None
    ) -> tuple[Float[Tensor, "batch time outputs"], SegmentMemory]:
        """Return logits at every observation token, and the memory after the segment."""
        assert isinstance(memory, SegmentMemory)
        steps = self.steps(segment)
        read, write = memory.tokens, memory.tokens[:, : self.write_tokens]
        tokens = torch.cat([read, steps, write], dim=1)
        kinds = self._kinds(memory) + ("step",) * steps.shape[1]
        kinds += ("write",) * write.shape[1]
        first, time = read.shape[1], segment.steps
        observations = range(first + 1, first + 3 * time, 3)
        # The last m tokens become memory: write tokens, or steps if memory is at the start only.
        memory_sources = range(tokens.shape[1] - self.settings.memory_tokens, tokens.shape[1])
        recording = recording or LayerTrace()
        layout = self._layout(kinds, tokens.shape[1], (*observations, *memory_sources))
        top = self._run(memory, tokens, layout, memory.cache, recording=recording)
        skipped = 0 if self.settings.cache_memory_tokens else first
        hidden = [layer[:, skipped:] for layer in recording.hidden]
        return self.head(top[:, :time]), self._next_memory(memory, top[:, time:], hidden)

    def _layout(
        self, kinds: tuple[str, ...], queries: int, selected: Sequence[int] | None
    ) -> Layout:
        numbers = None if selected is None else tuple(selected)
        return layout_of(kinds, queries, numbers, self.settings.width, str(self.memory.device))

    def _kinds(self, memory: SegmentMemory) -> tuple[str, ...]:
        cached = memory.cache[0].shape[1] if memory.cache else 0
        return ("cache",) * cached + (self.read_kind,) * memory.tokens.shape[1]

    def _run(
        self,
        memory: SegmentMemory,
        tokens: Tensor,
        layout: Layout,
        cache: tuple[Tensor, ...] = (),
        past: KeyValueCache | None = None,
        recording: LayerTrace | None = None,
    ) -> Tensor:
        """The transformer's top-layer states. Subclasses may let ``memory`` change the blocks."""
        return self.transformer(tokens, layout, cache, past, recording)

    def _next_memory(
        self, memory: SegmentMemory, written: Tensor, hidden: list[Tensor]
    ) -> SegmentMemory:
        """The memory after a segment.

        Args:
            memory: the memory before it.
            written: top-layer states of the write tokens. If memory is at the start only, those of
                the last step tokens, as many as there are slots (Deviation D13).
            hidden: inputs of each layer; the write tokens are the last of them.
        """
        tokens, openness = memory.tokens, None
        if self.settings.memory_tokens:
            tokens, openness = self.update(tokens, written)
        gates = () if openness is None else (openness,)
        length = self.settings.cache_length
        if not length:
            return SegmentMemory(tokens, openness=gates)
        # `or None`: without write tokens, [:-0] would keep nothing.
        end = None if self.settings.cache_memory_tokens else -self.write_tokens or None
        states = [layer[:, :end].detach() for layer in hidden]
        if memory.cache:  # a cache longer than a segment holds states of several segments
            pairs = zip(memory.cache, states, strict=True)
            states = [torch.cat(pair, dim=1) for pair in pairs]
        return SegmentMemory(tokens, tuple(layer[:, -length:] for layer in states), gates)

    def attention(self, segment: Segment, memory: Memory) -> tuple[AttentionMaps, Memory]:
        """Return the attention of every layer and head, and the memory after the segment."""
        recording = LayerTrace(weights=[])
        _, next_memory = self(segment, memory, recording)
        assert recording.weights is not None
        weights = torch.stack(recording.weights, dim=1)
        return AttentionMaps(weights, self.settings.memory_tokens), next_memory

    def begin_segment(self, memory: Memory, context_steps: int) -> SegmentState:
        """Run the read tokens, so that the segment computes keys of cache and memory only once."""
        assert isinstance(memory, SegmentMemory)
        kinds = self._kinds(memory)
        capacity = len(kinds) + 3 * context_steps + self.write_tokens
        batch = memory.tokens.shape[0]
        past = self.transformer.empty_past(batch, capacity)
        state = SegmentState(memory, past, kinds)
        read = memory.tokens.shape[1]
        if memory.cache or read:
            recording = LayerTrace()
            # Their keys and values alone are needed, so the top layer computes no query.
            layout = self._layout(kinds, read, selected=())
            self._run(memory, memory.tokens, layout, memory.cache, past, recording)
            if self.settings.cache_memory_tokens:
                self._keep_states(state, recording.hidden, None)
        return state

    def step(self, step: Step, state: State) -> tuple[Float[Tensor, "batch outputs"], SegmentState]:
        """Feed the previous action, return-to-go and observation; the last one gives the logits."""
        assert isinstance(state, SegmentState)
        tokens = self.steps.observation_tokens(step.observation, step.return_to_go)
        if step.previous_action is not None:
            tokens = torch.cat([self.steps.action_tokens(step.previous_action), tokens], dim=1)
        count = tokens.shape[1]
        top = self._extend(state, tokens, ("step",) * count, selected=(count - 1,))
        return self.head(top[:, -1]), state

    def end_segment(self, last_action: Tensor, state: State) -> SegmentMemory:
        """Feed the last action and the write tokens, which see all 3K tokens of the segment."""
        assert isinstance(state, SegmentState)
        write = state.memory.tokens[:, : self.write_tokens]
        tokens = torch.cat([self.steps.action_tokens(last_action), write], dim=1)
        kinds = ("step",) + ("write",) * write.shape[1]
        top = self._extend(state, tokens, kinds, selected=range(1, len(kinds)))
        written = top if state.top is None else state.top
        return self._next_memory(state.memory, written, state.hidden)

    def _extend(
        self, state: SegmentState, tokens: Tensor, kinds: tuple[str, ...], selected: Sequence[int]
    ) -> Tensor:
        """Top-layer states of the ``selected`` new tokens, or of all if steps become memory."""
        steps_become_memory = self.settings.memory_tokens and not self.write_tokens
        state.kinds += kinds
        recording = LayerTrace()
        layout = self._layout(state.kinds, len(kinds), None if steps_become_memory else selected)
        top = self._run(state.memory, tokens, layout, past=state.past, recording=recording)
        self._keep_states(state, recording.hidden, top if steps_become_memory else None)
        return top

    def _keep_states(self, state: SegmentState, hidden: list[Tensor], top: Tensor | None) -> None:
        """Add new states, and keep only as many as the end of the segment needs."""
        if self.settings.cache_length:
            # Write tokens that are not cached are taken off again when the segment ends.
            length = self.settings.cache_length + self.write_tokens
            if state.hidden:
                pairs = zip(state.hidden, hidden, strict=True)
                hidden = [torch.cat(pair, dim=1)[:, -length:] for pair in pairs]
            state.hidden = hidden
        if top is not None:
            states = top if state.top is None else torch.cat([state.top, top], dim=1)
            state.top = states[:, -self.settings.memory_tokens :]
