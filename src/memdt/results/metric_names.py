"""Parse the names of metrics that a table, a claim or a figure may show.

    return, steps                the mean over episodes
    success, score               and that of what an environment says of it (environments/task.py)
    tics                         and that of whatever else it counts (its MEASURES)
    write_on_steps               where a run's memory tokens look (evaluation/attention_shares.py)
    share of a against b         a / (a + b), each summed over the episodes
    return (red)                 over the episodes of one group (`group` in the environment)
    return imbalance             the difference between the values of the groups
    … after step 90              counted after an episode's first 90 steps, in recorded episodes
                                 only; `… (red) after step 90` works too

`results/results.py` computes the metrics seed by seed; `results/verdicts.py` defines how each is
judged.
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
    """The parts of a metric's name."""

    column: str
    against: str = ""  # the other part of a share; blank: a mean
    group: str = ""  # blank: all episodes
    imbalance: bool = False
    after: int = 0  # how many steps at the start of each episode are left out

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that it is computed from."""
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
    """The column of a measure counted after an episode's first ``step`` steps."""
    return f"{measure} after step {step}" if step else measure


def late(metrics: Iterable[str]) -> dict[str, tuple[str, int]]:
    """The columns that metrics need from recorded episodes, each with its measure and step."""
    return {
        counted_after(measure, metric.after): (measure, metric.after)
        for metric in map(parse, metrics)
        if metric.after
        for measure in metric.measures
    }


@cache
def parse(name: str) -> MetricName:
    """Parse a metric's name; UserError if it is malformed or no environment measures it."""
    match = _SHAPE.fullmatch(name)
    if match is None:
        allowed = "write it like: return, return (red), return imbalance, share of a against b"
        raise UserError(f"unknown metric {name!r}", "metric", allowed)
    metric = MetricName(
        column=match["part"] or match["column"],
        against=match["other"] or "",
        group=match["group"] or "",
        imbalance=match["imbalance"] is not None,
        after=int(match["after"] or 0),
    )
    refuse_unknown(
        name,
        metric,
        _all_measures() if metric.after else (*OUTCOMES, *EVERYWHERE, *_all_measures(), *ATTENTION),
    )
    return metric


def refuse_unknown(name: str, metric: MetricName, columns: tuple[str, ...]) -> None:
    """Raise UserError, with the closest match, if a metric needs a column not among these."""
    for measure in metric.measures:
        if measure not in columns:
            what = f"unknown metric {name!r}"
            what += f": no {measure!r}" if measure != name else ""
            raise UserError(what, "metric", closest(measure, columns))


def measures_of(environment: str) -> tuple[str, ...]:
    """The measures of an environment's module, read without importing it."""
    return discovery.constant("memdt.environments", environment, "MEASURES")


def columns_of(environment: str) -> tuple[str, ...]:
    """All columns of an environment's episodes, read without importing its module."""
    outcomes = (
        name
        for name, function in OUTCOMES.items()
        if discovery.defines("memdt.environments", environment, function)
    )
    return (*outcomes, *EVERYWHERE, *measures_of(environment), *ATTENTION)


@cache
def _all_measures() -> tuple[str, ...]:
    environments = discovery.names("memdt.environments")
    return tuple(dict.fromkeys(name for one in environments for name in measures_of(one)))


def _readable(name: str) -> str:
    try:
        parse(name)
    except UserError as error:
        raise ValueError(error.line()) from None
    return name


# A metric's name as a field of settings or claims.
MetricText = Annotated[str, AfterValidator(_readable)]
