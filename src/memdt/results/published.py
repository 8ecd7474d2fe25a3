"""Read the numbers that the papers print, one row per cell, as transcribed from their pages.

Used by `results/tables.py` and `results/claims.py`. The rows are in `data/published/*.csv`;
data/published/README.md explains the transcription and the choice of margins.
Sources: RATE, arXiv 2306.09459, the preprint of 2024 and the submission of 2025.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from scipy import stats

from memdt.errors import UserError
from memdt.paths import published_files
from memdt.results.statistics import Interval

Key = tuple[str, str, str, int | None, str]
Blank = BeforeValidator(lambda text: None if text == "" else text)
# "unstated": a spread is printed, and not said of what; it allows no interval.
SpreadKind = Literal["std", "sem", "ci95", "unstated", "none"]
Row = TypeVar("Row", bound=BaseModel)


class Cell(BaseModel):
    """One printed number, its source in the paper, and its counterpart among our experiments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: str
    version: str
    item: str
    page: str
    experiment: str
    variant: str
    condition: str
    segments: Annotated[int | None, Blank] = Field(default=None, ge=1)
    metric: str
    unit: str
    mean: float = Field(allow_inf_nan=False)
    spread: Annotated[float | None, Blank] = Field(default=None, ge=0)
    spread_kind: SpreadKind
    seeds: Annotated[int | None, Blank] = Field(default=None, ge=1)
    episodes: Annotated[int | None, Blank] = Field(default=None, ge=1)
    margin: float = Field(ge=0)
    in_scope: bool
    waits_for: str = Field(default="", description="the system that has to be built first")
    quoted_from: str = Field(default="", description="the paper that measured it; blank: this one")
    data_version: str = Field(default="", description="of the dataset, where several are in use")
    note: str

    @model_validator(mode="after")
    def _consistent(self) -> Cell:
        if (self.spread is None) != (self.spread_kind == "none"):
            raise ValueError(
                "a spread needs its kind (std, sem, ci95, unstated) and a kind needs a spread"
            )
        if not self.in_scope and not (self.note or self.waits_for):
            raise ValueError("a row out of scope needs its reason in the note")
        if self.in_scope and self.waits_for:
            raise ValueError("a row in scope waits for nothing")
        if self.in_scope and not (
            self.experiment and self.variant and self.condition and self.segments
        ):
            raise ValueError("a row in scope names experiment, variant, condition and segments")
        return self

    @property
    def key(self) -> Key:
        """The matching cell of our results; unique among the rows in scope."""
        return (self.experiment, self.variant, self.condition, self.segments, self.metric)

    def interval(self) -> Interval | None:
        """The published 95 % interval of the mean, None if the printed numbers give none.

        A standard error or deviation over ``seeds`` runs is widened by Student's t.
        """
        reach = self._reach()
        if reach is None:
            return None
        return Interval(self.mean, self.mean - reach, self.mean + reach, self.seeds or 0)

    def deviation(self) -> float | None:
        """The standard deviation over runs by the printed spread, None without one."""
        if self.spread is None or self.spread_kind == "std":
            return self.spread
        if self.spread_kind == "unstated" or self.seeds is None or self.seeds < 2:
            return None
        half_width = float(stats.t.ppf(0.975, self.seeds - 1)) if self.spread_kind == "ci95" else 1
        return self.spread / half_width * math.sqrt(self.seeds)

    def _reach(self) -> float | None:
        if self.spread is None or self.spread_kind == "ci95":
            return self.spread
        if self.spread_kind == "unstated" or self.seeds is None or self.seeds < 2:
            return None
        error = self.spread / math.sqrt(self.seeds) if self.spread_kind == "std" else self.spread
        return float(stats.t.ppf(0.975, self.seeds - 1)) * error


def read_cells(path: Path | str) -> tuple[Cell, ...]:
    """All rows of one file of published numbers, in the order of the file.

    Raises:
        UserError: for a missing file, a wrong header, a bad value, or two rows in scope with the
            same counterpart.
    """
    cells = read_rows(Path(path), Cell)
    _refuse_twins(cells, str(path))
    return cells


def read_rows(path: Path, model: type[Row]) -> tuple[Row, ...]:
    """All rows of a CSV file whose columns are the fields of ``model``, in their order.

    Columns with a default may be left out. UserError for a missing file, a wrong header or a bad
    value, with its line.
    """
    if not path.is_file():
        raise UserError("no such file of published numbers", str(path), "restore it from git")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        names, fields = reader.fieldnames or [], model.model_fields
        columns = [name for name in fields if name in names or fields[name].default != ""]
        if reader.fieldnames != columns:
            raise UserError("unexpected columns", str(path), "expected " + ",".join(columns))
        return tuple(_row(row, model, f"{path}, line {reader.line_num}") for row in reader)


def published_cells(root: Path | str = Path(".")) -> tuple[Cell, ...]:
    """The rows of every paper: all CSV files of data/published except second transcriptions."""
    return tuple(cell for file in published_files(Path(root)) for cell in read_cells(file))


def in_scope(cells: Iterable[Cell], experiment: str, metrics: Collection[str]) -> dict[Key, Cell]:
    """The published counterparts of one experiment's cells, by their key."""
    return {
        cell.key: cell
        for cell in cells
        if cell.in_scope and cell.experiment == experiment and cell.metric in metrics
    }


def waiting(cells: Iterable[Cell]) -> dict[str, int]:
    """How many printed numbers wait for a system that is not built yet, by its name."""
    return dict(Counter(cell.waits_for for cell in cells if cell.waits_for))


def _row(row: Mapping[str, str], model: type[Row], where: str) -> Row:
    try:
        return model.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        column = ".".join(str(part) for part in first["loc"]) or "row"
        raise UserError(f"{column}: {first['msg']}", where, "correct the row") from error


def _refuse_twins(cells: Sequence[Cell], where: str) -> None:
    seen: set[Key] = set()
    for cell in (cell for cell in cells if cell.in_scope):
        if cell.key in seen:
            raise UserError(
                f"two rows in scope for {cell.key}", where, "put one of them out of scope"
            )
        seen.add(cell.key)
