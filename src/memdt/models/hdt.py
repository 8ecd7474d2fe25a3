"""HDT: a Decision Transformer with adapters whose weights a hyper-network writes.

Source: HDT (Xu et al. 2023), Hyper-Decision Transformer; there is no public code. An adapter
follows each block:

    block -> x -> x + up(relu(down(x)))        down, up: weights of the adapter, plus what the
                                               hyper-network writes from the observations and
                                               returns of a demonstration

Training has three phases, one variant each (``start_from``, ``training.trainable``): first the
Decision Transformer alone, then the hyper-network with everything else frozen, then the adapters
alone on a new task. Deviation D71: size, position and input of the hyper-network are our reading.
Deviation D72: fine-tuning trains an addition to the written adapters, and the hyper-network still
writes.
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
    """The adapters of every row, written for its task."""

    pairs: tuple[Tensor, ...] = ()  # down and up of `Pair`


class HyperDecisionTransformer(DecisionTransformer):
    """A Decision Transformer that carries the adapters of an episode, and nothing else."""

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        super().__init__(settings, spaces)
        self.adapters = Adapters(settings.layers, settings.width, settings.rank)
        self.hyper_network = HyperNetwork(
            settings, spaces, settings.layers, settings.width, actions=False
        )

    def initial_memory(self, batch: int) -> AdapterMemory:
        """Return the adapters without a demonstration."""
        return self._memory_of(self.adapters.expanded(batch))

    def prompted(self, memory: Memory, demonstration: Segment) -> AdapterMemory:
        """Return the adapters that the hyper-network writes."""
        return self._memory_of(self.hyper_network(demonstration, self.adapters))

    def _memory_of(self, pair: Pair) -> AdapterMemory:
        # The memory of this family has tokens; this model has none.
        no_tokens = self.memory.expand(len(pair.down), -1, -1)
        return AdapterMemory(no_tokens, pairs=(pair.down, pair.up))

    def _next_memory(
        self, memory: SegmentMemory, written: Tensor, hidden: list[Tensor]
    ) -> SegmentMemory:
        return memory

    def _run(
        self,
        memory: SegmentMemory,
        tokens: Tensor,
        layout: Layout,
        cache: tuple[Tensor, ...] = (),
        past: KeyValueCache | None = None,
        recording: LayerTrace | None = None,
    ) -> Float[Tensor, "batch selected width"]:
        assert isinstance(memory, AdapterMemory)
        pair = Pair(*memory.pairs)

        def adapted(layer: int, states: Tensor) -> Tensor:
            return states + pair.up_from(layer, torch.relu(pair.down_to(layer, states)))

        return self.transformer(tokens, layout, cache, past, recording, adapted)


def build(settings: Settings, spaces: Spaces) -> HyperDecisionTransformer:
    """Build an HDT policy."""
    return HyperDecisionTransformer(settings, spaces)
