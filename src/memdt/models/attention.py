"""Multi-head attention with Transformer-XL's relative positions, without its shift trick.

Source: Transformer-XL (Dai et al. 2019) equations of section 3.3, which RATE section 3 builds on.
The score of query i and key j is

    (q_i + u) . k_j  +  (q_i + v) . W_r R(i - j)          R(p) = [sin(p w), cos(p w)]

The published codes build the second term for all pairs and shift it. Angle addition gives the same
numbers as an ordinary product: with (a, b) = (q_i + v) W_r split in halves,

    a sin((i-j) w) + b cos((i-j) w)
        = [-a cos(i w) + b sin(i w),  a sin(i w) + b cos(i w)] . [sin(j w), cos(j w)]

so each query is rotated once by its own position, and keys need nothing. Distances to later
positions (inside a memory block) are true negative distances. Deviation D10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Geometry:
    """Where queries and keys stand and what each may see; the same for all layers."""

    mask: Float[Tensor, "queries keys"] | None  # added to the scores: 0 or -inf
    query_features: Float[Tensor, "queries width"]
    key_features: Float[Tensor, "keys width"]


def position_features(positions: Tensor, width: int) -> Float[Tensor, "positions width"]:
    """[sin(p w), cos(p w)] for each position, with Transformer-XL's frequencies w."""
    frequencies = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = positions.to(torch.float64)[:, None] * frequencies.to(positions.device)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


class RelativeAttention(nn.Module):
    """Attention of new tokens over earlier keys and themselves; no biases, as in Transformer-XL."""

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.query_key_value = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.position = nn.Linear(width, heads * head_width, bias=False)
        self.output = nn.Linear(heads * head_width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def project(self, tokens: Float[Tensor, "batch token width"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each batch x heads x token x head_width."""
        batch, length, _ = tokens.shape
        split = self.query_key_value(tokens).view(batch, length, 3, self.heads, self.head_width)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        return query, key, value

    def forward(
        self,
        query: Float[Tensor, "batch heads queries head"],
        key: Float[Tensor, "batch heads keys head"],
        value: Float[Tensor, "batch heads keys head"],
        geometry: Geometry,
        biases: tuple[Float[Tensor, "heads head"], Float[Tensor, "heads head"]],
    ) -> Float[Tensor, "batch queries width"]:
        """The attended values of the queries."""
        weights = self.dropout(self.weights(query, key, geometry, biases))
        attended = torch.matmul(weights, value)
        return self.output(attended.transpose(1, 2).flatten(2))

    def weights(
        self,
        query: Float[Tensor, "batch heads queries head"],
        key: Float[Tensor, "batch heads keys head"],
        geometry: Geometry,
        biases: tuple[Tensor, Tensor],
    ) -> Float[Tensor, "batch heads queries keys"]:
        """Attention probabilities."""
        scale = 1.0 / math.sqrt(self.head_width)
        content = (query + biases[0][:, None]) * scale
        rotated = self._rotate((query + biases[1][:, None]) * scale, geometry.query_features)
        scores = torch.matmul(content, key.transpose(-1, -2))
        scores = scores + torch.matmul(rotated, geometry.key_features.t())
        if geometry.mask is not None:
            scores = scores + geometry.mask
        return torch.softmax(scores, dim=-1)

    def _rotate(self, query: Tensor, features: Tensor) -> Float[Tensor, "batch heads queries width"]:
        """(q + v) W_r, rotated by the query's own position."""
        projection = self.position.weight.view(self.heads, self.head_width, -1)
        first, second = torch.matmul(query, projection).chunk(2, dim=-1)
        sine, cosine = features.chunk(2, dim=-1)
        return torch.cat([second * sine - first * cosine, first * sine + second * cosine], dim=-1)
