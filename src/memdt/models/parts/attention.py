"""Multi-head attention with Transformer-XL's relative positions, without its shift trick.

Source: Transformer-XL (Dai et al. 2019) equations of section 3.3, which RATE section 3 builds on.
The score of query i and key j is, divided by the root of the head's width,

    (q_i + u) . k_j  +  (q_i + v) . W_r R(i - j)      R(p) = [cos(p f), sin(p f)] per frequency f

Rotation. Published implementations build the second term for all pairs and shift it. If each pair
of numbers of z_i = W_r^T (q_i + v) is read as one complex number, the term is an ordinary product,

    Re[ (z_i e^{-i f p_i}) e^{i f p_j} ]

so each query is rotated once by its own position p_i, and keys are not rotated at all. Distances to
later positions (inside a memory block) are true negative distances. Deviation D10.

Association. q_i . k_j is x_i (W_q W_k^T) x_j, and a head adds (its attended values) W_v W_o. If
these products of weights are computed first, the tokens themselves are the keys and values, and all
heads *share* them. This saves a fifth of the multiplications if a head is as wide as the model. If
heads are narrow, separate keys and values are cheaper, except where few queries meet many keys, as
in a rollout. z_i is always computed as x_i (W_q W_r).

On a CPU, ``attention_pieces`` computes attention. Other devices, and training with dropout of
attention weights, use PyTorch's attention over concatenated content and position parts.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor, nn

from memdt.models.parts.attention_pieces import Attention, Projections, attend
from memdt.models.parts.geometry import Geometry


class RelativeAttention(nn.Module):
    """Attention of new tokens over earlier keys and themselves; no biases, as in Transformer-XL."""

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.head_width, self.dropout = heads, head_width, dropout
        self.query_key_value = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.position = nn.Linear(width, heads * head_width, bias=False)
        self.output = nn.Linear(heads * head_width, width, bias=False)

    def projections(
        self, biases: tuple[Float[Tensor, "heads head"], Float[Tensor, "heads head"]], shared: bool
    ) -> Projections:
        """Return the products of this layer's weights, for shared keys or separate ones.

        ``biases``: u and v of the score, content first.
        """
        weights = self.query_key_value.weight.view(3, self.heads, self.head_width, -1)
        query, key, value = weights.unbind(0)
        content, position = (self._with_bias(query, bias) for bias in biases)
        position = position @ self.position.weight.view_as(query)
        output = self.output.weight.t().view_as(query)
        if shared:
            content, output = content @ key, value.transpose(1, 2) @ output
        side_by_side = (heads.transpose(0, 1).flatten(1) for heads in (content, position))
        return Projections(*side_by_side, output.flatten(0, 1))

    def _with_bias(self, query: Tensor, bias: Tensor) -> Float[Tensor, "heads width_and_bias head"]:
        """The query weights, with one more row for the bias, scaled."""
        rows = torch.cat([query, bias[..., None]], dim=2).transpose(1, 2)
        return rows / math.sqrt(self.head_width)

    def keys_and_values(
        self, tokens: Float[Tensor, "batch token width"]
    ) -> tuple[Float[Tensor, "batch heads token key"], Float[Tensor, "batch heads token value"]]:
        """Return the keys and values of each head, for heads that do not share the tokens."""
        weight = self.query_key_value.weight[self.heads * self.head_width :]
        both = functional.linear(tokens, weight).unflatten(-1, (2, self.heads, self.head_width))
        key, value = both.permute(2, 0, 3, 1, 4).contiguous()
        return key, value

    def forward(
        self,
        tokens: Float[Tensor, "batch queries width"],
        key: Float[Tensor, "batch kinds keys key"],
        value: Float[Tensor, "batch kinds keys value"],
        geometry: Geometry,
        projections: Projections,
    ) -> Float[Tensor, "batch queries width"]:
        """Return the attended values of the queries."""
        dropout = self.dropout if self.training else 0.0
        if dropout or tokens.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return attend_by_library(tokens, key, value, projections, geometry, dropout)
        if not torch.is_grad_enabled():
            return attend(tokens, key, value, projections, geometry)
        attended: Tensor = Attention.apply(tokens, key, value, *projections, geometry)
        return attended


def attend_by_library(
    tokens: Float[Tensor, "batch queries width"],
    key: Float[Tensor, "batch kinds keys key"],
    value: Float[Tensor, "batch kinds keys value"],
    projections: Projections,
    geometry: Geometry,
    dropout: float = 0.0,
) -> Float[Tensor, "batch queries width"]:
    """Return the attended values of the queries, from ``scaled_dot_product_attention``."""
    query, keys = _queries_and_keys(tokens, key, projections, geometry)
    values = value.expand(-1, query.shape[1], -1, -1)
    mask = _mask(geometry)
    # The query weights are scaled already (see ``_with_bias``), hence a scale of 1.
    attended = functional.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, dropout_p=dropout, scale=1.0
    )
    return attended.transpose(1, 2).flatten(2) @ projections.output


def attention_weights(
    tokens: Float[Tensor, "batch queries width"],
    key: Float[Tensor, "batch kinds keys key"],
    projections: Projections,
    geometry: Geometry,
) -> Float[Tensor, "batch heads queries keys"]:
    """Attention probabilities, for those who want to look at them."""
    query, both = _queries_and_keys(tokens, key, projections, geometry)
    scores = query @ both.transpose(-1, -2)
    mask = _mask(geometry)
    return torch.softmax(scores if mask is None else scores + mask, dim=-1)


def _mask(geometry: Geometry) -> Float[Tensor, "... queries keys"] | None:
    """What is added to the scores: for all rows of a batch, or for each where they differ."""
    mask = None if geometry.mask is None else geometry.mask[:, 0]
    if geometry.padding is None:
        return mask
    padding = geometry.padding[:, None, None]
    return padding.expand(-1, -1, geometry.queries, -1) if mask is None else padding + mask


def _queries_and_keys(
    tokens: Tensor, key: Tensor, projections: Projections, geometry: Geometry
) -> tuple[Float[Tensor, "batch heads queries both"], Float[Tensor, "batch heads keys both"]]:
    """Content and position side by side, so that one product gives the whole score."""
    heads = projections.position.shape[1] // tokens.shape[2]
    content, position = (
        (tokens @ weight[:-1] + weight[-1]).unflatten(-1, (heads, -1)) for weight in projections[:2]
    )
    # PyTorch has no complex numbers of half precision, so this part leaves autocast.
    pairs = position.to(geometry.features.dtype).unflatten(-1, (-1, 2))
    turned = torch.view_as_real(torch.view_as_complex(pairs) * geometry.rotation).flatten(-2)
    query = torch.cat([content.to(turned.dtype), turned], dim=-1).transpose(1, 2)
    features = geometry.features.expand(*key.shape[:2], -1, -1)
    keys = torch.cat([key.to(turned.dtype), features], dim=-1)
    return query, keys.expand(-1, heads, -1, -1)
