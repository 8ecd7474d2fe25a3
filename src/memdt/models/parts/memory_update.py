"""How the write tokens of a segment become the next memory.

``replace`` is the first version of RATE, ``retention_valve`` the cross attention of its later
version. The gates are this project's own, for episodes much longer than those of training
(docs/extrapolation.md).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

# The new memory, and how far the gate of each slot was open (0 to 1, with gradient); None: no gate.
Updated = tuple[Float[Tensor, "batch slot width"], Float[Tensor, "batch slot"] | None]


class Replace(nn.Module):
    """The write tokens are the new memory. Source: RATE section 3."""

    def forward(self, memory: Tensor, written: Tensor) -> Updated:
        """Return the new memory."""
        return written, None


class RetentionValve(nn.Module):
    """Cross attention with the old memory as query and the written one as key and value.

    Keys and values pass an activation first. There is no residual connection and no norm. Source:
    memory retention valve of RATE's later version (public code: ReLU, separate projections with
    bias).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, memory: Tensor, written: Tensor) -> Updated:
        """Return the new memory."""
        source = torch.relu(written)
        updated: Tensor = self.attention(memory, source, source, need_weights=False)[0]
        return updated, None


class Gate(nn.Module):
    """new = g * written + (1 - g) * old, with a gate per slot and dimension, or a binary per slot.

    The binary gate is 0 or 1 in the forward pass and has the gradient of the sigmoid
    (straight-through). A slot with a closed gate thus keeps its exact bits over any number of
    segments.
    """

    def __init__(self, width: int, binary: bool, bias: float) -> None:
        super().__init__()
        self.binary = binary
        self.score = nn.Linear(2 * width, 1 if binary else width)
        # With a negative bias gates begin nearly shut, so that memory lasts before it is learnt.
        nn.init.constant_(self.score.bias, bias)

    def forward(self, memory: Tensor, written: Tensor) -> Updated:
        """Return the new memory, and the mean sigmoid of the scores, for a binary gate too."""
        gate = torch.sigmoid(self.score(torch.cat([memory, written], dim=-1)))
        openness = gate.mean(dim=-1)
        if not self.binary:
            return memory + gate * (written - memory), openness
        # Summed in this order, the difference is exactly 0 and the gate exactly 0 or 1.
        gate = (gate > 0.5).to(gate.dtype) + (gate - gate.detach())
        return gate * written + (1 - gate) * memory, openness


def memory_update(kind: str, width: int, heads: int, gate_bias: float) -> nn.Module:
    """Build the update that the settings name."""
    if kind == "retention_valve":
        return RetentionValve(width, heads)
    if kind in ("gate", "binary_gate"):
        return Gate(width, binary=kind == "binary_gate", bias=gate_bias)
    return Replace()
