"""What others measured with the same methods on published data, beside what the papers print.

Read by the report. The rows are in ``data/published/second_opinions``, a file an experiment. They
are context: no verdict rests on them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from memdt import paths
from memdt.results.published import Blank, SpreadKind, read_rows


class Opinion(BaseModel):
    """One number that somebody else has measured, with its counterpart among our variants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: str
    metric: str
    source: str = Field(min_length=1, description="who, and which score of a training run")
    reference: str = Field(min_length=1, description="where it stands")
    mean: float = Field(allow_inf_nan=False)
    spread: Annotated[float | None, Blank] = Field(default=None, ge=0)
    spread_kind: SpreadKind
    seeds: Annotated[int | None, Blank] = Field(default=None, ge=1)
    note: str

    @model_validator(mode="after")
    def _consistent(self) -> Opinion:
        if (self.spread is None) != (self.spread_kind == "none"):
            raise ValueError("a spread needs its kind and a kind needs a spread")
        return self


def second_opinions(experiment: str, root: Path = Path()) -> tuple[Opinion, ...]:
    """All of an experiment, in the order of the file; none without a file.

    Raises UserError for a wrong header or a bad value.
    """
    path = paths.second_opinions(experiment, root)
    return read_rows(path, Opinion) if path.is_file() else ()
