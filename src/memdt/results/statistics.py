"""Intervals over seeds: what a handful of training runs says about a mean.

Sits between the episodes of the runs (`results/results.py`) and the verdicts and claims
(`results/verdicts.py`, `results/claims.py`). The unit is always the seed: episodes of one run
share its weights and are no independent sample of the training procedure.
Source: Welch 1947 for unequal variances.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with the interval of its confidence, and how many seeds stand behind it."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def reach(self) -> float:
        """Distance from the mean to its farther border: the usual ±, one side clipped or not."""
        return max(self.high - self.mean, self.mean - self.low)

    def contains(self, value: float) -> bool:
        """Whether ``value`` lies in the closed interval; False when anything is NaN."""
        return self.low <= value <= self.high

    def overlaps(self, other: Interval) -> bool:
        """Whether two closed intervals share a point; False when anything is NaN."""
        return self.low <= other.high and other.low <= self.high


def interval(
    per_seed_means: Sequence[float] | Float[np.ndarray, " seeds"],
    confidence: float = 0.95,
    bounds: Bounds | None = None,
) -> Interval:
    """Student t interval of the mean over seeds.

    No seed gives NaN everywhere, one seed gives its value and NaN borders, and a NaN among the
    values makes the whole interval NaN. Seeds that agree to the last digit (success 1.0 in all of
    them) give an interval of zero width: it says that the runs agree, not that the true rate is
    known to that precision. ``bounds`` clip the borders for a quantity that cannot leave them.
    """
    values = np.asarray(per_seed_means, dtype=float)
    if values.size < 2:
        mean = float(values[0]) if values.size else math.nan
        return Interval(mean, math.nan, math.nan, int(values.size))
    return _around(
        float(values.mean()),
        _standard_error(values),
        float(values.size - 1),
        confidence,
        values.size,
        bounds,
    )


def difference_interval(
    left: Mapping[int, float], right: Mapping[int, float], confidence: float = 0.95
) -> Interval:
    """Interval of mean(left) − mean(right); both map a seed to the mean of its episodes.

    Where both sides have exactly the same seeds the difference is taken seed by seed (they share
    the dataset and the evaluation episodes); otherwise Welch's interval over all seeds of both
    sides is used. ``seeds`` of the answer is the smaller of the two counts. Fewer than two seeds
    on a side give NaN borders.
    """
    seeds = min(len(left), len(right))
    if set(left) == set(right):
        return interval([left[seed] - right[seed] for seed in sorted(left)], confidence)
    ours, theirs = (np.array(list(side.values()), dtype=float) for side in (left, right))
    if seeds < 2:
        mean = float(ours.mean() - theirs.mean()) if seeds else math.nan
        return Interval(mean, math.nan, math.nan, seeds)
    error = math.hypot(_standard_error(ours), _standard_error(theirs))
    freedom = _welch_freedom(ours, theirs)
    return _around(float(ours.mean() - theirs.mean()), error, freedom, confidence, seeds, None)


def variance_ratio_interval(
    left: Sequence[float] | Float[np.ndarray, " _seeds"],
    right: Sequence[float] | Float[np.ndarray, " _seeds"],
    confidence: float = 0.95,
) -> Interval:
    """F interval of variance(left) / variance(right) over seeds.

    Runs that share a seed are positively correlated, which makes this interval too wide rather than
    too narrow. Without spread on the right, or with fewer than two seeds on a side, all is NaN;
    without spread on the left alone the ratio and both borders are 0.
    """
    left, right = np.asarray(left, dtype=float), np.asarray(right, dtype=float)
    seeds = min(left.size, right.size)
    if seeds < 2 or np.ptp(right) == 0:
        return Interval(math.nan, math.nan, math.nan, seeds)
    ratio = (_standard_error(left) ** 2 * left.size) / (_standard_error(right) ** 2 * right.size)
    tail = (1 - confidence) / 2
    upper, lower = stats.f.ppf([1 - tail, tail], left.size - 1, right.size - 1)
    return Interval(ratio, ratio / float(upper), ratio / float(lower), seeds)


def _standard_error(values: Float[np.ndarray, " seeds"]) -> float:
    if np.ptp(values) == 0:  # equal values: rounding of their mean must not make a spread
        return 0.0
    return float(values.std(ddof=1)) / math.sqrt(values.size)


def _welch_freedom(left: Float[np.ndarray, " _left"], right: Float[np.ndarray, " _right"]) -> float:
    """Welch–Satterthwaite degrees of freedom; any number will do where nothing varies."""
    parts = [_standard_error(side) ** 2 for side in (left, right)]
    if sum(parts) == 0:
        return float(min(left.size, right.size) - 1)
    shares = [part**2 / (side.size - 1) for part, side in zip(parts, (left, right), strict=True)]
    return sum(parts) ** 2 / sum(shares)


def _around(
    mean: float, error: float, freedom: float, confidence: float, seeds: int, bounds: Bounds | None
) -> Interval:
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    low, high = mean - reach, mean + reach
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Interval(mean, low, high, seeds)
