"""What a table, a claim or a figure may show of the episodes: read by its name, here alone.

    return, steps                the mean over episodes
    success, score               and that of what an environment says of it (environments/task.py)
    tics                         and that of whatever else it counts (its MEASURES)
    write_on_steps               where a run's memory tokens look (evaluation/attention_shares.py)
    share of a against b         a / (a + b), each summed over the episodes
    return (red)                 of the episodes of one group (`group` in the environment)
    return imbalance             how far the values of two groups lie apart
    … after step 90              what was counted after an episode's first 90 steps, in those
                                 episodes that were recorded; `… (red) after step 90` too

`results/results.py` computes them seed by seed, `results/verdicts.py` says how each is judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Annotated

from pydantic import AfterValidator

from memdt import discovery
from memdt.environments.outcomes import OUTCOMES
from memdt.errors import UserError, closest
from memdt.evaluation.episode_table import ATTENTION

EVERYWHERE = ("return", "steps")
_SHAPE = re.compile(
    r"(?:share of (?P<part>\w+) against (?P<other>\w+)|(?P<column>\w+))"
    r"(?: \((?P<group>[^()]+)\)|(?P<imbalance> imbalance))?"
    r"(?: after step (?P<after>[1-9]\d*))?"
)


@dataclass(frozen=True)
class MetricName:
    """A name, taken apart."""

    column: str
    against: str = ""  # the other part of a share; blank: a mean
    group: str = ""  # blank: all episodes
    imbalance: bool = False
    after: int = 0  # steps of each episode that are left out, from the first one on

    @property
    def measures(self) -> tuple[str, ...]:
        """What it is computed from."""
        return (self.column, self.against) if self.against else (self.column,)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the episodes that it is computed from."""
        return tuple(counted_after(name, self.after) for name in self.measures)

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1."""
        return bool(self.against) or self.column == "success"


def counted_after(measure: str, step: int) -> str:
    """The column of what was counted under a name after an episode's first steps."""
    return f"{measure} after step {step}" if step else measure


def late(metrics: Iterable[str]) -> dict[str, tuple[str, int]]:
    """The columns that some metrics need of recorded episodes: each with its measure and step."""
    found = (parse(name) for name in metrics)
    return {
        counted_after(measure, metric.after): (measure, metric.after)
        for metric in found
        if metric.after
        for measure in metric.measures
    }


@cache
def parse(name: str) -> MetricName:
    """The name taken apart; UserError for one that cannot be read or that nobody measures."""
    found = _SHAPE.fullmatch(name)
    if found is None:
        allowed = "write it like: return, return (red), return imbalance, share of a against b"
        raise UserError(f"unknown metric {name!r}", "metric", allowed)
    metric = MetricName(
        column=found["part"] or found["column"],
        against=found["other"] or "",
        group=found["group"] or "",
        imbalance=found["imbalance"] is not None,
        after=int(found["after"] or 0),
    )
    refuse_unknown(
        name,
        metric,
        _all_measures() if metric.after else (*OUTCOMES, *EVERYWHERE, *_all_measures(), *ATTENTION),
    )
    return metric


def refuse_unknown(name: str, metric: MetricName, columns: tuple[str, ...]) -> None:
    """UserError, with the closest match, where a metric needs another column than these."""
    for measure in metric.measures:
        if measure not in columns:
            what = f"unknown metric {name!r}"
            what += f": no {measure!r}" if measure != name else ""
            raise UserError(what, "metric", closest(measure, columns))


def measures_of(environment: str) -> tuple[str, ...]:
    """What a module of ``memdt.environments`` counts, without importing it."""
    return discovery.constant("memdt.environments", environment, "MEASURES")


def columns_of(environment: str) -> tuple[str, ...]:
    """All that a table may show of the episodes of an environment, likewise."""
    outcomes = (
        name
        for name, function in OUTCOMES.items()
        if discovery.defines("memdt.environments", environment, function)
    )
    return (*outcomes, *EVERYWHERE, *measures_of(environment), *ATTENTION)


@cache
def _all_measures() -> tuple[str, ...]:
    found = (measures_of(name) for name in discovery.names("memdt.environments"))
    return tuple(dict.fromkeys(name for names in found for name in names))


def _readable(name: str) -> str:
    try:
        parse(name)
    except UserError as error:
        raise ValueError(error.line()) from None
    return name


# A metric's name as a field of settings or claims.
MetricText = Annotated[str, AfterValidator(_readable)]
