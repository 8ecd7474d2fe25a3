"""Decide the papers' claims, each by a test that is data instead of code.

Turns the runs' episodes (`results/results.py`) into the claims section of the report. The claims
are in data/published/claims.yaml; `results/claim_tests.py` holds the vocabulary of their tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field, ValidationError

from memdt.errors import UserError, closest
from memdt.files import atomic_path
from memdt.paths import PUBLISHED
from memdt.results.claim_tests import parse_test
from memdt.results.evidence import Data, Evidence, first_problem
from memdt.results.outcomes import (
    AT_CEILING,
    AT_FLOOR,
    FAILS,
    HOLDS,
    NOT_RUN,
    TOO_FEW,
    UNDECIDED,
    WAITING,
    Outcome,
)
from memdt.results.power import Printed, power, printed_cells
from memdt.results.published import Cell
from memdt.results.results import read_csv
from memdt.results.sequential import Looks, strictest
from memdt.results.statistics import holm
from memdt.settings import yaml_files

CLAIM_COLUMNS = (
    "id", "text", "sentence", "source", "origin", "experiment", "test", "verdict", "seeds",
    "fewest_seeds", "power", "p_holds", "p_fails", "waits_for", "evidence",
)  # fmt: skip


class Claim(Data):
    """A sentence of a paper, its source, and the test that decides it."""

    id: str = Field(pattern=r"^[A-Z]\d+$")
    text: str
    # the claim whose sentence this one is a part of; blank: a sentence of its own
    part_of: str = ""
    source: str
    origin: Literal["paper", "ours"]
    experiment: str
    decided_by: str  # the test in words, for readers
    test: dict[str, Any]


def load_claims(root: Path | str = Path(".")) -> tuple[Claim, ...]:
    """All claims of data/published/claims.yaml, every test checked. UserError names the claim."""
    path = Path(root) / PUBLISHED / "claims.yaml"
    if not path.is_file():
        raise UserError("no such file of claims", str(path), "restore it from git")
    entries = yaml_files.read(path)
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise UserError("expected a list of claims", str(path), "restore it from git")
    claims = tuple(_claim(entry, path) for entry in entries)
    names = [claim.id for claim in claims]
    if len(set(names)) < len(names):
        raise UserError("two claims share an id", str(path), "give each its own")
    lost = [claim.part_of for claim in claims if claim.part_of and claim.part_of not in names]
    if lost:
        raise UserError(f"part_of names no claim: {lost[0]!r}", str(path), closest(lost[0], names))
    return claims


def evaluate_claims(
    claims: Iterable[Claim],
    episodes: Mapping[str, pd.DataFrame],
    printed: Iterable[Cell] = (),
    looks: Mapping[str, Looks] | None = None,
) -> pd.DataFrame:
    """One row a claim with the columns CLAIM_COLUMNS.

    ``episodes`` maps each experiment to its frame of episodes (`results.load_episodes`); an
    experiment that is missing has not run. ``printed`` are the published cells, for the power of
    each test, ``looks`` the declared looks at the data. Refutations are corrected for the number
    of claims that could be tested (Holm); `p_holds` and `p_fails` are what the verdict rests on.
    """
    selected = list(claims)
    outcomes = _corrected([_outcome(claim, episodes, looks or {}) for claim in selected])
    cells = printed_cells(printed)
    rows = [_row(claim, outcome, cells) for claim, outcome in zip(selected, outcomes, strict=True)]
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS))


def count_tested(frame: pd.DataFrame) -> int:
    """How many claims had results to be tested on: what refutations are corrected for."""
    return int((frame["p_fails"] != "").sum())


def by_sentence(frame: pd.DataFrame) -> list[str]:
    """One verdict a sentence: parts of the same sentence hold together or not at all."""
    order = (FAILS, WAITING, NOT_RUN, AT_CEILING, AT_FLOOR, TOO_FEW, UNDECIDED)
    groups = frame.groupby("sentence", sort=False)["verdict"]
    return [next((word for word in order if word in set(parts)), HOLDS) for _, parts in groups]


def write_claims(frame: pd.DataFrame, path: Path | str) -> None:
    """Write the evaluated claims as CSV, atomically."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def read_claims(path: Path | str) -> pd.DataFrame:
    """Read what `write_claims` wrote, all as text. UserError for a truncated or foreign file."""
    return read_csv(path, CLAIM_COLUMNS, dtype=str, keep_default_na=False)


def claim_keys(claim: Claim) -> list[tuple[str, str, str, int]]:
    """(experiment, variant, condition, segments) of each cell that the claim tests.

    The variant is `*` if a claim is about all variants that the experiment has.
    """
    keys = [
        (quantity.experiment or claim.experiment, quantity.variant, quantity.condition, count)
        for quantity in parse_test(claim.test).quantities()
        for count in quantity.lengths
    ]
    return list(dict.fromkeys(keys))


def _claim(entry: Mapping[str, Any], path: Path) -> Claim:
    where = f"{path}, claim {entry.get('id', '?')}"
    try:
        claim = Claim.model_validate(entry)
        parse_test(claim.test)
    except ValidationError as error:
        raise UserError(first_problem(error), where) from error
    except UserError as error:
        raise UserError(error.line(), where) from error
    return claim


def _outcome(
    claim: Claim, episodes: Mapping[str, pd.DataFrame], looks: Mapping[str, Looks]
) -> Outcome:
    test = parse_test(claim.test)
    outcome = test.judge(Evidence(episodes, claim.experiment))
    experiments = [one.experiment or claim.experiment for one in test.quantities()]
    share, words = strictest(looks, experiments, outcome.seeds)
    if outcome.missing or not words:
        return outcome
    return replace(outcome.spent(share), evidence=f"{outcome.evidence}; {words}")


def _corrected(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes with refutations corrected for the number of claims that could be tested."""
    adjusted = iter(holm([one.p_fails for one in outcomes if not _untested(one)]))
    return [one if _untested(one) else replace(one, p_fails=next(adjusted)) for one in outcomes]


def _untested(outcome: Outcome) -> bool:
    return outcome.verdict in (NOT_RUN, WAITING)


def _row(claim: Claim, outcome: Outcome, printed: Printed) -> dict[str, str]:
    test = parse_test(claim.test)
    known = not _untested(outcome)
    return {
        **claim.model_dump(include={"id", "text", "source", "origin", "experiment"}),
        "sentence": claim.part_of or claim.id,
        "test": claim.decided_by,
        "verdict": outcome.verdict,
        "seeds": str(outcome.seeds) if known else "",
        "fewest_seeds": f"{outcome.fewest:.0f}" if 0 < outcome.fewest < math.inf else "",
        "power": power(test, claim.experiment, printed, outcome.fewest),
        "p_holds": f"{outcome.p_holds:.4f}" if known else "",
        "p_fails": f"{outcome.p_fails:.4f}" if known else "",
        "waits_for": outcome.waits_for,
        "evidence": outcome.evidence,
    }
