"""The stack of blocks under every transformer here, with one way to run it.

New tokens attend over what came before and over themselves. A whole segment in training, one
environment step in a rollout and the write tokens at a segment's end are the same call with more or
fewer new tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from memdt.models.parts.attention import RelativeAttention, attention_weights
from memdt.models.parts.attention_pieces import Projections
from memdt.models.parts.geometry import Geometry, Layout


@dataclass
class KeyValueCache:
    """The tokens seen so far as they entered each layer, in buffers that are filled in place.

    They are the keys and values of all heads (see ``attention``, Association). The products of the
    layers' weights are kept here too: in a rollout they would be made anew at every step.
    """

    projections: list[Projections]
    tokens: list[Float[Tensor, "batch capacity width"]]
    length: int = 0

    def rows(self, rows: Bool[Tensor, " batch"]) -> KeyValueCache:
        """The rows marked true."""
        return KeyValueCache(
            self.projections, [tokens[rows] for tokens in self.tokens], self.length
        )

    def extend(self, layer: int, tokens: Tensor) -> Float[Tensor, "batch token width"]:
        """Add new tokens to a layer's; all of them so far are returned."""
        end = self.length + tokens.shape[1]
        self.tokens[layer][:, self.length : end] = tokens
        return self.tokens[layer][:, :end]


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
class LayerTrace:
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
        self.width, self.head_width = width, head_width
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
        past: KeyValueCache | None = None,
        recording: LayerTrace | None = None,
        after: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Float[Tensor, "batch wanted width"]:
        """The top-layer states of the new tokens that ``layout`` asks for.

        ``cache``: hidden states of the segment before, per layer, prepended to keys and values.
        ``past``: the tokens of this segment so far; the new ones are added to it.
        ``after``: what becomes of each block's output, token by token, given its number.
        """
        recording = recording or LayerTrace()
        for layer, block in enumerate(self.blocks):
            recording.hidden.append(tokens)
            where = layout.top if layer == len(self.blocks) - 1 else layout.every
            shared = past is not None or self._shares(where)
            queries = seen = block.entering(tokens)
            if cache:
                seen = torch.cat([block.entering(cache[layer]), queries], dim=1)
            if past is None:
                projections = self._projections(block, shared)
            else:
                projections, seen = past.projections[layer], past.extend(layer, seen)
            key, value = (seen[:, None],) * 2 if shared else block.attention.keys_and_values(seen)
            if recording.weights is not None:
                weights = attention_weights(queries, key, projections, layout.every)
                recording.weights.append(weights)
            if where is not layout.every:
                tokens = tokens.index_select(1, layout.wanted)
                queries = queries.index_select(1, layout.wanted)
            tokens = block(tokens, queries, (key, value), where, projections)
            tokens = tokens if after is None else after(layer, tokens)
        if past is not None:
            past.length = seen.shape[1]
        return self.final_norm(tokens)

    def _shares(self, where: Geometry) -> bool:
        """Whether heads had better share keys and values; see ``attention``, Association."""
        return self.head_width >= self.width or 8 * where.queries <= len(where.features)

    def _projections(self, block: nn.Module, shared: bool) -> Projections:
        return block.attention.projections((self.content_bias, self.position_bias), shared)

    def empty_past(self, batch: int, capacity: int) -> KeyValueCache:
        """Buffers for ``capacity`` tokens."""
        like = self.content_bias.detach()
        tokens = [like.new_empty(batch, capacity, self.width) for _ in self.blocks]
        return KeyValueCache(
            [self._projections(block, shared=True) for block in self.blocks], tokens
        )
