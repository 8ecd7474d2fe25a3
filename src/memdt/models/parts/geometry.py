"""Relative positions of tokens, and which keys each query may see. All layers share them.

Source: relative positions of Transformer-XL (Dai et al. 2019), section 3.3; see ``attention``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

# Queries per stretch. Short stretches skip more of the mask, long ones multiply faster. A multiple
# of 16, the numbers in a vector register: otherwise the softmax of such rows is a third slower.
STRETCH = 32

# Added to scores of padding: its weight is 0 beside any real key. A finite number, so that padding
# that sees nothing but padding does not become NaN, which would spread from there.
HIDDEN = -1e30


@dataclass(frozen=True)
class Geometry:
    """Positions of queries and keys, and the mask between them."""

    mask: Float[Tensor, "queries 1 keys"] | None  # added to the scores: 0 or -inf; None: all seen
    rotation: Complex[Tensor, "queries 1 frequencies"]  # e^{-i f position}
    features: Float[Tensor, "keys width"]  # cos(f position), -sin(f position), side by side
    stretches: tuple[tuple[slice, int], ...]  # neighbouring queries, and how many keys they see
    # Added to the scores as well, where rows of a batch differ in what is padding: 0 or HIDDEN.
    padding: Float[Tensor, "batch keys"] | None = None

    @property
    def queries(self) -> int:
        """Number of queries."""
        return self.rotation.shape[0]

    def of(self, queries: Int[Tensor, " some"]) -> Geometry:
        """Return the geometry of the queries with these numbers, over all keys."""
        numbers = queries.to(self.rotation.device)
        mask = None if self.mask is None else self.mask[numbers]
        allowed = (
            torch.ones(len(queries), len(self.features)) if mask is None else mask[:, 0].isfinite()
        )
        return Geometry(mask, self.rotation[numbers], self.features, _stretches(allowed))


def geometry(
    allowed: Bool[Tensor, "queries keys"],
    positions: Int[Tensor, " keys"],
    width: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Geometry:
    """Build the geometry of queries that are also the last of the keys.

    Args:
        allowed: which keys each query may see.
        positions: of the keys.
        width: of the model; half of it is the number of frequencies.
        device: of the tensors.
        dtype: of the mask and the position features.
    """
    frequencies = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = positions.to(torch.float64)[:, None] * frequencies
    turns = torch.polar(torch.ones_like(angles), -angles).to(dtype.to_complex())
    mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, -torch.inf)[:, None]
    first = allowed.shape[1] - allowed.shape[0]
    return Geometry(
        None if bool(allowed.all()) else mask.to(device),
        turns[first:, None].to(device),
        torch.view_as_real(turns).flatten(1).to(device),
        _stretches(allowed),
    )


def _stretches(allowed: Tensor) -> tuple[tuple[slice, int], ...]:
    """Cut the queries into stretches, each with the number of keys that it needs.

    A stretch needs the keys up to the last one that any of its queries may see. The last stretch
    includes the remaining queries.

    x . . . . .
    x x . . . .    the first stretch: 2 queries, 2 keys
    x x x . . .
    x x x x . .    the second: 2 queries, 4 keys
    """
    queries, stretches = allowed.shape[0], []
    borders = [*range(0, max(1, queries - STRETCH + 1), STRETCH), queries] if queries else []
    for first, last in itertools.pairwise(borders):
        keys = allowed[first:last].any(dim=0).nonzero()
        stretches.append((slice(first, last), int(keys.max()) + 1))
    return tuple(stretches)


@dataclass(frozen=True)
class Layout:
    """The geometry of one pass through a transformer.

    Callers often need only some tokens of the top layer, such as the observations, which predict
    actions. The top layer then computes no others.
    """

    every: Geometry
    top: Geometry
    selected: Int[Tensor, " selected"] | None = None  # queries of the top layer; None: all

    @classmethod
    def of(cls, every: Geometry, selected: tuple[int, ...] | None) -> Layout:
        """Build a layout whose top layer computes the ``selected`` queries only; None: all."""
        if selected is None or selected == tuple(range(every.queries)):
            return cls(every, every)
        numbers = torch.tensor(selected, dtype=torch.long)
        return cls(every, every.of(numbers), numbers.to(every.rotation.device))

    def hiding(self, absent: Bool[Tensor, "batch first"]) -> Layout:
        """Return this layout with those of the first keys hidden that ``absent`` marks."""
        later = len(self.every.features) - absent.shape[1]
        marked = torch.nn.functional.pad(absent, (0, later))
        padding = torch.zeros(marked.shape, device=marked.device).masked_fill(marked, HIDDEN)
        every = replace(self.every, padding=padding)
        top = every if self.selected is None else replace(self.top, padding=padding)
        return replace(self, every=every, top=top)
