"""A transformer over segments with memory tokens and cached hidden states: the family of RATE.

RATE, RMT, Transformer-XL, RATE without memory and Decision Transformer are this policy with parts
switched on or off; their modules hold what is theirs. Source: RATE section 3, Figure 2.

Tokens of a segment and what a query (row) may see (x), m = 2 slots, 2 steps, 2 cached positions:

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
from memdt.models.parts.geometry import Layout, geometry, layout
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
        default=True, description="the cache counts memory-token positions too, as the public code"
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
        """Changes the memory tokens; where there are none, the cache is the memory."""
        if self.tokens.shape[1]:
            return replace(self, tokens=function(self.tokens))
        return replace(self, cache=tuple(function(hidden) for hidden in self.cache))

    def with_content_of(self, other: SegmentMemory) -> SegmentMemory:
        """The memory tokens of the other; where there are none, its cache."""
        if self.tokens.shape[1]:
            return replace(self, tokens=other.tokens)
        return other

    def cost(self) -> Float[Tensor, " batch"] | None:
        """How open the gates were that wrote this memory; None where there are none."""
        return self.openness[0].mean(dim=1) if self.openness else None


@dataclass
class SegmentState(State):
    """Tokens of the open segment, and what its end needs."""

    memory: SegmentMemory
    past: KeyValueCache
    kinds: tuple[str, ...]  # cache, read or step, for every key so far
    hidden: list[Tensor] = field(default_factory=list)  # per layer, this segment's, for the cache
    top: Tensor | None = None  # top-layer states of this segment's steps

    def rows(self, rows: Bool[Tensor, " batch"]) -> SegmentState:
        """The episodes marked true."""
        return SegmentState(
            self.memory.rows(rows),
            self.past.rows(rows),
            self.kinds,
            [states[rows] for states in self.hidden],
            None if self.top is None else self.top[rows],
        )


# What each kind of query sees: of every kind of key all, none, or the earlier ones.
SEES = {
    "read": {"read": "all"},
    "prompt": {"prompt": "earlier"},  # of a model that is shown a demonstration
    "step": {"cache": "all", "read": "all", "prompt": "all", "step": "earlier"},
    "write": {"read": "all", "step": "all", "write": "all"},
}


@lru_cache(maxsize=512)
@torch.inference_mode(False)  # made during a rollout, it must still serve a pass with gradient
def layout_of(
    kinds: tuple[str, ...], queries: int, wanted: tuple[int, ...] | None, width: int, device: str
) -> Layout:
    """The mask and positions of the last ``queries`` of tokens of these kinds.

    ``wanted``: numbers of the queries whose top-layer states are asked for; None: all.
    """
    total, first = len(kinds), len(kinds) - queries
    cached = sum(kind == "cache" for kind in kinds)
    allowed = torch.zeros(queries, total, dtype=torch.bool)
    for row, query in enumerate(kinds[first:]):
        for column, key in enumerate(kinds):
            sees = SEES[query].get(key)
            allowed[row, column] = sees == "all" or (sees == "earlier" and column <= first + row)
    return layout(geometry(allowed, torch.arange(-cached, total - cached), width, device), wanted)


class SegmentTransformer(SequencePolicy):
    """Policy of the family; ``settings`` says which parts it has."""

    read_kind = "read"  # of the tokens in front of a segment, see SEES

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(spaces)
        self.settings = settings
        self.steps = StepTokens(spaces, settings.width, settings.dropout)
        # Drawn one by one: the public code copies one draw to all tokens. Deviation D12.
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
        """Memory tokens at the end of a segment."""
        both = self.settings.memory_positions == "both"
        return self.settings.memory_tokens if both else 0

    @property
    def carries_gradient(self) -> bool:
        """Through memory tokens; cached states are cut from the graph."""
        return self.recurrent and self.settings.memory_tokens > 0

    def initial_memory(self, batch: int) -> SegmentMemory:
        """The trained initial tokens, and an empty cache."""
        return SegmentMemory(self.memory.expand(batch, -1, -1))

    def forward(
        self, segment: Segment, memory: Memory, recording: LayerTrace | None = None
    ) -> tuple[Float[Tensor, "batch time outputs"], SegmentMemory]:
        """Logits at every observation token, and the memory after the segment."""
        assert isinstance(memory, SegmentMemory)
        steps = self.steps(segment)
        read, write = memory.tokens, memory.tokens[:, : self.write_tokens]
        tokens = torch.cat([read, steps, write], dim=1)
        kinds = self._kinds(memory) + ("step",) * steps.shape[1]
        kinds += ("write",) * write.shape[1]
        first, time = read.shape[1], segment.steps
        observations = range(first + 1, first + 3 * time, 3)
        closing = self.settings.memory_tokens
        wanted = (*observations, *range(tokens.shape[1] - closing, tokens.shape[1]))
        recording = recording or LayerTrace()
        where = self._layout(kinds, tokens.shape[1], wanted)
        top = self._run(memory, tokens, where, memory.cache, recording=recording)
        skipped = 0 if self.settings.cache_memory_tokens else first
        hidden = [layer[:, skipped:] for layer in recording.hidden]
        return self.head(top[:, :time]), self._following(memory, top[:, time:], hidden)

    def _layout(self, kinds: tuple[str, ...], queries: int, wanted: Sequence[int] | None) -> Layout:
        chosen = None if wanted is None else tuple(wanted)
        return layout_of(kinds, queries, chosen, self.settings.width, str(self.memory.device))

    def _kinds(self, memory: SegmentMemory) -> tuple[str, ...]:
        cached = memory.cache[0].shape[1] if memory.cache else 0
        return ("cache",) * cached + (self.read_kind,) * memory.tokens.shape[1]

    def _run(
        self,
        memory: SegmentMemory,
        tokens: Tensor,
        where: Layout,
        cache: tuple[Tensor, ...] = (),
        past: KeyValueCache | None = None,
        recording: LayerTrace | None = None,
    ) -> Tensor:
        """The transformer's top-layer states; a model may let ``memory`` change its blocks."""
        return self.transformer(tokens, where, cache, past, recording)

    def _following(
        self, memory: SegmentMemory, closing: Tensor, hidden: list[Tensor]
    ) -> SegmentMemory:
        """The memory after a segment, from the inputs of each layer and the last top-layer states.

        ``closing`` are those of the write tokens; with memory at the start only, of as many last
        step tokens in their place (Deviation D13). ``hidden`` ends with the write tokens.
        """
        tokens, openness = memory.tokens, None
        if self.settings.memory_tokens:
            tokens, openness = self.update(tokens, closing)
        gates = () if openness is None else (openness,)
        kept = self.settings.cache_length
        if not kept:
            return SegmentMemory(tokens, openness=gates)
        end = None if self.settings.cache_memory_tokens else -self.write_tokens or None
        states = [layer[:, :end].detach() for layer in hidden]
        if memory.cache:  # a cache longer than a segment reaches back over several
            pairs = zip(memory.cache, states, strict=True)
            states = [torch.cat(pair, dim=1) for pair in pairs]
        return SegmentMemory(tokens, tuple(layer[:, -kept:] for layer in states), gates)

    def attention(self, segment: Segment, memory: Memory) -> tuple[AttentionMaps, Memory]:
        """The probabilities of every layer and head in one pass."""
        recording = LayerTrace(weights=[])
        _, following = self(segment, memory, recording)
        assert recording.weights is not None
        weights = torch.stack(recording.weights, dim=1)
        return AttentionMaps(weights, self.settings.memory_tokens), following

    def begin_segment(self, memory: Memory, context_steps: int) -> SegmentState:
        """Run the read tokens; keys and values of cache and memory are made once a segment."""
        assert isinstance(memory, SegmentMemory)
        kinds = self._kinds(memory)
        capacity = len(kinds) + 3 * context_steps + self.write_tokens
        batch = memory.tokens.shape[0]
        past = self.transformer.empty_past(batch, capacity)
        state = SegmentState(memory, past, kinds)
        read = memory.tokens.shape[1]
        if memory.cache or read:
            recording = LayerTrace()
            where = self._layout(kinds, read, wanted=())
            self._run(memory, memory.tokens, where, memory.cache, past, recording)
            if self.settings.cache_memory_tokens:
                self._remember(state, recording.hidden, None)
        return state

    def step(self, step: Step, state: State) -> tuple[Float[Tensor, "batch outputs"], SegmentState]:
        """Feed the action before, then return-to-go and observation, which gives the logits."""
        assert isinstance(state, SegmentState)
        tokens = self.steps.question(step.observation, step.return_to_go)
        if step.previous_action is not None:
            tokens = torch.cat([self.steps.answer(step.previous_action), tokens], dim=1)
        count = tokens.shape[1]
        top = self._extend(state, tokens, ("step",) * count, wanted=(count - 1,))
        return self.head(top[:, -1]), state

    def end_segment(self, last_action: Tensor, state: State) -> SegmentMemory:
        """Feed the last action and the write tokens: memory sees all 3K tokens of the segment."""
        assert isinstance(state, SegmentState)
        write = state.memory.tokens[:, : self.write_tokens]
        tokens = torch.cat([self.steps.answer(last_action), write], dim=1)
        kinds = ("step",) + ("write",) * write.shape[1]
        top = self._extend(state, tokens, kinds, wanted=range(1, len(kinds)))
        return self._following(state.memory, top if state.top is None else state.top, state.hidden)

    def _extend(
        self, state: SegmentState, tokens: Tensor, kinds: tuple[str, ...], wanted: Sequence[int]
    ) -> Tensor:
        """Top-layer states of the ``wanted`` new tokens; all where the segment's end needs them."""
        by_steps = self.settings.memory_tokens and not self.write_tokens
        state.kinds += kinds
        recording = LayerTrace()
        where = self._layout(state.kinds, len(kinds), None if by_steps else wanted)
        top = self._run(state.memory, tokens, where, past=state.past, recording=recording)
        self._remember(state, recording.hidden, top if by_steps else None)
        return top

    def _remember(self, state: SegmentState, hidden: list[Tensor], top: Tensor | None) -> None:
        """Keep only as many recent states as the end of the segment needs."""
        if self.settings.cache_length:
            kept = self.settings.cache_length + self.write_tokens
            joined = zip(state.hidden, hidden, strict=True) if state.hidden else None
            state.hidden = (
                [torch.cat(pair, dim=1)[:, -kept:] for pair in joined] if joined else hidden
            )
        if top is not None:
            states = top if state.top is None else torch.cat([state.top, top], dim=1)
            state.top = states[:, -self.settings.memory_tokens :]
