"""Bound the mean of a sample when only the range of its distribution is known.

Used by `results/statistics.py`. Seeds that agree prove little: a model that learns in four runs of
five gives three equal successes half of the time. The bound here accounts for runs that were not
seen. It gives the observed values, and one more at the worst end of the range, random weights that
sum to one (uniform on the simplex), and asks how often the weighted mean reaches a value. For runs
that either succeed or fail this is the exact bound of Clopper and Pearson.

Sources: Gaffke 2005; Learned-Miller and Thomas 2019 (arXiv 1905.06208), who conjecture that the
bound covers for every distribution on the range and know no exception. Neither does
`python -m benchmarks calibration`, which searches for one.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

Bounds = tuple[float, float]


def p_mean_above(
    values: Float[np.ndarray, " seeds"], value: float, bounds: Bounds | None = None
) -> float:
    """One-sided p-value against a mean of ``value`` or less; a small one supports a higher mean.

    Without a finite lower bound no test of a mean exists (Bahadur and Savage 1956), because an
    unseen run may be arbitrarily bad. Then the larger of two p-values counts: that of the sign
    test, which tests the median of any distribution and needs six values to reach 0.025, and that
    of Student's t, which tests the mean of roughly normal values.
    """
    low = -math.inf if bounds is None else bounds[0]
    if math.isfinite(low):
        return _weighted_mean_at_most(np.append(values, low) - value)
    above = int((values > value).sum())
    sign = float(stats.binom.sf(above - 1, values.size, 0.5))
    return max(sign, _p_student(values, value))


def p_mean_below(
    values: Float[np.ndarray, " seeds"], value: float, bounds: Bounds | None = None
) -> float:
    """One-sided p-value against a mean of ``value`` or more: `p_mean_above`, mirrored."""
    mirrored = None if bounds is None else (-bounds[1], -bounds[0])
    return p_mean_above(-values, -value, mirrored)


def lower_limit(
    values: Float[np.ndarray, " seeds"], tail: float, bounds: Bounds | None = None
) -> float:
    """The value at which `p_mean_above` is ``tail``: the mean is lower in that share of samples.

    Without a finite lower bound it is the lower of Student's limit and that of the sign test, if
    the sample is large enough for the latter.
    """
    low = -math.inf if bounds is None else bounds[0]
    if not math.isfinite(low):
        return min(_student_limit(values, tail), _sign_limit(values, tail))
    top = float(values.max())
    # All values are the worst possible one: the root finder would have no interval to search.
    if top <= low:
        return low
    limit = optimize.brentq(
        lambda value: _weighted_mean_at_most(np.append(values, low) - value) - tail,
        low, top, xtol=1e-10,
    )  # fmt: skip
    return float(limit)


def upper_limit(
    values: Float[np.ndarray, " seeds"], tail: float, bounds: Bounds | None = None
) -> float:
    """`lower_limit`, mirrored."""
    mirrored = None if bounds is None else (-bounds[1], -bounds[0])
    return -lower_limit(-values, tail, mirrored)


def fewest_equal_values(value: float, border: float, low: float, tail: float) -> float:
    """How many observations of ``value`` show a mean above ``border``; inf if no number does.

    ``low`` is the lower bound, -inf for none; ``tail`` the one-sided level, above 0 and below 1.
    """
    if border < low:
        return 0
    if value <= border:
        return math.inf
    # n equal values have the p-value share ** n. In the sign test the share is one half; in
    # Gaffke's bound the weight of the worst value is distributed as Beta(1, n).
    share = 0.5 if math.isinf(low) else (border - low) / (value - low)
    # Rounded first: log(0.1**5) / log(0.1) is a hair above 5 in binary, and 6 would be wrong.
    return 1 if share <= 0 else math.ceil(round(math.log(tail) / math.log(share), 9))


def _weighted_mean_at_most(offsets: Float[np.ndarray, " points"]) -> float:
    """P(sum of weights times offsets <= 0) for weights uniform on the simplex, exactly.

    Such weights are exponential variables over their sum, so this is a race between two sums: that
    of the variables with negative offsets must outlast the other. Exponential variables have no
    memory, hence the recursion over the variables left on each side. Every step is a weighted
    mean, so no precision is lost to cancellation.
    """
    losses, gains = (-offsets[offsets < 0]).tolist(), offsets[offsets > 0].tolist()
    if not gains:
        return 1.0
    row = [1.0] * (len(losses) + 1)  # no gain left: the losses outlast
    for gain in gains:
        after, row = row, [0.0]  # no loss left: the gains outlast
        for left, loss in enumerate(losses, start=1):
            row.append((gain * row[-1] + loss * after[left]) / (gain + loss))
    return float(row[-1])


def _p_student(values: Float[np.ndarray, " seeds"], value: float) -> float:
    mean, error = float(values.mean()), standard_error(values)
    if error == 0:
        return 0.0 if mean > value else 1.0
    return float(stats.t.sf((mean - value) / error, values.size - 1))


def _student_limit(values: Float[np.ndarray, " seeds"], tail: float) -> float:
    reach = float(stats.t.isf(tail, values.size - 1)) * standard_error(values)
    return float(values.mean()) - reach


def _sign_limit(values: Float[np.ndarray, " seeds"], tail: float) -> float:
    """The order statistic below which the median lies in no more than ``tail`` of all samples."""
    rank = int(stats.binom.ppf(tail, values.size, 0.5))
    # `ppf` is the first rank that reaches ``tail``, and passes it unless it meets it exactly.
    if stats.binom.cdf(rank, values.size, 0.5) > tail:
        rank -= 1
    return math.inf if rank < 0 else float(np.sort(values)[rank])


def standard_error(values: Float[np.ndarray, " seeds"]) -> float:
    """Standard error of the mean; exactly 0 for equal values, even if their mean is rounded."""
    if np.ptp(values) == 0:
        return 0.0
    return float(values.std(ddof=1)) / math.sqrt(values.size)
