"""The vocabulary of tests that decide claims, read from data/published/claims.yaml.

Used by `results/claims.py`. Nothing here depends on a claim, an experiment or a model. Tests of one
or two quantities are in `results/quantity_tests.py`, and `results/outcomes.py` combines outcomes;
this module parses tests and adds the words that combine them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError

from memdt.errors import UserError, closest
from memdt.results.evidence import Evidence, Quantity, first_problem
from memdt.results.outcomes import Outcome, at_least, every, some
from memdt.results.parameter_tests import ParameterDifference
from memdt.results.quantity_tests import ELEMENTARY, Test


class _Combined(Test):
    tests: tuple[Any, ...] = Field(min_length=1)

    @classmethod
    def parse(cls, data: Any) -> Test:
        return cls(tests=tuple(parse_test(part) for part in data))

    def _quantities(self) -> list[Quantity]:
        return [quantity for part in self.tests for quantity in part.quantities()]


class All(_Combined):
    """`all`: a list of tests; one that does not hold refutes the claim."""

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        return every([part.judge(evidence, level) for part in self.tests])


class AnyOf(_Combined):
    """`any`: a list of tests; one that holds is enough."""

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        return some([part.judge(evidence, level / len(self.tests)) for part in self.tests])


class _Quantified(Test):
    where: dict[str, tuple[int | float | str, ...] | Literal["*"]] = Field(min_length=1)
    test: dict[str, Any]

    @classmethod
    def parse(cls, data: Any) -> Test:
        test = cls.model_validate(data)
        test.quantities()  # so that a misspelt template fails now and not when the report is made
        return test

    def _parts(self, evidence: Evidence) -> list[Test]:
        parts = list(self.expand(evidence.variants()))
        if "*" not in self.where.values():
            return parts
        # `*` means every variant that was run, so those without results do not count as missing.
        run = [part for part in parts if not part.judge(evidence).missing]
        return run or list(self.expand(["*"]))

    def expand(self, variants: Sequence[str]) -> Iterator[Test]:
        """The test once for every choice; `"*"` stands for ``variants``."""
        choices = [variants if values == "*" else values for values in self.where.values()]
        for choice in itertools.product(*choices):
            yield parse_test(_filled(self.test, dict(zip(self.where, choice, strict=True))))

    def _quantities(self) -> list[Quantity]:
        return [quantity for test in self.expand(["*"]) for quantity in test.quantities()]


class Every(_Quantified):
    """`every`: the ``test`` holds for all values of ``where``, which replace `{name}` in it."""

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        return every([part.judge(evidence, level) for part in self._parts(evidence)])


class Some(_Quantified):
    """`some`: like `every`, but ``least`` choices that hold are enough, one by default.

    With more choices it is likelier that one holds by chance, so each is judged at a fraction of
    the level.
    """

    least: int = Field(default=1, ge=1)

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        parts = self._parts(evidence)
        share = level / max(1, len(parts) - self.least + 1)
        return at_least(self.least, [part.judge(evidence, share) for part in parts])


class Untested(Test):
    """`untested`: a claim that this project does not measure, and why."""

    reason: str

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        return Outcome(self.reason, missing=True)

    def _quantities(self) -> list[Quantity]:
        return []


class Waiting(Test):
    """`waiting`: a claim about a system that is not built yet.

    ``for`` names the system; ``test``, where it is given, will decide the claim, and is read now.
    """

    system: str = Field(alias="for", min_length=1)
    test: dict[str, Any] | None = None

    @classmethod
    def parse(cls, data: Any) -> Test:
        """Read it, and the test to come."""
        waiting = cls.model_validate(data)
        if waiting.test is not None:
            parse_test(waiting.test)
        return waiting

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        return Outcome(f"waits for {self.system}", missing=True, waits_for=self.system)

    def _quantities(self) -> list[Quantity]:
        return []


VOCABULARY: Mapping[str, type[Test]] = {
    **ELEMENTARY,
    "all": All,
    "any": AnyOf,
    "every": Every,
    "some": Some,
    "parameters": ParameterDifference,
    "untested": Untested,
    "waiting": Waiting,
}


def parse_test(data: Any) -> Test:
    """Parse a test: a mapping with one key, a word of VOCABULARY. UserError for anything else."""
    if not isinstance(data, Mapping) or len(data) != 1:
        raise UserError(f"a test is one word with its arguments, not {data!r}", "test")
    word, arguments = next(iter(data.items()))
    if word not in VOCABULARY:
        raise UserError(f"unknown test {word!r}", "test", closest(str(word), VOCABULARY))
    try:
        return VOCABULARY[word].parse(arguments)
    except ValidationError as error:
        raise UserError(first_problem(error), f"test {word!r}") from error


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
