"""The files that say what readers see: figures.yaml and findings.yaml, each checked."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from pydantic import Field, ValidationError

from memdt import paths
from memdt.errors import UserError
from memdt.settings.files import Answers
from memdt.settings.layers import explain, read_file, read_yaml
from memdt.settings.names import fault
from memdt.settings.schema import Frozen


class FigureSettings(Frozen):
    """An entry of workflow/config/figures.yaml."""

    module: str = Field(description="the module under src/memdt/figures")
    title: str
    caption: str
    experiments: tuple[str, ...] = Field(min_length=1)
    answers: Answers | None = None
    inputs: Literal["episodes", "curves", "attention", "recordings"] = "episodes"
    datasets: bool = Field(default=False, description="also show the returns of the datasets")
    clip: bool = Field(default=False, description="also make an animation of it")
    headline: bool = Field(
        default=False, description="the figure that tells most: at the top of the report"
    )
    options: dict[str, Any] = {}


class Finding(Frozen):
    """A line of the README's table of results."""

    claim: str = Field(description="whose verdict stands behind the sentence")
    says: str = Field(description="the claim in plain words, true or not")


class FindingsFile(Frozen):
    """workflow/config/findings.yaml: what the README's table of results asks."""

    findings: tuple[Finding, ...] = Field(max_length=8)


@cache
def figures() -> dict[str, FigureSettings]:
    """All figures of workflow/config/figures.yaml by name."""
    path = paths.CONFIG / "figures.yaml"
    for name in read_yaml(path):
        if why := fault(name, dots=False):
            raise UserError(why, str(path), "rename the figure")
    try:
        return {k: FigureSettings.model_validate(v) for k, v in read_yaml(path).items()}
    except ValidationError as error:
        raise explain(error, FigureSettings, lambda key: str(path)) from None


def findings() -> tuple[Finding, ...]:
    """The lines of the README's table, in their order."""
    return read_file("", "findings", FindingsFile).findings
