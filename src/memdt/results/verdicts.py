"""Judge whether a reproduced number agrees with a published one.

Used for the tables of `results/tables.py`. The report prints RULES verbatim, so their sentences
here are the definition that readers see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from memdt.results.bounded_mean import Bounds, p_mean_above, p_mean_below
from memdt.results.metric_names import parse
from memdt.results.outcomes import LEVEL, MINIMUM_SEEDS
from memdt.results.published import Cell
from memdt.results.statistics import Interval, share_interval

_ROUNDING = 1e-9  # |0.95 - 1.0| is a hair more than 0.05 in binary; a margin is meant in decimals


@dataclass(frozen=True)
class Metric:
    """How one column of the episodes is judged: its bounds, and the precision that it needs.

    The limit on the reach of a printed interval is ``limit`` or ``relative_limit`` of its mean,
    whichever is larger.
    """

    bounds: Bounds | None
    limit: float
    relative_limit: float

    def limit_for(self, published_mean: float) -> float:
        """The widest reach of a printed interval that still says something about this mean."""
        return max(self.limit, self.relative_limit * abs(published_mean))


# 0.20: the widest interval that RATE Table 2 prints reaches 0.082 · t(9) = 0.186; and no interval
# that narrow holds both chance (0.5) and a solved task (1.0).
_SHARE = Metric(bounds=(0.0, 1.0), limit=0.20, relative_limit=0.0)
_AMOUNT = Metric(bounds=None, limit=0.0, relative_limit=0.20)


@dataclass(frozen=True)
class Rule:
    """A verdict and the sentence that decides it; the first rule that applies gives the verdict."""

    verdict: str
    text: str


RULES = (
    Rule("no published number", "The paper prints no number for this cell."),
    Rule("not run", "There is no result at this scale, or it is not a number."),
    Rule("too few seeds", f"Fewer than {MINIMUM_SEEDS} seeds finished."),
    Rule(
        "higher",
        "Our 95 % interval lies wholly above the printed interval (where a spread is printed) and"
        " above the margin around the printed mean.",
    ),
    Rule("lower", "The same, below."),
    Rule(
        "print too wide",
        "The paper's own 95 % interval reaches farther from its mean than the limit declared for"
        " the metric: nearly any result would agree with it.",
    ),
    Rule(
        "reproduced",
        "Equivalence: our mean lies within the margin declared beforehand around the printed mean,"
        " by two one-sided tests at 5 % each.",
    ),
    Rule(
        "most seeds agree",
        "More than half of all seeds lie within the margin around the printed mean, by an exact"
        " binomial test at 2.5 %; of the mean, which rare failures move, it is not shown.",
    ),
    Rule("not distinguished", "Neither equality nor a difference is shown with these seeds."),
)


@dataclass(frozen=True)
class Verdict:
    """The word of the rule that applied, and reproduced minus published (NaN without both)."""

    word: str
    difference: float


def metric_settings(name: str) -> Metric:
    """How the metric ``name`` (`metric_names.py`) is judged; UserError for an unknown one.

    A share lies between 0 and 1, and an imbalance is never negative; other metrics have no bounds.
    """
    metric = parse(name)
    judged = _SHARE if metric.is_share else _AMOUNT
    if metric.imbalance and not metric.is_share:
        return replace(judged, bounds=(0.0, math.inf))
    return judged


def verdict(
    published: Cell | None,
    per_seed: Sequence[float] | Float[np.ndarray, " _seeds"] | None,
    metric: Metric | None = None,
) -> Verdict:
    """Judge one cell by RULES; nothing that is NaN ever counts as reproduced.

    ``per_seed`` is the mean of each seed, None if nothing ran. ``metric`` defaults to that of the
    published cell.
    """
    if published is None:
        return Verdict("no published number", math.nan)
    values = np.asarray([] if per_seed is None else per_seed, dtype=float)
    if not values.size or not np.isfinite(values).all():
        return Verdict("not run", math.nan)
    judged = metric or metric_settings(published.metric)
    difference = float(values.mean()) - published.mean
    return Verdict(_word(published, values, judged), difference)


def _word(published: Cell, values: Float[np.ndarray, " seeds"], metric: Metric) -> str:
    if values.size < MINIMUM_SEEDS:
        return "too few seeds"
    low, high = (published.mean + sign * (published.margin + _ROUNDING) for sign in (-1, 1))
    printed = published.interval() or Interval(published.mean, published.mean, published.mean, 0)
    # These come before `print too wide`: a result outside even a wide interval does differ.
    if 2 * p_mean_above(values, max(high, printed.high), metric.bounds) <= LEVEL:
        return "higher"
    if 2 * p_mean_below(values, min(low, printed.low), metric.bounds) <= LEVEL:
        return "lower"
    if printed.reach > metric.limit_for(published.mean):
        return "print too wide"
    # Both tests of equivalence must reject, so each has the full level and none is corrected.
    below_high = p_mean_below(values, high, metric.bounds)
    if max(p_mean_above(values, low, metric.bounds), below_high) <= LEVEL:
        return "reproduced"
    agreeing = int(((values >= low) & (values <= high)).sum())
    if share_interval(agreeing, values.size, 1 - LEVEL).low > 0.5:
        return "most seeds agree"
    return "not distinguished"
