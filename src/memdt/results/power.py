"""Estimate from the paper's own numbers how many seeds a claim needs to be decided.

Used by `results/claims.py`. Simulated runs are drawn with the printed means and spreads, and the
claim is judged in each of these worlds. The estimate is the number of seeds from which four of five
worlds decide it, one way or the other. If the paper prints no numbers, only the best case is known,
in which all runs support the claim.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from zlib import crc32

import numpy as np
from jaxtyping import Float
from scipy import stats

from memdt.results.bounded_mean import Bounds
from memdt.results.evidence import Evidence, Quantity
from memdt.results.outcomes import LEVEL
from memdt.results.published import Cell, Key
from memdt.results.quantity_tests import Test
from memdt.results.verdicts import metric_settings

LADDER = (3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50, 100)
WORLDS = 20
POWER = 0.8

Printed = Mapping[Key, Cell]


class PlannedEvidence(Evidence):
    """Simulated runs with the means and spreads that a paper prints; one world of many."""

    def __init__(self, printed: Printed, experiment: str, seeds: int, world: int) -> None:
        super().__init__({}, experiment)
        self._printed, self._seeds, self._world = printed, seeds, world

    def _drawn(self, quantity: Quantity, only: Collection[str] | None) -> dict[int, float]:
        # A run keeps its rank: one that does well at one length does so at all. `only` does not
        # matter, because no printed variant has a * in its name.
        cells = [self._printed[key] for key in quantity_keys(quantity, self.experiment)]
        # Not `hash`, which differs between processes: a report made twice must say the same.
        source = crc32(f"{quantity.variant} {quantity.condition} {self._world}".encode())
        ranks = np.random.default_rng(source).random(self._seeds)
        bounds = metric_settings(quantity.metric).bounds
        drawn = np.mean([_runs(cell, ranks, bounds) for cell in cells], axis=0)
        return {seed: float(value) for seed, value in enumerate(drawn)}


def printed_cells(cells: Iterable[Cell]) -> dict[Key, Cell]:
    """The printed cells that have a counterpart here, by their key."""
    return {cell.key: cell for cell in cells if cell.in_scope}


def quantity_keys(quantity: Quantity, experiment: str) -> list[Key]:
    """The cells that a quantity is the mean of."""
    name = quantity.experiment or experiment
    return [
        (name, quantity.variant, quantity.condition, count, quantity.metric)
        for count in quantity.lengths
    ]


def power(test: Test, experiment: str, printed: Printed, fewest: float) -> str:
    """The smallest number of seeds that decides a test, in words; ``fewest`` is the best case."""
    quantities = test.quantities()
    if not quantities:
        return ""
    keys = [key for one in quantities for key in quantity_keys(one, experiment)]
    if not all(key in printed for key in keys):
        return f"at best {_seeds(fewest)}"
    needed = next((n for n in LADDER if _decides(test, experiment, printed, n)), math.inf)
    spread = all(printed[key].deviation() is not None for key in keys)
    numbers = "numbers" if spread else "means, of which not all have a spread"
    return f"{_seeds(needed)} by the paper's {numbers}"


def _decides(test: Test, experiment: str, printed: Printed, seeds: int) -> bool:
    needed = math.ceil(POWER * WORLDS)
    decided = 0
    for world in range(WORLDS):
        if decided >= needed or decided + WORLDS - world < needed:  # the rest cannot change it
            break
        outcome = test.judge(PlannedEvidence(printed, experiment, seeds, world))
        decided += min(outcome.p_holds, outcome.p_fails) <= LEVEL
    return decided >= needed


def _runs(
    cell: Cell, ranks: Float[np.ndarray, " seeds"], bounds: Bounds | None
) -> Float[np.ndarray, " seeds"]:
    """Draw runs with the printed mean and spread: beta distributed for shares, else normal."""
    mean, deviation = cell.mean, cell.deviation() or 0.0
    if deviation == 0 or (bounds == (0.0, 1.0) and not 0 < mean < 1):
        return np.full(ranks.size, mean)
    if bounds != (0.0, 1.0):
        return np.asarray(stats.norm.ppf(ranks, mean, deviation))
    size = max(mean * (1 - mean) / deviation**2 - 1, 0.05)  # a spread of 0 and 1 alone gives 0
    return np.asarray(stats.beta.ppf(ranks, mean * size, (1 - mean) * size))


def _seeds(count: float) -> str:
    if math.isfinite(count) and count <= LADDER[-1]:
        return f"{count:.0f} seeds"
    return f"more than {LADDER[-1]} seeds"
