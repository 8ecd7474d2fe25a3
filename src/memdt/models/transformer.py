"""The stack of blocks under every transformer here, with one way to run it.

New tokens attend over what came before (keys and values made earlier) and over themselves. A whole
segment in training, one environment step in a rollout and the write tokens at a segment's end are
the same call with more or fewer new tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from memdt.models.attention import RelativeAttention, attention_weights
from memdt.models.attention_pieces import Projections
from memdt.models.geometry import Geometry, Layout


@dataclass
class KeyValues:
    """Keys and values of the tokens seen so far, per layer, in buffers that are filled in place.

    Where a layer's keys are its values, both names stand for one buffer. The products of the
    layers' weights are kept here too: in a rollout they would be made anew at every step.
    """

    projections: list[Projections]
    keys: list[Float[Tensor, "batch kinds capacity key"]]
    values: list[Float[Tensor, "batch kinds capacity value"]]
    length: int = 0

    def rows(self, rows: Bool[Tensor, " batch"]) -> KeyValues:
        """The rows marked true."""
        keys = [key[rows] for key in self.keys]
        pairs = zip(self.keys, self.values, keys, strict=True)
        values = [chosen if value is key else value[rows] for key, value, chosen in pairs]
        return replace(self, keys=keys, values=values)

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add a layer's new keys and values; all of them so far are returned."""
        end = self.length + key.shape[2]
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self.length : end] = key
        if values is not keys:
            values[:, :, self.length : end] = value
        return keys[:, :, :end], values[:, :, :end]


class Block(nn.Module):
    """Attention, then a feed-forward layer unless its width is 0; layer norm after or before."""

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int,
        feed_forward_width: int,
        normalization: Literal["post", "pre"],
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.pre_norm = normalization == "pre"
        self.attention = RelativeAttention(width, heads, head_width, attention_dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.feed_forward: nn.Module | None = None
        if feed_forward_width:
            self.feed_forward = nn.Sequential(
                nn.Linear(width, feed_forward_width),
                nn.ReLU(),
                nn.Dropout(dropout) if dropout else nn.Identity(),
                nn.Linear(feed_forward_width, width),
            )
            self.feed_forward_norm = nn.LayerNorm(width)

    def entering(self, tokens: Tensor) -> Float[Tensor, "batch token width"]:
        """The tokens as attention sees them."""
        return self.attention_norm(tokens) if self.pre_norm else tokens

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        queries: Float[Tensor, "batch token width"],
        keys_and_values: tuple[Tensor, Tensor],
        geometry: Geometry,
        projections: Projections,
    ) -> Float[Tensor, "batch token width"]:
        """The tokens after attention and feed-forward layer; ``queries``: the tokens, entering."""
        attended = self.dropout(self.attention(queries, *keys_and_values, geometry, projections))
        tokens = tokens + attended
        if not self.pre_norm:
            tokens = self.attention_norm(tokens)
        if self.feed_forward is None:
            return tokens
        if self.pre_norm:
            return tokens + self.dropout(self.feed_forward(self.feed_forward_norm(tokens)))
        return self.feed_forward_norm(tokens + self.dropout(self.feed_forward(tokens)))


@dataclass
class Recording:
    """Collects what a caller wants to see of a pass: hidden states before each layer, attention."""

    hidden: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] | None = None


class Transformer(nn.Module):
    """Blocks with shared position biases u and v, as in Transformer-XL."""

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        head_width: int,
        feed_forward_width: int,
        normalization: Literal["post", "pre"],
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.content_bias = nn.Parameter(torch.zeros(heads, head_width))
        self.position_bias = nn.Parameter(torch.zeros(heads, head_width))
        self.blocks = nn.ModuleList(
            Block(
                width, heads, head_width, feed_forward_width, normalization, dropout,
                attention_dropout,
            )
            for _ in range(layers)
        )  # fmt: skip
        self.final_norm = nn.LayerNorm(width) if normalization == "pre" else nn.Identity()

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        layout: Layout,
        cache: tuple[Float[Tensor, "batch cached width"], ...] = (),
        past: KeyValues | None = None,
        recording: Recording | None = None,
    ) -> Float[Tensor, "batch wanted width"]:
        """The top-layer states of the new tokens that ``layout`` asks for.

        ``cache``: hidden states of the segment before, per layer, prepended to keys and values.
        ``past``: keys and values of this segment so far; the new ones are added to it.
        """
        recording = recording or Recording()
        projections = self.projections() if past is None else past.projections
        for layer, block in enumerate(self.blocks):
            recording.hidden.append(tokens)
            queries = block.entering(tokens)
            earlier = (block.entering(cache[layer]),) if cache else ()
            seen = torch.cat([*earlier, queries], dim=1) if earlier else queries
            key, value = block.attention.keys_and_values(seen)
            if past is not None:
                key, value = past.extend(layer, key, value)
            if recording.weights is not None:
                weights = attention_weights(queries, key, projections[layer], layout.every)
                recording.weights.append(weights)
            where = layout.every
            if layer == len(self.blocks) - 1 and layout.wanted is not None:
                where = layout.top
                tokens, queries = tokens[:, layout.wanted], queries[:, layout.wanted]
            tokens = block(tokens, queries, (key, value), where, projections[layer])
        if past is not None:
            past.length = key.shape[2]
        return self.final_norm(tokens)

    def projections(self) -> list[Projections]:
        """The products of every layer's weights."""
        biases = (self.content_bias, self.position_bias)
        return [block.attention.projections(biases) for block in self.blocks]

    def empty_past(self, batch: int, capacity: int) -> KeyValues:
        """Buffers for ``capacity`` tokens."""
        like = self.content_bias.detach()
        attention = self.blocks[0].attention
        kinds = (1, attention.width) if attention.shared_keys else (self.heads, self.head_width)
        shape = (batch, kinds[0], capacity, kinds[1])
        keys = [like.new_empty(shape) for _ in self.blocks]
        if attention.shared_keys:
            return KeyValues(self.projections(), keys, keys)
        return KeyValues(self.projections(), keys, [like.new_empty(shape) for _ in self.blocks])
