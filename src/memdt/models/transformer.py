"""The stack of blocks under every transformer here, with one way to run it.

New tokens attend over what came before (keys and values made earlier) and over themselves. A whole
segment in training, one environment step in a rollout and the write tokens at a segment's end are
the same call with more or fewer new tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from memdt.models.attention import Geometry, RelativeAttention


@dataclass
class KeyValues:
    """Keys and values of the tokens seen so far, per layer, in buffers that are filled in place."""

    keys: list[Float[Tensor, "batch heads capacity head"]]
    values: list[Float[Tensor, "batch heads capacity head"]]
    length: int = 0

    def rows(self, rows: Bool[Tensor, " batch"]) -> KeyValues:
        """The rows marked true."""
        return KeyValues([k[rows] for k in self.keys], [v[rows] for v in self.values], self.length)

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add a layer's new keys and values; all of them so far are returned."""
        end = self.length + key.shape[2]
        self.keys[layer][:, :, self.length : end] = key
        self.values[layer][:, :, self.length : end] = value
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]


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
        self.dropout = nn.Dropout(dropout)
        self.feed_forward: nn.Module | None = None
        if feed_forward_width:
            self.feed_forward = nn.Sequential(
                nn.Linear(width, feed_forward_width),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(feed_forward_width, width),
            )
            self.feed_forward_norm = nn.LayerNorm(width)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of tokens that enter the block."""
        return self.attention.project(self.attention_norm(tokens) if self.pre_norm else tokens)

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        geometry: Geometry,
        biases: tuple[Tensor, Tensor],
    ) -> Float[Tensor, "batch token width"]:
        """The tokens after attention and feed-forward layer."""
        attended = self.dropout(self.attention(query, key, value, geometry, biases))
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
        geometry: Geometry,
        cache: tuple[Float[Tensor, "batch cached width"], ...] = (),
        past: KeyValues | None = None,
        recording: Recording | None = None,
    ) -> Float[Tensor, "batch token width"]:
        """The top-layer states of new tokens.

        ``cache``: hidden states of the segment before, per layer, prepended to keys and values.
        ``past``: keys and values of this segment so far; the new ones are added to it.
        """
        biases = (self.content_bias, self.position_bias)
        for layer, block in enumerate(self.blocks):
            if recording is not None:
                recording.hidden.append(tokens)
            query, key, value = block.project(tokens)
            if cache:
                _, cached_key, cached_value = block.project(cache[layer])
                key = torch.cat([cached_key, key], dim=2)
                value = torch.cat([cached_value, value], dim=2)
            if past is not None:
                key, value = past.extend(layer, key, value)
            if recording is not None and recording.weights is not None:
                weights = block.attention.weights(query, key, geometry, biases)
                recording.weights.append(weights)
            tokens = block(tokens, query, key, value, geometry, biases)
        if past is not None:
            past.length = key.shape[2]
        return self.final_norm(tokens)

    def empty_past(self, batch: int, capacity: int, like: Tensor) -> KeyValues:
        """Buffers for ``capacity`` tokens."""
        shape = (batch, self.heads, capacity, self.head_width)
        layers = range(len(self.blocks))
        return KeyValues([like.new_empty(shape) for _ in layers], [like.new_empty(shape) for _ in layers])
