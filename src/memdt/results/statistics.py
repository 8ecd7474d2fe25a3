"""Compute intervals over a small number of training runs.

Used for verdicts and claims (`results/verdicts.py`, `results/claims.py`). The unit is always the
seed: episodes of one run share its weights and are no independent sample of the training procedure.
docs/statistics.md explains which question each function answers and how often it errs.
Sources: `results/bounded_mean.py` for means; Clopper and Pearson 1934 for shares; Holm 1979;
Agarwal et al. 2021 for the interquartile mean and performance profiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float
from scipy import stats

from memdt.results.bounded_mean import Bounds, lower_limit, upper_limit

RESAMPLES = 50_000


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
    """Interval of the mean over seeds.

    With ``bounds``, which the quantity cannot leave, it assumes nothing else and never has zero
    width: three seeds of success 1.0 give [0.29, 1]. Without them it is the hull of Student's t
    and, from six seeds on, of the order statistics around the median. No seed gives NaN everywhere,
    one seed its value and NaN borders, and a NaN among the values makes all NaN.
    """
    values = np.asarray(per_seed_means, dtype=float)
    mean = float(values.mean()) if values.size else math.nan
    if values.size < 2 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan, int(values.size))
    tail = (1 - confidence) / 2
    low, high = lower_limit(values, tail, bounds), upper_limit(values, tail, bounds)
    return Interval(mean, low, high, int(values.size))


def paired(
    left: Mapping[int, float], right: Mapping[int, float]
) -> tuple[Float[np.ndarray, " pairs"], Float[np.ndarray, " pairs"]]:
    """The values of both sides, run by run; both map a seed to the mean of its episodes.

    Runs of the same seed share dataset and evaluation episodes and are paired. Other runs are
    paired in the order of their seeds, which does not depend on any result. The rest of the longer
    side is not used.
    """
    shared = sorted(set(left) & set(right))
    rest = zip(sorted(set(left) - set(right)), sorted(set(right) - set(left)), strict=False)
    seeds = [*((seed, seed) for seed in shared), *rest]
    first, second = [left[one] for one, _ in seeds], [right[other] for _, other in seeds]
    return np.array(first, dtype=float), np.array(second, dtype=float)


def differences(
    left: Mapping[int, float], right: Mapping[int, float]
) -> Float[np.ndarray, " pairs"]:
    """Left minus right of the runs that `paired` puts together."""
    first, second = paired(left, right)
    return np.asarray(first - second)


def difference_bounds(bounds: Bounds | None) -> Bounds | None:
    """Bounds of the difference of two quantities with these bounds."""
    if bounds is None or not all(map(math.isfinite, bounds)):
        return None
    return bounds[0] - bounds[1], bounds[1] - bounds[0]


def difference_interval(
    left: Mapping[int, float],
    right: Mapping[int, float],
    confidence: float = 0.95,
    bounds: Bounds | None = None,
) -> Interval:
    """Interval of mean(left) − mean(right) over `differences`; ``bounds`` are those of one side."""
    return interval(differences(left, right), confidence, difference_bounds(bounds))


def variances_of_pairs(
    values: Sequence[float] | Float[np.ndarray, " seeds"],
) -> Float[np.ndarray, " pairs"]:
    """Half the squared difference of each disjoint pair of seeds; their mean is the variance.

    No seed is used twice, so the pairs are independent, and a bound of a mean applies.
    """
    sample = np.asarray(values, dtype=float)
    pairs = sample[: sample.size // 2 * 2].reshape(-1, 2)
    return np.asarray(np.diff(pairs, axis=1)[:, 0] ** 2 / 2)


@cache  # few counts, and asked for thousands of times by `results/power.py`
def share_interval(count: int, seeds: int, confidence: float = 0.95) -> Interval:
    """Exact interval of the share of all seeds, given ``count`` of ``seeds``; NaN without seeds.

    Source: Clopper and Pearson 1934.
    """
    if not seeds:
        return Interval(math.nan, math.nan, math.nan, 0)
    exact = stats.binomtest(count, seeds).proportion_ci(confidence, method="exact")
    return Interval(count / seeds, float(exact.low), float(exact.high), seeds)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given.

    Rejecting those at or below the level keeps the chance of any false rejection below it, however
    the tests depend on each other. Source: Holm 1979.
    """
    order = np.argsort(p_values, kind="stable")
    sizes = len(p_values) - np.arange(len(p_values))
    # The running maximum makes it a step-down test: no claim is rejected before a stronger one.
    raised = np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * sizes)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(raised, 1.0)
    return [float(p) for p in adjusted]


def interquartile_mean(
    *tasks: Float[np.ndarray, "*batch _seeds"], axis: int = -1
) -> Float[np.ndarray, "*batch"]:
    """Mean of the middle half of all scores, the tasks laid end to end along ``axis``."""
    return np.asarray(stats.trim_mean(np.concatenate(tasks, axis=axis), 0.25, axis=axis))


def stratified_interquartile_interval(
    scores: Sequence[Float[np.ndarray, " _seeds"]],
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Percentile bootstrap of the interquartile mean; seeds are drawn anew within each task.

    ``scores`` holds one array of per-seed means a task; tasks may have different numbers of seeds.
    A task with a single seed leaves nothing to resample: the borders are NaN.
    Source: Agarwal et al. 2021, stratified bootstrap over runs.
    """
    return _stratified(scores, interquartile_mean, rng, confidence, resamples)


def performance_profile(
    scores: Sequence[Float[np.ndarray, " _seeds"]],
    thresholds: Sequence[float],
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2_000,
) -> list[Interval]:
    """For each threshold the share of runs above it, tasks counting alike, with its interval.

    The interval is that of a stratified bootstrap, threshold by threshold.
    Source: Agarwal et al. 2021, score distributions.
    """

    def profile(threshold: float) -> Callable[..., Float[np.ndarray, "*batch"]]:
        return lambda *tasks, axis=-1: np.mean(
            [(task > threshold).mean(axis=axis) for task in tasks], axis=0
        )

    return [_stratified(scores, profile(one), rng, confidence, resamples) for one in thresholds]


def _stratified(
    scores: Sequence[Float[np.ndarray, " _seeds"]],
    statistic: Callable[..., Float[np.ndarray, "*batch"]],
    rng: np.random.Generator,
    confidence: float,
    resamples: int,
) -> Interval:
    tasks = [np.asarray(task, dtype=float) for task in scores]
    seeds = min((task.size for task in tasks), default=0)
    mean = float(statistic(*tasks)) if seeds else math.nan
    if seeds < 2:
        return Interval(mean, math.nan, math.nan, seeds)
    borders = stats.bootstrap(
        tuple(tasks),
        statistic,
        method="percentile",  # as in the source; SciPy's default is undefined for equal seeds
        confidence_level=confidence,
        n_resamples=resamples,
        batch=min(resamples, 5_000),
        vectorized=True,
        rng=rng,
    ).confidence_interval
    return Interval(mean, float(borders.low), float(borders.high), seeds)
