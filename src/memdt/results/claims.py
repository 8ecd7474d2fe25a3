"""Decide the sentences that the papers live by, each by a test that is data and not code.

Between the runs' episodes (`results/results.py`) and the claims section of the report. The claims
lie in data/published/claims.yaml; `results/claim_tests.py` holds the vocabulary of their tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml
from pydantic import Field, ValidationError

from memdt.errors import UserError
from memdt.files import atomic_path
from memdt.paths import PUBLISHED
from memdt.results.claim_tests import first_problem, parse_test
from memdt.results.evidence import Data, Evidence
from memdt.results.results import read_csv

CLAIM_COLUMNS = ("id", "text", "source", "origin", "experiment", "test", "verdict", "evidence")


class Claim(Data):
    """A sentence, where it stands, and the test that decides it."""

    id: str = Field(pattern=r"^[A-Z]\d+$")
    text: str
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
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    claims = tuple(_claim(entry, path) for entry in entries)
    names = [claim.id for claim in claims]
    if len(set(names)) < len(names):
        raise UserError("two claims share an id", str(path), "give each its own")
    return claims


def evaluate_claims(claims: Iterable[Claim], episodes: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a claim with the columns CLAIM_COLUMNS.

    ``episodes`` maps each experiment to its frame of episodes (`results.load_episodes`); an
    experiment that is missing has not run.
    """
    rows = [_row(claim, episodes) for claim in claims]
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS))


def write_claims(frame: pd.DataFrame, path: Path | str) -> None:
    """Write the evaluated claims as CSV, whole or not at all."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def read_claims(path: Path | str) -> pd.DataFrame:
    """What `write_claims` wrote, all of it text. UserError where it is truncated or foreign."""
    return read_csv(path, CLAIM_COLUMNS, dtype=str, keep_default_na=False)


def claim_keys(claim: Claim) -> list[tuple[str, str, str, int]]:
    """(experiment, variant, condition, segments) of everything the claim looks at.

    The variant is `*` where a claim speaks of whatever variants the experiment has.
    """
    found = [
        (quantity.experiment or claim.experiment, quantity.variant, quantity.condition, count)
        for quantity in parse_test(claim.test).quantities()
        for count in quantity.lengths
    ]
    return list(dict.fromkeys(found))


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


def _row(claim: Claim, episodes: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    outcome = parse_test(claim.test).judge(Evidence(episodes, claim.experiment))
    told = claim.model_dump(exclude={"test", "decided_by"})
    return {
        **told,
        "test": claim.decided_by,
        "verdict": outcome.verdict,
        "evidence": outcome.evidence,
    }
