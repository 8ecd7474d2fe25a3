"""HDT: a Decision Transformer with adapters whose weights a hyper-network writes.

Source: HDT (Xu et al. 2023), Hyper-Decision Transformer; there is no public code. A bottleneck of
its own follows each block:

    block -> x -> x + up(relu(down(x)))        down, up: its own, plus what the hyper-network writes
                                               from observations and returns of a demonstration

Training has three phases, a variant each (``start_from``, ``training.trainable``): the Decision
Transformer alone, then the hyper-network with all else frozen, then, on a new task, the adapters
alone. Deviation D71: sizes, place and input of the hyper-network are our reading. Deviation D72:
fine-tuning trains what is added to the written adapters, and the hyper-network goes on writing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from memdt.data.segments import Segment
from memdt.models import decision_transformer
from memdt.models.decision_transformer import DecisionTransformer
from memdt.models.interface import Memory, Spaces
from memdt.models.parts.geometry import Layout
from memdt.models.parts.hyper_network import Adapters, HyperNetwork, HyperSettings, Pair
from memdt.models.parts.segment_transformer import SegmentMemory
from memdt.models.parts.transformer import KeyValueCache, LayerTrace


class Settings(decision_transformer.Settings, HyperSettings):
    """Sizes of the Decision Transformer and of the hyper-network."""

    demonstration_steps: int = Field(default=28, gt=0, description="steps of the demonstration")


@dataclass(frozen=True)
class AdapterMemory(SegmentMemory):
    """The adapters of every row, as written for its task."""

    pairs: tuple[Tensor, ...] = ()  # down and up of `Pair`


class HyperDecisionTransformer(DecisionTransformer):
    """The adapters of an episode are what it carries; it carries nothing else."""

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(settings, spaces)
        self.adapters = Adapters(settings.layers, settings.width, settings.rank)
        self.hyper_network = HyperNetwork(
            settings, spaces, settings.layers, settings.width, actions=False
        )

    def initial_memory(self, batch: int) -> AdapterMemory:
        """The adapters without a demonstration."""
        return self._holding(self.adapters.alone(batch))

    def prompted(self, memory: Memory, demonstration: Segment) -> AdapterMemory:
        """The adapters that the hyper-network writes."""
        return self._holding(self.hyper_network(demonstration, self.adapters))

    def _holding(self, pair: Pair) -> AdapterMemory:
        empty = self.memory.expand(len(pair.down), -1, -1)
        return AdapterMemory(empty, pairs=(pair.down, pair.up))

    def _following(
        self, memory: SegmentMemory, closing: Tensor, hidden: list[Tensor]
    ) -> SegmentMemory:
        return memory

    def _run(
        self,
        memory: SegmentMemory,
        tokens: Tensor,
        where: Layout,
        cache: tuple[Tensor, ...] = (),
        past: KeyValueCache | None = None,
        recording: LayerTrace | None = None,
    ) -> Float[Tensor, "batch wanted width"]:
        assert isinstance(memory, AdapterMemory)
        pair = Pair(*memory.pairs)

        def adapted(layer: int, states: Tensor) -> Tensor:
            return states + pair.up_from(layer, torch.relu(pair.down_to(layer, states)))

        return self.transformer(tokens, where, cache, past, recording, adapted)


def build(settings: Settings, spaces: Spaces) -> HyperDecisionTransformer:
    """An HDT policy."""
    return HyperDecisionTransformer(settings, spaces)
