"""DT-Mem: a Decision Transformer with a working memory that is addressed by content.

Source: DT-Mem (Kang et al. 2024) sections 4.1 to 4.3, Figure 2; ``working_memory`` holds equations.

    slots so far ----------+----------------------+---------------> slots after the segment
                           | read                 | read                  ^
    tokens -> block 1 -> memory 1 -> block 2 -> memory 2 -> action head   | write: memory 1,
                           |                      |                       | then memory 2
                           +----------------------+---- at the end -------+

Deviation D41: every step of a segment reads the slots that earlier segments have left, and all its
tokens write at its end. In the printed order, writing first, a prediction would see its own label.
``placement``: a memory module in each block, or one after the last. Deviation D43: all modules
share one matrix of slots. ``demonstration_steps``: a hyper-network writes to the modules' matrices
(Table 6, Deviation D73).
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
    """The slots of the working memory, and what a demonstration adds to the modules' matrices."""

    slots: Float[Tensor, "batch slot width"]
    pairs: tuple[Tensor, ...] = ()  # down and up of `Pair`

    def edit(self, function: Callable[[Tensor], Tensor]) -> SlotMemory:
        """Changes the slots."""
        return replace(self, slots=function(self.slots))

    def with_content_of(self, other: SlotMemory) -> SlotMemory:
        """The slots of the other."""
        return replace(self, slots=other.slots)

    def added_to(self, module: int) -> Added:
        """What is added to the matrices of a memory module."""
        if not self.pairs:
            return unchanged
        pair, first = Pair(*self.pairs), MATRICES * module
        return lambda matrix, inputs: pair.up_from(
            first + matrix, pair.down_to(first + matrix, inputs)
        )


@dataclass
class SlotState(State):
    """The slots of the open segment, and per memory module what its end needs."""

    memory: SlotMemory
    past: list[KeyValueCache]
    written: list[list[Tensor]] = field(default_factory=list)  # by module and operation
    length: int = 0  # tokens so far

    def rows(self, rows: Bool[Tensor, " batch"]) -> SlotState:
        """The episodes marked true."""
        return SlotState(
            self.memory.rows(rows),
            [past.rows(rows) for past in self.past],
            [[tokens[rows] for tokens in states] for states in self.written],
            self.length,
        )


class MemoryBlocks(nn.Module):
    """Some blocks and the memory module behind them."""

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
    """Blocks and memory modules over one matrix of slots."""

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
            places = MATRICES * len(layers)
            self.adapters = Adapters(places, settings.width, settings.rank)
            self.hyper_network = HyperNetwork(
                settings, spaces, places, settings.width, actions=True
            )

    @property
    def carries_gradient(self) -> bool:
        """Through the slots, where they are carried."""
        return self.settings.carried

    def initial_memory(self, batch: int) -> SlotMemory:
        """The trained initial slots."""
        return SlotMemory(self.slots.expand(batch, -1, -1))

    def prompted(self, memory: Memory, demonstration: Segment) -> SlotMemory:
        """The same slots, in modules whose matrices the hyper-network has written to."""
        assert isinstance(memory, SlotMemory)
        pair = self.hyper_network(demonstration, self.adapters)
        return replace(memory, pairs=(pair.down, pair.up))

    def forward(
        self, segment: Segment, memory: Memory, recording: LayerTrace | None = None
    ) -> tuple[Float[Tensor, "batch time outputs"], SlotMemory]:
        """Logits at every observation token, and the slots after the segment."""
        assert isinstance(memory, SlotMemory)
        tokens = self.steps(segment)
        where = self._layout(tokens.shape[1], tokens.shape[1])
        top, written = self._run(tokens, memory, where, recording=recording)
        return self.head(top[:, 1::3]), self._following(memory, written)

    def _layout(self, total: int, queries: int) -> Layout:
        """Causal attention of the last ``queries`` of so many tokens."""
        width, device = self.settings.width, str(self.slots.device)
        return layout_of(("step",) * total, queries, None, width, device)

    def _run(
        self,
        tokens: Tensor,
        memory: SlotMemory,
        where: Layout,
        past: Sequence[KeyValueCache | None] | None = None,
        recording: LayerTrace | None = None,
    ) -> tuple[Float[Tensor, "batch token width"], list[list[Tensor]]]:
        """The top-layer states of new tokens, and what each module is to write at the end."""
        past = past or [None] * len(self.blocks)
        written: list[list[Tensor]] = []
        for module, (blocks, before) in enumerate(zip(self.blocks, past, strict=True)):
            tokens = blocks.transformer(tokens, where, past=before, recording=recording)
            added = memory.added_to(module)
            written.append(blocks.memory.read(memory.slots, tokens, added))
            tokens = written[-1][-1]
        return tokens, written

    def _following(self, memory: SlotMemory, written: list[list[Tensor]]) -> SlotMemory:
        """The slots after a segment: each module writes to what the one before it has left."""
        slots = memory.slots
        if not self.settings.carried:
            return memory.with_content_of(self.initial_memory(len(slots)))
        for module, (blocks, states) in enumerate(zip(self.blocks, written, strict=True)):
            slots = blocks.memory.write(slots, states, memory.added_to(module))
        return replace(memory, slots=slots)

    def attention(self, segment: Segment, memory: Memory) -> tuple[AttentionMaps, Memory]:
        """The probabilities among the tokens of a segment; how slots are read is not in it."""
        recording = LayerTrace(weights=[])
        _, following = self(segment, memory, recording)
        assert recording.weights is not None
        return AttentionMaps(torch.stack(recording.weights, dim=1), memory_tokens=0), following

    def begin_segment(self, memory: Memory, context_steps: int) -> SlotState:
        """An empty segment."""
        assert isinstance(memory, SlotMemory)
        batch, capacity = len(memory.slots), 3 * context_steps
        past = [blocks.transformer.empty_past(batch, capacity) for blocks in self.blocks]
        return SlotState(memory, past)

    def step(self, step: Step, state: State) -> tuple[Float[Tensor, "batch outputs"], SlotState]:
        """Feed the action before, then return-to-go and observation, which gives the logits."""
        assert isinstance(state, SlotState)
        tokens = self.steps.question(step.observation, step.return_to_go)
        if step.previous_action is not None:
            tokens = torch.cat([self.steps.answer(step.previous_action), tokens], dim=1)
        return self.head(self._extend(state, tokens)[:, -1]), state

    def end_segment(self, last_action: Tensor, state: State) -> SlotMemory:
        """Feed the last action; then all 3K tokens of the segment write."""
        assert isinstance(state, SlotState)
        self._extend(state, self.steps.answer(last_action))
        return self._following(state.memory, state.written)

    def _extend(self, state: SlotState, tokens: Tensor) -> Float[Tensor, "batch token width"]:
        """The top-layer states of new tokens, which are kept for the segment's end."""
        state.length += tokens.shape[1]
        where = self._layout(state.length, tokens.shape[1])
        top, written = self._run(tokens, state.memory, where, state.past)
        if state.written:
            pairs = zip(state.written, written, strict=True)
            written = [[torch.cat(p, dim=1) for p in zip(*pair, strict=True)] for pair in pairs]
        state.written = written
        return top


def build(settings: Settings, spaces: Spaces) -> DecisionTransformerWithMemory:
    """A DT-Mem policy."""
    return DecisionTransformerWithMemory(settings, spaces)
