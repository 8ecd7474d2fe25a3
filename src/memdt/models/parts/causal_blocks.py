"""Pre-normalised causal transformer blocks (GPT-2), with keys and values kept while decoding.

Positions are the caller's business: they are added to the tokens. Source: Radford et al. 2019.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor, nn

Past = tuple[tuple[Tensor, ...], ...]  # keys and values of each block: row head token channel


class CausalBlocks(nn.Module):
    """``layers`` blocks of attention and a feed-forward layer of four times the width."""

    def __init__(self, layers: int, heads: int, width: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(heads, width, dropout) for _ in range(layers))

    def forward(
        self, tokens: Float[Tensor, "rows token width"], past: Past | None = None
    ) -> tuple[Float[Tensor, "rows token width"], Past]:
        """States of the tokens, which come after those of ``past``, and what to go on with."""
        following = []
        for number, block in enumerate(self.blocks):
            tokens, kept = block(tokens, None if past is None else past[number])
            following.append(kept)
        return tokens, tuple(following)


class Block(nn.Module):
    """One block."""

    def __init__(self, heads: int, width: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before_attention, self.before_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(
        self, tokens: Float[Tensor, "rows token width"], past: tuple[Tensor, ...] | None
    ) -> tuple[Float[Tensor, "rows token width"], tuple[Tensor, ...]]:
        """States of the tokens, and keys and values of these and all before."""
        made = self.queries_keys_values(self.before_attention(tokens))
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in made.chunk(3, dim=-1)
        )
        if past is not None:
            keys = torch.cat([past[0], keys], dim=2)
            values = torch.cat([past[1], values], dim=2)
        new, all_ = queries.shape[2], keys.shape[2]
        # New tokens come last, so each also sees the ``all_ - new`` tokens before them.
        seen = torch.ones(new, all_, dtype=torch.bool, device=tokens.device).tril(all_ - new)
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, seen, dropout_p=self.dropout if self.training else 0.0
        )
        tokens = tokens + self._dropped(self.output(attended.transpose(1, 2).flatten(2)))
        fed = self.feed_forward(self.before_feed_forward(tokens))
        return tokens + self._dropped(fed), (keys, values)

    def _dropped(self, states: Tensor) -> Tensor:
        return functional.dropout(states, self.dropout, self.training)


def map_past(function: Callable[[Tensor], Tensor], past: Past) -> Past:
    """The same with ``function`` applied to all keys and values."""
    return tuple(tuple(function(tensor) for tensor in pair) for pair in past)
