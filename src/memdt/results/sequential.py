"""Limit how much of the level each look at the data may spend when seeds are added in between.

Used by `results/claims.py`; data/published/looks.yaml declares the looks of each experiment.
Testing again whenever seeds are added errs more often than the level allows. So the shares of the
level that the looks may spend sum to one, which keeps the chance of a false verdict at any of them
below the level (Bonferroni over the looks). A look with share 0 decides nothing and costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError, field_validator

from memdt.errors import UserError
from memdt.paths import PUBLISHED
from memdt.results.evidence import Data, first_problem
from memdt.settings import yaml_files

FILE = "looks.yaml"


class Looks(Data):
    """The looks of one experiment: number of seeds -> share of the level, and why."""

    looks: dict[int, float]
    why: str

    @field_validator("looks")
    @classmethod
    def _shares(cls, looks: dict[int, float]) -> dict[int, float]:
        if not looks or min(looks) < 1 or list(looks) != sorted(looks):
            raise ValueError("numbers of seeds, ascending, each with a share of the level")
        if min(looks.values()) < 0 or sum(looks.values()) > 1 + 1e-9:
            raise ValueError("the shares are 0 or more and sum to 1 at most")
        return looks

    def share(self, seeds: int) -> float:
        """The share of the level for this many seeds: that of the last look that they reach."""
        reached = [share for count, share in self.looks.items() if count <= seeds]
        return reached[-1] if reached else 0.0

    def words(self, seeds: int) -> str:
        """A note for the evidence; blank if the whole level may be spent."""
        share = self.share(seeds)
        if share == 1:
            return ""
        declared = ", ".join(f"{part:g} at {count}" for count, part in self.looks.items())
        return f"with {seeds} seeds {share:g} of the level may be spent (looks: {declared})"


def load_looks(root: Path | str = Path(".")) -> dict[str, Looks]:
    """The declared looks by experiment; empty without the file, UserError for a bad one."""
    path = Path(root) / PUBLISHED / FILE
    if not path.is_file():
        return {}
    try:
        entries = yaml_files.read(path)
        return {str(name): Looks.model_validate(entry) for name, entry in entries.items()}
    except ValidationError as error:
        raise UserError(first_problem(error), str(path)) from error
    except AttributeError as error:
        raise UserError("no mapping of experiments to looks", str(path)) from error


def strictest(
    looks: Mapping[str, Looks], experiments: Iterable[str], seeds: int
) -> tuple[float, str]:
    """The smallest share among the experiments of a claim, with its note."""
    shares = [
        (looks[name].share(seeds), looks[name].words(seeds))
        for name in experiments
        if name in looks
    ]
    return min(shares, default=(1.0, ""))
