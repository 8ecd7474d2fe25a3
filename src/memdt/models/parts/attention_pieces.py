"""Relative attention on a CPU, one piece at a time, forwards and backwards; see ``attention``.

If the queries, scores and weights of a whole batch exceed a core's cache, moving numbers takes
longer than multiplying them. A piece is a few rows of the batch and a stretch of their queries. It
goes through all of the attention at once, with only the keys that the stretch may see. The backward
pass reuses the attention weights alone, because it is faster to recompute queries and attended
values than to load them from memory. With the shared keys of ``attention``, 8 layers of 10 heads
train 2.6 times as fast as on whole batches under autograd, in an eighth of the memory
(benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from memdt.models.parts.geometry import Geometry

# Scores and rotated queries of a piece. With their temporaries they take 2 to 4 MB, which fits into
# the cache of a core.
NUMBERS_AT_ONCE = 300_000


class Projections(NamedTuple):
    """The matrices that a layer multiplies tokens with. The last row of the first two is a bias."""

    content: Float[Tensor, "width_and_bias heads_times_key"]
    position: Float[Tensor, "width_and_bias heads_times_width"]
    output: Float[Tensor, "heads_times_value width"]


@dataclass(frozen=True)
class Piece:
    """A few rows of a batch, a stretch of their queries, and the keys that these may see.

    ``kinds``: number of sets of keys; 1 if all heads share one, else one for each head.
    """

    rows: slice
    queries: slice
    keys: int
    kinds: int
    heads: int
    geometry: Geometry

    @property
    def size(self) -> tuple[int, int]:
        """Numbers of rows and of queries."""
        return self.rows.stop - self.rows.start, self.queries.stop - self.queries.start

    def tokens(self, tokens: Tensor) -> Float[Tensor, "rows_times_queries width"]:
        """Return the piece's tokens, row after row."""
        return tokens[self.rows, self.queries].flatten(0, 1)

    def visible(self, keys: Tensor) -> Float[Tensor, "rows_times_kinds keys key"]:
        """Select the keys or values that the piece may see."""
        return keys[self.rows, :, : self.keys].flatten(0, 1)

    def by_kind(self, flat: Tensor) -> Float[Tensor, "rows_times_kinds queries_times_heads key"]:
        """Group the vectors of each token's heads by the kind of keys that they meet.

        With a single kind this makes no copy.
        """
        rows, queries = self.size
        split = flat.view(rows, queries, self.kinds, self.heads // self.kinds, -1)
        return split.transpose(1, 2).reshape(rows * self.kinds, -1, split.shape[-1])

    def by_token(self, vectors: Tensor) -> Float[Tensor, "rows_times_queries heads_times_key"]:
        """Undo ``by_kind``."""
        rows, queries = self.size
        split = vectors.view(rows, self.kinds, queries, -1)
        return split.transpose(1, 2).reshape(rows * queries, -1)

    def rotate_(self, queries: Tensor, backwards: bool = False) -> Tensor:
        """Rotate position queries, heads side by side, by their own positions, in place."""
        rotation = self.geometry.rotation[self.queries]
        numbers = queries.view(*self.size, self.heads, -1, 2)
        torch.view_as_complex(numbers).mul_(rotation.conj() if backwards else rotation)
        return queries

    def weights(
        self, tokens: Tensor, key: Tensor, projections: Projections
    ) -> Float[Tensor, "rows_times_kinds queries_times_heads keys"]:
        """Return the attention probabilities."""
        content, position, _ = projections
        turned = self.by_kind(self.rotate_(_query(tokens, position))).flatten(0, 1)
        flat = turned @ self.geometry.features[: self.keys].t()
        del turned  # the next queries reuse its memory, which is still in the cache
        scores = flat.view(self.size[0] * self.kinds, -1, self.keys)
        queries = self.by_kind(_query(tokens, content))
        scores.baddbmm_(queries, self.visible(key).transpose(1, 2))
        if self.geometry.mask is not None:
            mask = self.geometry.mask[self.queries, :, : self.keys]
            scores.view(self.size[0], self.kinds, self.size[1], -1, self.keys).add_(mask)
        if self.geometry.padding is not None:
            padding = self.geometry.padding[self.rows, : self.keys]
            scores.view(self.size[0], -1, self.keys).add_(padding[:, None])
        return torch.softmax(scores, dim=-1, out=scores)


def _query(tokens: Tensor, weight: Tensor) -> Tensor:
    return torch.addmm(weight[-1], tokens, weight[:-1])


def _pieces(tokens: Tensor, key: Tensor, heads: int, geometry: Geometry) -> Iterator[Piece]:
    batch, _, width = tokens.shape
    # Threads share a piece, and each core has a cache of its own.
    numbers = NUMBERS_AT_ONCE * torch.get_num_threads()
    for queries, keys in geometry.stretches:
        each = heads * (queries.stop - queries.start) * (keys + width)
        rows = max(1, numbers // each)
        for first in range(0, batch, rows):
            part = slice(first, min(batch, first + rows))
            yield Piece(part, queries, keys, key.shape[1], heads, geometry)


def attend(
    tokens: Float[Tensor, "batch queries width"],
    key: Float[Tensor, "batch kinds keys key"],
    value: Float[Tensor, "batch kinds keys value"],
    projections: Projections,
    geometry: Geometry,
    saved_weights: list[Tensor] | None = None,
) -> Float[Tensor, "batch queries width"]:
    """Return the attended values of the queries; append each piece's weights to a list if given."""
    result = tokens.new_empty(tokens.shape)
    heads = projections.position.shape[1] // tokens.shape[2]
    for piece in _pieces(tokens, key, heads, geometry):
        weights = piece.weights(piece.tokens(tokens), key, projections)
        attended = piece.by_token(torch.bmm(weights, piece.visible(value)))
        result[piece.rows, piece.queries] = (attended @ projections.output).view(*piece.size, -1)
        if saved_weights is not None:
            saved_weights.append(weights)
    return result


class Attention(torch.autograd.Function):
    """``attend`` with its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        tokens: Tensor,
        key: Tensor,
        value: Tensor,
        content: Tensor,
        position: Tensor,
        output: Tensor,
        geometry: Geometry,
    ) -> Tensor:
        """Return the attended values of the queries."""
        weights: list[Tensor] = []
        projections = Projections(content, position, output)
        result = attend(tokens, key, value, projections, geometry, weights)
        ctx.geometry = geometry
        ctx.save_for_backward(tokens, key, value, content, position, output, *weights)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of all inputs but the geometry."""
        tokens, key, value, content, position, output, *saved = ctx.saved_tensors
        step = _Backward(tokens, key, value, Projections(content, position, output))
        heads = position.shape[1] // tokens.shape[2]
        for piece, weights in zip(_pieces(tokens, key, heads, ctx.geometry), saved, strict=True):
            step.add(piece, weights, piece.tokens(gradient))
        return (*step.gradients, None)


class _Backward:
    """Adds up the gradients of the pieces."""

    def __init__(self, tokens: Tensor, key: Tensor, value: Tensor, weights: Projections) -> None:
        self.tokens, self.key, self.value, self.projections = tokens, key, value, weights
        self.gradients = [torch.zeros_like(t) for t in (tokens, key, value, *weights)]

    def add(self, piece: Piece, weights: Tensor, gradient: Tensor) -> None:
        """Add the gradients of one piece, from the gradient of its result."""
        to_tokens, to_key, to_value, *_ = self.gradients
        visible = (piece.rows, slice(None), slice(0, piece.keys))
        shape = (piece.size[0], piece.kinds, piece.keys, -1)
        scores, for_values = self._through_values(piece, weights, gradient)
        to_value[visible] += for_values.view(shape)
        tokens = piece.tokens(self.tokens)
        queries = piece.by_kind(_query(tokens, self.projections.content))
        to_key[visible] += torch.bmm(scores.transpose(1, 2), queries).view(shape)
        del queries  # frees cache for the next product, as in Piece.weights
        content = piece.by_token(torch.bmm(scores, piece.visible(self.key)))
        gathered = self._query(tokens, content, number=0)
        del content
        turned = scores.flatten(0, 1) @ piece.geometry.features[: piece.keys]
        position = piece.rotate_(piece.by_token(turned), backwards=True)
        gathered += self._query(tokens, position, number=1)
        to_tokens[piece.rows, piece.queries] = gathered.view(*piece.size, -1)

    def _through_values(
        self, piece: Piece, weights: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of the scores and of the values; adds that of the output projection."""
        values = piece.visible(self.value)
        self.gradients[5].addmm_(piece.by_token(torch.bmm(weights, values)).t(), gradient)
        attended = piece.by_kind(gradient @ self.projections.output.t())
        scores = torch.bmm(attended, values.transpose(1, 2))
        softmax_backward = torch.ops.aten._softmax_backward_data.out
        softmax_backward(scores, weights, -1, weights.dtype, grad_input=scores)
        return scores, torch.bmm(weights.transpose(1, 2), attended)

    def _query(self, tokens: Tensor, gradient: Tensor, number: int) -> Tensor:
        """Gradient of the tokens, from that of their queries; adds those of weights and bias."""
        weight, to_weight = self.projections[number], self.gradients[3 + number]
        to_weight[:-1].addmm_(tokens.t(), gradient)
        to_weight[-1] += gradient.sum(dim=0)
        return gradient @ weight[:-1].t()
