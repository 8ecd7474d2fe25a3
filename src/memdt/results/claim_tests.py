"""The vocabulary of tests that decide claims, each an interval over seeds against a region.

Used by `results/claims.py`, which reads the tests from data/published/claims.yaml. Nothing here
knows a claim, an experiment or a model. Every comparison is made on the 95 % interval over seeds:

    region of the claim        |=========|
    interval wholly inside        [---]         holds
    interval wholly outside              [---]  does not hold
    across its border                 [---]     undecided

Fewer than three seeds decide nothing; a quantity without any result is `not run`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError

from memdt.errors import UserError, closest
from memdt.results.evidence import Data, Evidence, Outcome, Quantity
from memdt.results.statistics import (
    Interval,
    difference_interval,
    interval,
    variance_ratio_interval,
)
from memdt.results.verdicts import MINIMUM_SEEDS, metric_settings

HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run"
VERDICTS = (HOLDS, FAILS, UNDECIDED, NOT_RUN)
_ROUNDING = 1e-9  # regions are meant in decimals: 0.95 belongs to 1.0 ± 0.05


class Test(Data):
    """One word of the vocabulary."""

    __test__ = False  # no test case for pytest

    @classmethod
    def parse(cls, data: Any) -> Test:
        """Read the word's arguments as they stand in the YAML."""
        return cls.model_validate(data)

    def judge(self, evidence: Evidence) -> Outcome:
        """Decide it by the evidence."""
        return self._judge(evidence)

    def quantities(self) -> list[Quantity]:
        """Every quantity it looks at; a test checks that each belongs to some experiment."""
        return self._quantities()

    def _judge(self, evidence: Evidence) -> Outcome:
        raise NotImplementedError

    def _quantities(self) -> list[Quantity]:
        raise NotImplementedError


class _OneQuantity(Test, Quantity):
    value: float

    def _region(self) -> tuple[float, float]:
        raise NotImplementedError

    def _judge(self, evidence: Evidence) -> Outcome:
        sample = evidence.sample(self)
        found = interval(list(sample.values()), bounds=metric_settings(self.metric).bounds)
        return _place(self.label(), found, *self._region())

    def _quantities(self) -> list[Quantity]:
        return [Quantity(**self.model_dump(include=set(Quantity.model_fields)))]


class Near(_OneQuantity):
    """`near`: the mean lies within ``within`` of ``value`` (a test of equivalence)."""

    within: float = Field(ge=0)

    def _region(self) -> tuple[float, float]:
        return self.value - self.within, self.value + self.within


class AtLeast(_OneQuantity):
    """`at_least`: the mean is ``value`` or more."""

    def _region(self) -> tuple[float, float]:
        return self.value, math.inf


class AtMost(_OneQuantity):
    """`at_most`: the mean is ``value`` or less."""

    def _region(self) -> tuple[float, float]:
        return -math.inf, self.value


class _TwoQuantities(Test):
    left: Quantity
    right: Quantity

    def _quantities(self) -> list[Quantity]:
        return [self.left, self.right]

    def _difference(self, evidence: Evidence) -> tuple[str, Interval]:
        found = difference_interval(evidence.sample(self.left), evidence.sample(self.right))
        return f"{self.left.label()} minus {self.right.label()}", found


class Greater(_TwoQuantities):
    """`greater`: left minus right is above ``by``; equality is not enough."""

    by: float = 0.0

    def _judge(self, evidence: Evidence) -> Outcome:
        # twice the rounding turns the closed border of `_place` into an open one
        return _place(*self._difference(evidence), self.by + 2 * _ROUNDING, math.inf)


class Gain(_TwoQuantities):
    """`gain`: left minus right lies within ``within`` of ``value``."""

    value: float
    within: float = Field(ge=0)

    def _judge(self, evidence: Evidence) -> Outcome:
        low, high = self.value - self.within, self.value + self.within
        return _place(*self._difference(evidence), low, high)


class Steadier(_TwoQuantities):
    """`steadier`: the variance over seeds is smaller on the left than on the right (ratio < 1)."""

    def _judge(self, evidence: Evidence) -> Outcome:
        left, right = (list(evidence.sample(side).values()) for side in (self.left, self.right))
        name = f"variance over seeds, {self.left.label()} over {self.right.label()}"
        return _place(name, variance_ratio_interval(left, right), 0.0, 1.0 - 2 * _ROUNDING)


class Decreasing(Test, Quantity):
    """`decreasing`: over the ``segments`` in their order the mean falls from first to last.

    On the way it may rise by ``slack`` at most between neighbours.
    """

    segments: tuple[int, ...] = Field(min_length=2)
    slack: float = Field(default=0.0, ge=0)

    def _judge(self, evidence: Evidence) -> Outcome:
        points = self._quantities()
        fall = Greater(left=points[0], right=points[-1]).judge(evidence)
        steps = [
            _place(
                *_TwoQuantities(left=after, right=before)._difference(evidence),
                -math.inf,
                self.slack,
            )
            for before, after in itertools.pairwise(points)
        ]
        return _every([fall, *steps])

    def _quantities(self) -> list[Quantity]:
        shared = self.model_dump(include=set(Quantity.model_fields) - {"segments"})
        return [Quantity(segments=count, **shared) for count in self.segments]


class _Combined(Test):
    tests: tuple[Any, ...] = Field(min_length=1)

    @classmethod
    def parse(cls, data: Any) -> Test:
        return cls(tests=tuple(parse_test(part) for part in data))

    def _quantities(self) -> list[Quantity]:
        return [quantity for part in self.tests for quantity in part.quantities()]


class All(_Combined):
    """`all`: a list of tests; one that does not hold refutes the claim."""

    def _judge(self, evidence: Evidence) -> Outcome:
        return _every([part.judge(evidence) for part in self.tests])


class AnyOf(_Combined):
    """`any`: a list of tests; one that holds is enough."""

    def _judge(self, evidence: Evidence) -> Outcome:
        return _some([part.judge(evidence) for part in self.tests])


class _Quantified(Test):
    where: dict[str, tuple[int | float | str, ...] | Literal["*"]] = Field(min_length=1)
    test: dict[str, Any]

    @classmethod
    def parse(cls, data: Any) -> Test:
        found = cls.model_validate(data)
        found.quantities()  # a misspelt template is told now, not on the day of the report
        return found

    def _outcomes(self, evidence: Evidence) -> list[Outcome]:
        outcomes = [test.judge(evidence) for test in self.expand(evidence.variants())]
        if "*" in self.where.values():  # whatever was run; nobody asked for the rest
            return [outcome for outcome in outcomes if outcome.verdict != NOT_RUN]
        return outcomes

    def expand(self, variants: Sequence[str]) -> Iterator[Test]:
        """The test once for every choice; `"*"` stands for ``variants``."""
        choices = [variants if values == "*" else values for values in self.where.values()]
        for choice in itertools.product(*choices):
            yield parse_test(_filled(self.test, dict(zip(self.where, choice, strict=True))))

    def _quantities(self) -> list[Quantity]:
        return [quantity for test in self.expand(["*"]) for quantity in test.quantities()]


class Every(_Quantified):
    """`every`: the ``test`` for all values of ``where``, written into it in place of `{name}`."""

    def _judge(self, evidence: Evidence) -> Outcome:
        return _every(self._outcomes(evidence))


class Some(_Quantified):
    """`some`: as `every`, but one choice that holds is enough.

    The more choices, the likelier that one holds by luck: to be used with few.
    """

    def _judge(self, evidence: Evidence) -> Outcome:
        return _some(self._outcomes(evidence))


class Untested(Test):
    """`untested`: a claim that this project does not measure, with the reason."""

    reason: str

    def _judge(self, evidence: Evidence) -> Outcome:
        return Outcome(NOT_RUN, self.reason)

    def _quantities(self) -> list[Quantity]:
        return []


VOCABULARY: Mapping[str, type[Test]] = {
    "near": Near,
    "at_least": AtLeast,
    "at_most": AtMost,
    "greater": Greater,
    "gain": Gain,
    "steadier": Steadier,
    "decreasing": Decreasing,
    "all": All,
    "any": AnyOf,
    "every": Every,
    "some": Some,
    "untested": Untested,
}


def parse_test(data: Any) -> Test:
    """The test of a mapping with one key, a word of VOCABULARY. UserError for anything else."""
    if not isinstance(data, Mapping) or len(data) != 1:
        raise UserError(f"a test is one word with its arguments, not {data!r}", "test")
    word, arguments = next(iter(data.items()))
    if word not in VOCABULARY:
        raise UserError(f"unknown test {word!r}", "test", closest(str(word), VOCABULARY))
    try:
        return VOCABULARY[word].parse(arguments)
    except ValidationError as error:
        raise UserError(first_problem(error), f"test {word!r}") from error


def first_problem(error: ValidationError) -> str:
    """What pydantic found wrong first, on one line."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def _place(name: str, found: Interval, low: float, high: float) -> Outcome:
    """Where the interval lies against the closed region [low, high]; NaN is undecided."""
    if found.seeds == 0:
        return Outcome(NOT_RUN, f"{name}: not run")
    if found.seeds < MINIMUM_SEEDS:
        return Outcome(
            UNDECIDED, f"{name}: {found.mean:.3f}, only {found.seeds} of {MINIMUM_SEEDS} seeds"
        )
    verdict = UNDECIDED
    if found.low >= low - _ROUNDING and found.high <= high + _ROUNDING:
        verdict = HOLDS
    elif found.high < low - _ROUNDING or found.low > high + _ROUNDING:
        verdict = FAILS
    numbers = f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}], {found.seeds} seeds"
    return Outcome(verdict, f"{name}: {numbers}: {verdict}")


def _every(outcomes: Sequence[Outcome]) -> Outcome:
    """All hold; each part must pass its own test, so their number needs no correction."""
    return _combined(outcomes, decisive=FAILS, otherwise=HOLDS)


def _some(outcomes: Sequence[Outcome]) -> Outcome:
    return _combined(outcomes, decisive=HOLDS, otherwise=FAILS)


def _combined(outcomes: Sequence[Outcome], decisive: str, otherwise: str) -> Outcome:
    evidence = "; ".join(outcome.evidence for outcome in outcomes) or "not run"
    found = {outcome.verdict for outcome in outcomes}
    if not found:
        return Outcome(NOT_RUN, evidence)
    order = (decisive, NOT_RUN, UNDECIDED)
    return Outcome(next((word for word in order if word in found), otherwise), evidence)


def _filled(data: Any, choice: Mapping[str, Any]) -> Any:
    """``data`` with `{name}` replaced; a text that is only `{name}` becomes the value itself."""
    if isinstance(data, Mapping):
        return {key: _filled(value, choice) for key, value in data.items()}
    if isinstance(data, list):
        return [_filled(value, choice) for value in data]
    if not isinstance(data, str):
        return data
    for name, value in choice.items():
        if data == f"{{{name}}}":
            return value
        data = data.replace(f"{{{name}}}", str(value))
    return data
