"""DT-Mem's working memory: slots addressed by content, which tokens read and write.

Source: DT-Mem (Kang et al. 2024) section 4.2 and Algorithm 3. Slots M (N x d) and tokens E (T x d)
meet in two tables with a row for each slot and a column for each token, address w and strength b:

            e_1  e_2  e_3                w = softmax(Q K^T / sqrt d)    Q = M W_q    K = E W_k
    slot 1  0.7  0.1  0.2                b = the same with weights of its own (written with a hat)
    slot 2  0.2  0.8  0.3
    slot 3  0.1  0.1  0.5                erase  e = w (1 - b)           M <- M (1 - e) + a
             |    |    |                 add    a = (w b) V             V = E W_v (with a hat)
             1    1    1                 read   w^T M

The shapes of the printed products of w, b (N x T) and M (N x d) match only if a single token is
written. ``in_turn`` therefore writes token by token; ``at_once`` is a second reading.
Deviation D40:

              in_turn                                   at_once
    w         over slots: a token's addresses sum to 1  the same
    b         over slots                                over tokens: a slot receives a mean
    keep      product over tokens of 1 - e              1 - sum over tokens of e, at least 0
    add       a of a token, kept by all later ones      sum over tokens of a
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Writing = Literal["in_turn", "at_once"]
MATRICES = 5  # of a module: query, key, write_query, write_key, write_value

# Given the number of a matrix and its inputs, returns what a hyper-network adds to its product.
Added = Callable[[int, Tensor], Tensor | float]


def unchanged(matrix: int, inputs: Tensor) -> float:
    """Add nothing."""
    return 0.0


class WorkingMemory(nn.Module):
    """The five matrices of one memory module. Callers pass the slots in and get them back.

    Args:
        width: of slots and tokens.
        operations: how often tokens read in a row, and then write.
        nearest: how many slots a token reads, those with the highest scores; None: all.
        writing: whether tokens write one after the other or all at once.
    """

    def __init__(self, width: int, operations: int, nearest: int | None, writing: Writing) -> None:
        super().__init__()
        self.operations, self.nearest, self.writing = operations, nearest, writing
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.write_query = nn.Linear(width, width, bias=False)
        self.write_key = nn.Linear(width, width, bias=False)
        self.write_value = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def read(
        self,
        slots: Float[Tensor, "batch slot width"],
        tokens: Float[Tensor, "batch token width"],
        added: Added = unchanged,
    ) -> list[Float[Tensor, "batch token width"]]:
        """Return the tokens after each operation; the last of them are the module's output.

        Tokens do not see each other here. Deviation D42: the slots read are added to a token, which
        is then normalised; they do not replace it.
        """
        states = []
        for _ in range(self.operations):
            tokens = self.norm(tokens + self._retrieve(slots, tokens, added))
            states.append(tokens)
        return states

    def _scores(
        self, slots: Tensor, tokens: Tensor, added: Added, write: bool = False
    ) -> Float[Tensor, "batch slot token"]:
        """The scores of the address, or of the strength if ``write``."""
        query, key = (self.write_query, self.write_key) if write else (self.query, self.key)
        first = 2 if write else 0
        queries = query(slots) + added(first, slots)
        keys = key(tokens) + added(first + 1, tokens)
        return queries @ keys.transpose(1, 2) / math.sqrt(queries.shape[-1])

    def _retrieve(
        self, slots: Tensor, tokens: Tensor, added: Added
    ) -> Float[Tensor, "batch token width"]:
        """For each token, the mean of all or the nearest slots, weighted by their address."""
        scores = self._scores(slots, tokens, added).transpose(1, 2)
        if self.nearest is not None and self.nearest < scores.shape[-1]:
            # Deviation D46: the scores of the address also decide which slots are nearest.
            threshold = scores.topk(self.nearest, dim=-1).values[..., -1:]
            scores = scores.masked_fill(scores < threshold, -torch.inf)
        return torch.softmax(scores, dim=-1) @ slots

    def write(
        self,
        slots: Float[Tensor, "batch slot width"],
        states: list[Float[Tensor, "batch token width"]],
        added: Added = unchanged,
    ) -> Float[Tensor, "batch slot width"]:
        """Return the slots after all operations; ``states``: the tokens that ``read`` returned.

        Deviation D93: the paper writes the tokens as they were before each reading.
        """
        for tokens in states:
            address = torch.softmax(self._scores(slots, tokens, added), dim=1)
            strength = self._scores(slots, tokens, added, write=True)
            values = self.write_value(tokens) + added(4, tokens)
            if self.writing == "at_once":
                slots = write_at_once(slots, address, torch.softmax(strength, dim=2), values)
            else:
                slots = write_in_turn(slots, address, torch.softmax(strength, dim=1), values)
        return slots


def write_in_turn(
    slots: Float[Tensor, "batch slot width"],
    address: Float[Tensor, "batch slot token"],
    strength: Float[Tensor, "batch slot token"],
    values: Float[Tensor, "batch token width"],
) -> Float[Tensor, "batch slot width"]:
    """Let each token erase and add after the one before it.

    Addresses depend on the slots before the first token, so all tokens are computed in parallel.
    The addition of token t is multiplied by what the later tokens keep:

        keep of a slot    k_1 k_2 k_3      for slots
        of what 1 added       k_2 k_3      for a_1
        of what 2 added           k_3      for a_2
        of what 3 added             1      for a_3
    """
    keep = 1 - address * (1 - strength)
    kept = keep.flip(-1).cumprod(-1).flip(-1)
    later = torch.cat([kept[..., 1:], torch.ones_like(kept[..., :1])], dim=-1)
    return kept[..., :1] * slots + (later * address * strength) @ values


def write_at_once(
    slots: Float[Tensor, "batch slot width"],
    address: Float[Tensor, "batch slot token"],
    strength: Float[Tensor, "batch slot token"],
    values: Float[Tensor, "batch token width"],
) -> Float[Tensor, "batch slot width"]:
    """Let all tokens erase and add together; a slot loses at most all of its content."""
    erase = (address * (1 - strength)).sum(dim=-1, keepdim=True).clamp(max=1)
    return (1 - erase) * slots + (address * strength) @ values
