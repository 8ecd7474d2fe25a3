"""DT-Mem: a Decision Transformer with a working memory that is addressed by content.

Source: DT-Mem (Kang et al. 2024) sections 4.1 to 4.3, Figure 2. ``working_memory`` has the
equations.

    slots so far ----------+----------------------+---------------> slots after the segment
                           | read                 | read                  ^
    tokens -> block 1 -> memory 1 -> block 2 -> memory 2 -> action head   | write: memory 1,
                           |                      |                       | then memory 2
                           +----------------------+---- at the end -------+

Deviation D41: every step of a segment reads the slots as earlier segments left them, and all tokens
of the segment write at its end. The paper prints the opposite order, writing first, in which a
prediction would see its own label. ``placement`` puts a memory module in each block, or one after
the last. Deviation D43: all modules share one matrix of slots. With ``demonstration_steps``, a
hyper-network adds to the modules' matrices (Table 6, Deviation D73).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from memdt.data.segments import Segment
from memdt.models.interface import AttentionMaps, Memory, SequencePolicy, Spaces, State, Step
from memdt.models.parts.encoders import StepTokens, action_head
from memdt.models.parts.geometry import Layout
from memdt.models.parts.hyper_network import Adapters, HyperNetwork, HyperSettings, Pair
from memdt.models.parts.segment_transformer import layout_of
from memdt.models.parts.transformer import KeyValueCache, LayerTrace, Transformer
from memdt.models.parts.working_memory import MATRICES, Added, WorkingMemory, Writing, unchanged


class Settings(HyperSettings):
    """Sizes of the transformer, and the memory's parts that the paper names or leaves open."""

    name: str
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    width: int = Field(gt=0, multiple_of=2, description="d_model")
    head_width: int = Field(gt=0, description="d_head, independent of width")
    feed_forward_width: int = Field(ge=0, description="d_inner; 0: no feed-forward layer")
    dropout: float = Field(default=0.0, ge=0, lt=1)
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    slots: int = Field(gt=0, description="vectors of the memory, N")
    operations: int = Field(
        default=1, gt=0, description="memory operations in a row (DT-Mem Algorithm 3)"
    )
    placement: Literal["each_block", "after_last"] = Field(
        default="each_block", description="a memory module in each block, or one after the last"
    )
    writing: Writing = Field(
        default="in_turn", description="tokens write one after the other, or all at once"
    )
    carried: bool = Field(
        default=True, description="false: every segment begins with the initial slots"
    )
    retrieval: Literal["attention", "nearest"] = Field(
        default="attention", description="a token reads all slots, or only the nearest"
    )
    nearest: int = Field(default=1, gt=0, description="slots read where retrieval is nearest")

    @model_validator(mode="after")
    def _enough_slots(self) -> Settings:
        if self.retrieval == "nearest" and self.nearest > self.slots:
            raise ValueError(f"model.nearest {self.nearest} exceeds model.slots {self.slots}")
        return self


@dataclass(frozen=True)
class SlotMemory(Memory):
    """The slots of the working memory, and the weights that a demonstration adds to the modules."""

    slots: Float[Tensor, "batch slot width"]
    pairs: tuple[Tensor, ...] = ()  # down and up of `Pair`

    def edit(self, function: Callable[[Tensor], Tensor]) -> SlotMemory:
        """Apply ``function`` to the slots."""
        return replace(self, slots=function(self.slots))

    def with_content_of(self, other: SlotMemory) -> SlotMemory:
        """Take the slots of ``other``."""
        return replace(self, slots=other.slots)

    def added_to(self, module: int) -> Added:
        """Return the function that adds to the matrix products of a memory module."""
        if not self.pairs:
            return unchanged
        pair, first = Pair(*self.pairs), MATRICES * module
        return lambda matrix, inputs: pair.up_from(
            first + matrix, pair.down_to(first + matrix, inputs)
        )


@dataclass
class SlotState(State):
    """The slots of the open segment, and what each memory module needs when it ends."""

    memory: SlotMemory
    past: list[KeyValueCache]
    written: list[list[Tensor]] = field(default_factory=list)  # by module and operation
    length: int = 0  # tokens so far

    def rows(self, rows: Bool[Tensor, " batch"]) -> SlotState:
        """Keep the episodes marked true."""
        return SlotState(
            self.memory.rows(rows),
            [past.rows(rows) for past in self.past],
            [[tokens[rows] for tokens in states] for states in self.written],
            self.length,
        )


class MemoryBlocks(nn.Module):
    """Transformer blocks, followed by a memory module."""

    def __init__(self, settings: Settings, layers: int) -> None:
        super().__init__()
        self.transformer = Transformer(
            layers,
            settings.width,
            settings.heads,
            settings.head_width,
            settings.feed_forward_width,
            "post",  # Deviation D45: the trunk of RATE
            settings.dropout,
            settings.attention_dropout,
        )
        nearest = settings.nearest if settings.retrieval == "nearest" else None
        self.memory = WorkingMemory(settings.width, settings.operations, nearest, settings.writing)


class DecisionTransformerWithMemory(SequencePolicy):
    """Blocks and memory modules that share one matrix of slots."""

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(spaces)
        self.settings = settings
        self.steps = StepTokens(spaces, settings.width, settings.dropout)
        # Deviation D44: drawn once and trained; the paper says "a random matrix".
        self.slots = nn.Parameter(torch.randn(settings.slots, settings.width))
        layers = [1] * settings.layers if settings.placement == "each_block" else [settings.layers]
        self.blocks = nn.ModuleList(MemoryBlocks(settings, count) for count in layers)
        self.head = action_head(spaces, settings.width)
        if settings.demonstration_steps:
            pairs = MATRICES * len(layers)
            self.adapters = Adapters(pairs, settings.width, settings.rank)
            self.hyper_network = HyperNetwork(settings, spaces, pairs, settings.width, actions=True)

    @property
    def carries_gradient(self) -> bool:
        """Through the slots, where they are carried."""
        return self.settings.carried

    def initial_memory(self, batch: int) -> SlotMemory:
        """Return the trained initial slots."""
        return SlotMemory(self.slots.expand(batch, -1, -1))

    def prompted(self, memory: Memory, demonstration: Segment) -> SlotMemory:
        """Return the same slots, with the weights that the hyper-network adds to the modules."""
        assert isinstance(memory, SlotMemory)
        pair = self.hyper_network(demonstration, self.adapters)
        return replace(memory, pairs=(pair.down, pair.up))

    def forward(
        self, segment: Segment, memory: Memory, recording: LayerTrace | None = None
    ) -> tuple[Float[Tensor, "batch time outputs"], SlotMemory]:
        """Return logits at every observation token, and the slots after the segment."""
        assert isinstance(memory, SlotMemory)
        tokens = self.steps(segment)
        layout = self._layout(tokens.shape[1], tokens.shape[1])
        top, written = self._run(tokens, memory, layout, recording=recording)
        # Of return-to-go, observation and action, the observation's token predicts the action.
        return self.head(top[:, 1::3]), self._next_memory(memory, written)

    def _layout(self, total: int, queries: int) -> Layout:
        """Causal attention of the last ``queries`` of ``total`` tokens."""
        width, device = self.settings.width, str(self.slots.device)
        return layout_of(("step",) * total, queries, None, width, device)

    def _run(
        self,
        tokens: Tensor,
        memory: SlotMemory,
        layout: Layout,
        past: Sequence[KeyValueCache | None] | None = None,
        recording: LayerTrace | None = None,
    ) -> tuple[Float[Tensor, "batch token width"], list[list[Tensor]]]:
        """The top-layer states of new tokens, and what each module writes when the segment ends."""
        past = past or [None] * len(self.blocks)
        written: list[list[Tensor]] = []
        for module, (blocks, cache) in enumerate(zip(self.blocks, past, strict=True)):
            tokens = blocks.transformer(tokens, layout, past=cache, recording=recording)
            added = memory.added_to(module)
            written.append(blocks.memory.read(memory.slots, tokens, added))
            # Deviation D41: slots are read as earlier segments left them, and written at the end.
            tokens = written[-1][-1]
        return tokens, written

    def _next_memory(self, memory: SlotMemory, written: list[list[Tensor]]) -> SlotMemory:
        """The slots after a segment. Modules write one after the other, into the same slots."""
        slots = memory.slots
        if not self.settings.carried:
            return memory.with_content_of(self.initial_memory(len(slots)))
        for module, (blocks, states) in enumerate(zip(self.blocks, written, strict=True)):
            slots = blocks.memory.write(slots, states, memory.added_to(module))
        return replace(memory, slots=slots)

    def attention(self, segment: Segment, memory: Memory) -> tuple[AttentionMaps, Memory]:
        """Return the attention among the tokens of a segment, without the reading of slots."""
        recording = LayerTrace(weights=[])
        _, next_memory = self(segment, memory, recording)
        assert recording.weights is not None
        return AttentionMaps(torch.stack(recording.weights, dim=1), memory_tokens=0), next_memory

    def begin_segment(self, memory: Memory, context_steps: int) -> SlotState:
        """Open an empty segment."""
        assert isinstance(memory, SlotMemory)
        batch, capacity = len(memory.slots), 3 * context_steps
        past = [blocks.transformer.empty_past(batch, capacity) for blocks in self.blocks]
        return SlotState(memory, past)

    def step(self, step: Step, state: State) -> tuple[Float[Tensor, "batch outputs"], SlotState]:
        """Feed the previous action, return-to-go and observation; the last one gives the logits."""
        assert isinstance(state, SlotState)
        tokens = self.steps.observation_tokens(step.observation, step.return_to_go)
        if step.previous_action is not None:
            tokens = torch.cat([self.steps.action_tokens(step.previous_action), tokens], dim=1)
        return self.head(self._extend(state, tokens)[:, -1]), state

    def end_segment(self, last_action: Tensor, state: State) -> SlotMemory:
        """Feed the last action, then let all 3K tokens of the segment write."""
        assert isinstance(state, SlotState)
        self._extend(state, self.steps.action_tokens(last_action))
        return self._next_memory(state.memory, state.written)

    def _extend(self, state: SlotState, tokens: Tensor) -> Float[Tensor, "batch token width"]:
        """The top-layer states of new tokens; ``state`` keeps what they write at the end."""
        state.length += tokens.shape[1]
        layout = self._layout(state.length, tokens.shape[1])
        top, written = self._run(tokens, state.memory, layout, state.past)
        # Only the end of a segment writes (Deviation D41), so all of its tokens wait here.
        if state.written:
            pairs = zip(state.written, written, strict=True)
            written = [[torch.cat(p, dim=1) for p in zip(*pair, strict=True)] for pair in pairs]
        state.written = written
        return top


def build(settings: Settings, spaces: Spaces) -> DecisionTransformerWithMemory:
    """Build a DT-Mem policy."""
    return DecisionTransformerWithMemory(settings, spaces)
