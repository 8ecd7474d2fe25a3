"""One pure function that says whether a reproduced number agrees with a published one.

Between the cells of `results/published.py` and the tables of `results/tables.py`. The report
prints RULES word for word, so the sentences here are the definition that readers see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from memdt.results.metric_names import parse
from memdt.results.published import Cell
from memdt.results.statistics import Bounds, Interval

MINIMUM_SEEDS = 3
_ROUNDING = 1e-9  # |0.95 - 1.0| is a hair more than 0.05 in binary; a margin is meant in decimals


@dataclass(frozen=True)
class Metric:
    """How one column of the episodes is judged: what it cannot leave, and what counts as precise.

    The limit on the reach of our interval is ``limit`` or ``relative_limit`` of the published mean,
    whichever is larger.
    """

    bounds: Bounds | None
    limit: float
    relative_limit: float

    def limit_for(self, published_mean: float) -> float:
        """The widest reach that still counts as precise beside this published mean."""
        return max(self.limit, self.relative_limit * abs(published_mean))


# 0.20: the widest interval that RATE Table 2 itself prints reaches 0.082 · t(9) = 0.186, so an
# experiment as precise as the paper passes; and no interval that narrow holds both chance (0.5) and
# a solved task (1.0).
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
        "imprecise",
        "Our 95 % interval reaches farther from its mean than the limit declared for the metric,"
        " and the published interval (or number) still overlaps it: so wide an interval would agree"
        " with nearly anything.",
    ),
    Rule(
        "reproduced",
        "The published mean lies in our 95 % interval, or differs from our mean by no more than the"
        " margin declared beforehand for the cell.",
    ),
    Rule("close", "The published interval (where a spread is printed) overlaps ours."),
    Rule("higher", "None of these, and our mean is above the published one."),
    Rule("lower", "None of these, and our mean is below the published one."),
)


@dataclass(frozen=True)
class Verdict:
    """The word of the rule that applied, and reproduced minus published (NaN without both)."""

    word: str
    difference: float


def metric_settings(name: str) -> Metric:
    """How the metric ``name`` (`metric_names.py`) is judged; UserError for one that nobody knows.

    A share lies between 0 and 1, an imbalance is never negative; of all else only the mean counts.
    """
    metric = parse(name)
    judged = _SHARE if metric.is_share else _AMOUNT
    if metric.imbalance and not metric.is_share:
        return replace(judged, bounds=(0.0, math.inf))
    return judged


def verdict(
    published: Cell | None, reproduced: Interval | None, metric: Metric | None = None
) -> Verdict:
    """Judge one cell by RULES; nothing that is NaN ever counts as reproduced.

    ``reproduced`` is the interval over per-seed means, None where nothing ran. ``metric`` is taken
    from the published cell where it is not given.
    """
    if published is None:
        return Verdict("no published number", math.nan)
    if reproduced is None or math.isnan(reproduced.mean):
        return Verdict("not run", math.nan)
    judged = metric or metric_settings(published.metric)
    difference = reproduced.mean - published.mean
    return Verdict(_word(published, reproduced, judged, difference), difference)


def _word(published: Cell, reproduced: Interval, metric: Metric, difference: float) -> str:
    if reproduced.seeds < MINIMUM_SEEDS:
        return "too few seeds"
    if math.isnan(reproduced.low + reproduced.high):
        return "imprecise"
    printed = published.interval() or Interval(published.mean, published.mean, published.mean, 0)
    overlap = printed.overlaps(reproduced)
    if overlap and reproduced.reach > metric.limit_for(published.mean) + _ROUNDING:
        return "imprecise"
    if reproduced.contains(published.mean) or abs(difference) <= published.margin + _ROUNDING:
        return "reproduced"
    if overlap:
        return "close"
    return "higher" if difference > 0 else "lower"
