"""The stack of blocks that every transformer here uses.

New tokens attend to earlier tokens and to themselves. The same call handles a whole segment in
training, one environment step in a rollout, and the write tokens at the end of a segment; only the
number of new tokens differs.
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
    """The inputs of each layer so far, in buffers that are filled in place.

    They are the keys and values of all heads (see ``attention``, Association). The cache also holds
    the products of the layers' weights, which a rollout would otherwise recompute at every step.
    """

    projections: list[Projections]
    tokens: list[Float[Tensor, "batch capacity width"]]
    length: int = 0

    def rows(self, rows: Bool[Tensor, " batch"]) -> KeyValueCache:
        """Keep the rows marked true."""
        return KeyValueCache(
            self.projections, [tokens[rows] for tokens in self.tokens], self.length
        )

    def extend(self, layer: int, tokens: Tensor) -> Float[Tensor, "batch token width"]:
        """Add new tokens to those of a layer, and return all of its tokens so far."""
        end = self.length + tokens.shape[1]
        self.tokens[layer][:, self.length : end] = tokens
        return self.tokens[layer][:, :end]


class Block(nn.Module):
    """Attention and a feed-forward layer (unless its width is 0), with layer norm after or before.

    Source: Transformer-XL (Dai et al. 2019) section 3.3.
    """

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
        """Return the inputs of attention: the tokens, normalised if the norm comes first."""
        return self.attention_norm(tokens) if self.pre_norm else tokens

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        queries: Float[Tensor, "batch token width"],
        keys_and_values: tuple[Tensor, Tensor],
        geometry: Geometry,
        projections: Projections,
    ) -> Float[Tensor, "batch token width"]:
        """Return the tokens after attention and feed-forward layer.

        ``queries``: what ``entering`` returns for these tokens.
        """
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
    """Collects hidden states before each layer, and attention weights if ``weights`` is a list."""

    hidden: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] | None = None


class Transformer(nn.Module):
    """A stack of blocks that share the biases u and v, as in Transformer-XL."""

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
        # Pre-normalised blocks add to an unscaled sum, which only this norm scales.
        self.final_norm = nn.LayerNorm(width) if normalization == "pre" else nn.Identity()

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        layout: Layout,
        cache: tuple[Float[Tensor, "batch cached width"], ...] = (),
        past: KeyValueCache | None = None,
        recording: LayerTrace | None = None,
        after: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Float[Tensor, "batch selected width"]:
        """Return the top-layer states of the new tokens that ``layout`` selects.

        Args:
            tokens: the new tokens.
            layout: positions and mask of all tokens, and the selected ones.
            cache: hidden states of the segment before, one tensor for each layer; keys and values
                begin with them.
            past: the earlier tokens of this segment; the new ones are added to it.
            recording: collects what happens inside.
            after: applied to each block's number and output; must treat every token alone.
        """
        recording = recording or LayerTrace()
        for layer, block in enumerate(self.blocks):
            # Inputs of layers, not outputs: the next segment attends to these (RATE section 3).
            recording.hidden.append(tokens)
            geometry = layout.top if layer == len(self.blocks) - 1 else layout.every
            # A rollout always shares: its cache then holds one set of tokens for all heads.
            shared = past is not None or self._shares_keys(geometry)
            queries = context = block.entering(tokens)
            if cache:
                context = torch.cat([block.entering(cache[layer]), queries], dim=1)
            if past is None:
                projections = self._projections(block, shared)
            else:
                projections, context = past.projections[layer], past.extend(layer, context)
            if shared:
                key = value = context[:, None]
            else:
                key, value = block.attention.keys_and_values(context)
            if recording.weights is not None:
                weights = attention_weights(queries, key, projections, layout.every)
                recording.weights.append(weights)
            if geometry is not layout.every:
                tokens = tokens.index_select(1, layout.selected)
                queries = queries.index_select(1, layout.selected)
            tokens = block(tokens, queries, (key, value), geometry, projections)
            tokens = tokens if after is None else after(layer, tokens)
        # Only now, since every layer appends its tokens at the same offset.
        if past is not None:
            past.length = context.shape[1]
        return self.final_norm(tokens)

    def _shares_keys(self, geometry: Geometry) -> bool:
        """Whether it is faster if heads share keys and values; see ``attention``, Association."""
        return self.head_width >= self.width or 8 * geometry.queries <= len(geometry.features)

    def _projections(self, block: nn.Module, shared: bool) -> Projections:
        return block.attention.projections((self.content_bias, self.position_bias), shared)

    def empty_past(self, batch: int, capacity: int) -> KeyValueCache:
        """Return an empty cache for ``capacity`` tokens."""
        like = self.content_bias.detach()
        tokens = [like.new_empty(batch, capacity, self.width) for _ in self.blocks]
        return KeyValueCache(
            [self._projections(block, shared=True) for block in self.blocks], tokens
        )
