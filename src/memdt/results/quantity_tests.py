"""Tests of claims about one or two quantities: means over seeds, and how many seeds agree.

Used by `results/claim_tests.py`, which combines them. A claim about a mean depends on rare runs
that were not seen, so ten seeds that agree may leave it undecided. A claim about most seeds asks
what a run usually does, and six seeds that agree decide it. docs/statistics.md compares the two.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field
from scipy import stats

from memdt.results.bounded_mean import Bounds, fewest_equal_values, p_mean_above, p_mean_below
from memdt.results.evidence import Data, Evidence, Quantity
from memdt.results.outcomes import (
    AT_CEILING,
    AT_FLOOR,
    LEVEL,
    MINIMUM_SEEDS,
    Outcome,
    every,
    too_few,
)
from memdt.results.statistics import (
    difference_bounds,
    differences,
    interval,
    paired,
    share_interval,
    variances_of_pairs,
)
from memdt.results.verdicts import metric_settings

ROUNDING = 1e-9  # regions are meant in decimals: 0.95 belongs to 1.0 ± 0.05
ROOM = 0.05  # a side closer than this to the end of a share's range has no room to move

Values = Float[np.ndarray, " seeds"]


class Test(Data):
    """One word of the vocabulary."""

    __test__ = False  # no test case for pytest

    @classmethod
    def parse(cls, data: Any) -> Test:
        """Parse the word's arguments from the YAML."""
        return cls.model_validate(data)

    def judge(self, evidence: Evidence, level: float = LEVEL) -> Outcome:
        """Decide the test; ``level`` is the part of the level that a combination leaves to it."""
        return self._judge(evidence, level)

    def quantities(self) -> list[Quantity]:
        """All quantities that the test looks at."""
        return self._quantities()

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        raise NotImplementedError

    def _quantities(self) -> list[Quantity]:
        raise NotImplementedError


class _OneQuantity(Test, Quantity):
    def _quantities(self) -> list[Quantity]:
        return [Quantity(**self.model_dump(include=set(Quantity.model_fields)))]

    def _values(self, evidence: Evidence) -> Values:
        return np.array(list(evidence.sample(self).values()), dtype=float)


class _OneMean(_OneQuantity):
    value: float

    def _region(self) -> tuple[float, float]:
        raise NotImplementedError

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        bounds, region = metric_settings(self.metric).bounds, self._region()
        return judge_mean(self.label(), self._values(evidence), bounds, region, level)


class Near(_OneMean):
    """`near`: the mean lies within ``within`` of ``value`` (a test of equivalence)."""

    within: float = Field(ge=0)

    def _region(self) -> tuple[float, float]:
        return self.value - self.within, self.value + self.within


class AtLeast(_OneMean):
    """`at_least`: the mean is ``value`` or more."""

    def _region(self) -> tuple[float, float]:
        return self.value, math.inf


class AtMost(_OneMean):
    """`at_most`: the mean is ``value`` or less."""

    def _region(self) -> tuple[float, float]:
        return -math.inf, self.value


class MostSeeds(_OneQuantity):
    """`most_seeds`: more than ``share`` of all seeds have a value from ``low`` to ``high``.

    A seed that learns is closer to success 1 than to chance, so ``low`` is half-way between them.
    """

    low: float = -math.inf
    high: float = math.inf
    share: float = Field(default=0.5, gt=0, lt=1)

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        values = self._values(evidence)
        inside = (values >= self.low - ROUNDING) & (values <= self.high + ROUNDING)
        name = f"{self.label()}, {_span(self.low, self.high)}"
        return _judge_share(name, inside, values, self.share, level)


class _TwoQuantities(Test):
    left: Quantity
    right: Quantity

    def _quantities(self) -> list[Quantity]:
        return [self.left, self.right]

    def _name(self) -> str:
        return f"{self.left.label()} minus {self.right.label()}"

    def _bounds(self) -> Bounds | None:
        left, right = (metric_settings(side.metric).bounds for side in (self.left, self.right))
        return difference_bounds(left) if left == right else None

    def judge_against(
        self, evidence: Evidence, region: tuple[float, float], level: float
    ) -> Outcome:
        """Compare the mean of left minus right with a closed region."""
        values = differences(*evidence.pair(self.left, self.right))
        return judge_mean(self._name(), values, self._bounds(), region, level)


class Gain(_TwoQuantities):
    """`gain`: left minus right lies within ``within`` of ``value``."""

    value: float
    within: float = Field(ge=0)

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        region = self.value - self.within, self.value + self.within
        return self.judge_against(evidence, region, level)


class _Above(_TwoQuantities):
    """Left is above right by more than ``by``.

    If the right side is at the ceiling or the left one at the floor, a missing difference refutes
    nothing; then only a difference of more than ROOM the other way does. ``floor`` is the value of
    guessing, if that is not the end of the range.
    """

    by: float = 0.0
    floor: float | None = None

    def _limit(self, evidence: Evidence) -> tuple[str, bool]:
        """Whether a side lacks room, and whether it does so at all its lengths."""
        # "Not much worse" asks for no rise, so it can hold with both sides at the ceiling.
        if self.by < 0:
            return "", False
        low, high = metric_settings(self.right.metric).bounds or (-math.inf, math.inf)
        full = [level >= high - ROOM - ROUNDING for level in evidence.levels(self.right)]
        if any(full):
            return AT_CEILING, all(full)
        floor = low if self.floor is None else self.floor
        empty = [level <= floor + ROOM + ROUNDING for level in evidence.levels(self.left)]
        return (AT_FLOOR, all(empty)) if any(empty) else ("", False)

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        plain = self._above(evidence, self.by, level)
        limit, throughout = self._limit(evidence)
        if plain.missing or not limit:
            return plain
        strict = self._above(evidence, self.by - ROOM - 2 * ROUNDING, level)
        named = limit if throughout or plain.p_fails <= LEVEL < strict.p_fails else ""
        outcome = replace(plain, p_fails=strict.p_fails, limit=named)
        return _with_evidence(outcome, plain.evidence.rpartition(": ")[0])

    def _above(self, evidence: Evidence, by: float, level: float) -> Outcome:
        raise NotImplementedError


class Greater(_Above):
    """`greater`: the mean of left minus right is above ``by``; equality is not enough."""

    def _above(self, evidence: Evidence, by: float, level: float) -> Outcome:
        # twice the rounding turns the closed border of `judge_mean` into an open one
        return self.judge_against(evidence, (by + 2 * ROUNDING, math.inf), level)


class Beats(_Above):
    """`beats`: in more than half of all seeds left is above right by more than ``by``.

    The difference must not exceed ``up_to``, if given. A tie counts against the claim. Where it is
    ``relative``, both borders are parts of the right side's size: 0.1 is a tenth of it.
    """

    up_to: float = math.inf
    relative: bool = False

    def _above(self, evidence: Evidence, by: float, level: float) -> Outcome:
        left, right = paired(*evidence.pair(self.left, self.right))
        values, unit = left - right, np.abs(right) if self.relative else np.ones_like(right)
        agree = values > by * unit + ROUNDING
        name = f"{self._name()}, above {by:g}"
        if math.isfinite(self.up_to):
            agree &= values <= self.up_to * unit + ROUNDING
            name += f" up to {self.up_to:g}"
        if self.relative:
            name += " times the latter"
        return _judge_share(name, agree, values, 0.5, level)


class Steadier(_TwoQuantities):
    """`steadier`: the variance over seeds is smaller on the left than on the right.

    Judged by disjoint pairs of seeds (`statistics.variances_of_pairs`), so 2 n seeds give n values.
    """

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        left, right = (
            variances_of_pairs(list(evidence.sample(side).values()))
            for side in (self.left, self.right)
        )
        pairs = min(left.size, right.size)
        # Half a squared difference of two seeds lies between 0 and half the squared range.
        bounds, whole = None, self._bounds()
        if whole is not None:
            bounds = (-(whole[1] ** 2) / 2, whole[1] ** 2 / 2)
        name = f"variance over seeds, {self._name()} (pairs of seeds)"
        outcome = judge_mean(
            name, left[:pairs] - right[:pairs], bounds, (-math.inf, -2 * ROUNDING), level
        )
        seeds = min(len(evidence.sample(side)) for side in (self.left, self.right))
        return replace(outcome, seeds=seeds, fewest=2 * outcome.fewest)


class Decreasing(Test, Quantity):
    """`decreasing`: over the ``segments`` in their order the mean falls from first to last.

    On the way it may rise by ``slack`` at most between neighbours.
    """

    segments: tuple[int, ...] = Field(min_length=2)
    slack: float = Field(default=0.0, ge=0)

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        points = self._quantities()
        fall = Greater(left=points[0], right=points[-1]).judge(evidence, level)
        steps = [Greater(left=after, right=before) for before, after in itertools.pairwise(points)]
        rises = [step.judge_against(evidence, (-math.inf, self.slack), level) for step in steps]
        return every([fall, *rises])

    def _quantities(self) -> list[Quantity]:
        shared = self.model_dump(include=set(Quantity.model_fields) - {"segments"})
        return [Quantity(segments=count, **shared) for count in self.segments]


def judge_mean(
    name: str, values: Values, bounds: Bounds | None, region: tuple[float, float], level: float
) -> Outcome:
    """Compare the mean over seeds with the closed ``region``."""
    fewest = _fewest_for_mean(region, bounds, level)
    if values.size < MINIMUM_SEEDS:
        return too_few(name, values.size, _mean(values), fewest)
    low, high = region[0] - ROUNDING, region[1] + ROUNDING
    # To lie inside, the mean must clear both borders; to lie outside, one is enough.
    inside = max(p_mean_above(values, low, bounds), p_mean_below(values, high, bounds))
    outside = min(p_mean_below(values, low, bounds), p_mean_above(values, high, bounds))
    mean = interval(values, bounds=bounds)
    evidence = f"{mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}], {mean.seeds} seeds"
    outcome = Outcome("", min(1.0, 2 * inside), min(1.0, 2 * outside), values.size, fewest)
    return _with_evidence(outcome, f"{name}: {evidence}")


def _judge_share(
    name: str, agree: Bool[np.ndarray, " seeds"], values: Values, share: float, level: float
) -> Outcome:
    """Test exactly whether more than ``share`` of all seeds agree, given those that ``agree``."""
    fewest = math.ceil(round(math.log(level / 2) / math.log(share), 9))
    if values.size < MINIMUM_SEEDS:
        return too_few(name, values.size, _mean(values), max(fewest, MINIMUM_SEEDS))
    count, seeds = int(agree.sum()), values.size
    p_holds = min(1.0, 2 * float(stats.binom.sf(count - 1, seeds, share)))
    p_fails = min(1.0, 2 * float(stats.binom.cdf(count, seeds, share)))
    shares = share_interval(count, seeds)
    evidence = f"{count} of {seeds} seeds, of all [{shares.low:.2f}, {shares.high:.2f}]"
    outcome = Outcome("", p_holds, p_fails, seeds, max(fewest, MINIMUM_SEEDS))
    return _with_evidence(outcome, f"{name}: {evidence}, mean {_mean(values):.3f}")


def _fewest_for_mean(region: tuple[float, float], bounds: Bounds | None, level: float) -> float:
    """The fewest seeds with which a mean could be shown to lie in the region."""
    low, high = bounds or (-math.inf, math.inf)
    inner = max(region[0], low), min(region[1], high)
    if math.isinf(inner[0]) or math.isinf(inner[1]):  # the best value lies farthest from a border
        best = low if math.isinf(region[0]) else high
    elif region[0] <= low or region[1] >= high:
        best = high if region[1] >= high else low
    else:
        best = (inner[0] + inner[1]) / 2
    if math.isinf(best):
        return fewest_equal_values(1.0, 0.0, -math.inf, level / 2)
    sides = [
        fewest_equal_values(best, region[0], low, level / 2),
        fewest_equal_values(-best, -region[1], -high, level / 2),
    ]
    return max(*sides, MINIMUM_SEEDS)


def _with_evidence(outcome: Outcome, text: str) -> Outcome:
    return replace(outcome, evidence=f"{text}: {outcome.verdict}")


def _mean(values: Values) -> float:
    return float(values.mean()) if values.size else math.nan


def _span(low: float, high: float) -> str:
    if math.isinf(high):
        return f"{low:g} or more"
    return f"{high:g} or less" if math.isinf(low) else f"{low:g} to {high:g}"


ELEMENTARY: Mapping[str, type[Test]] = {
    "near": Near,
    "at_least": AtLeast,
    "at_most": AtMost,
    "most_seeds": MostSeeds,
    "greater": Greater,
    "beats": Beats,
    "gain": Gain,
    "steadier": Steadier,
    "decreasing": Decreasing,
}
