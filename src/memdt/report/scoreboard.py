"""Sort the decided claims by environment and count them: what the report opens with.

Between claims.csv (`results/claims.py`) and the template. A claim is counted under the environment
of its experiment and the paper that it quotes; parts of one sentence count once.

    paper    environment    holds   does not hold   undecided   not run
    RATE     T-Maze             3               1           9         2
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from memdt.results.claims import by_sentence
from memdt.results.outcomes import FAILS, HOLDS, NOT_RUN, WAITING
from memdt.settings.files import experiment_file
from memdt.settings.layers import available, environment_title

# The states that a reader asks for; every other verdict is one of "undecided".
STATES = {
    "holds": "holds",
    "fails": "does not hold",
    "undecided": "undecided",
    "waits": "not run",
    "unbuilt": "waiting",
}
_OF_VERDICT = {HOLDS: "holds", FAILS: "fails", NOT_RUN: "waits", WAITING: "unbuilt"}
PAPERS = {"rate": "RATE", "dt_mem": "DT-Mem"}
OURS = "this project"


def state(verdict: str) -> str:
    """One of STATES for a verdict of a claim."""
    return _OF_VERDICT.get(verdict, "undecided")


@dataclass(frozen=True)
class Standing:
    """How the claims of one paper about one environment stand, counted by sentence."""

    paper: str
    environment: str
    anchor: str  # of the environment's claims on the page
    counts: dict[str, int]  # by STATES, every one of them

    @property
    def total(self) -> int:
        """All sentences."""
        return sum(self.counts.values())

    @property
    def has_run(self) -> bool:
        """Whether any of these claims was run."""
        return self.total > self.counts["waits"] + self.counts["unbuilt"]


@dataclass(frozen=True)
class EnvironmentClaims:
    """The claims about one environment, each with its state."""

    title: str
    anchor: str
    claims: list[dict[str, str]]


def classified(frame: pd.DataFrame) -> pd.DataFrame:
    """The decided claims, a row each, with the columns ``environment``, ``paper`` and ``state``."""
    # Older claims files have no such column.
    waits_for = frame["waits_for"] if "waits_for" in frame else [""] * len(frame)
    return frame.assign(
        environment=list(map(_environment, frame["experiment"], waits_for)),
        paper=[_paper(*row) for row in frame[["origin", "source"]].itertuples(index=False)],
        state=[state(verdict) for verdict in frame["verdict"]],
    )


def standings(frame: pd.DataFrame) -> list[Standing]:
    """One row for each paper and environment; ``frame`` is from `classified`."""
    rows = []
    for environment in frame["environment"].unique():
        mine = frame[frame["environment"] == environment]
        for paper, claims in mine.groupby("paper", sort=False):
            counted = Counter(state(verdict) for verdict in by_sentence(claims))
            counts = {name: counted[name] for name in STATES}
            rows.append(Standing(str(paper), environment, anchor(environment), counts))
    return rows


def by_environment(frame: pd.DataFrame) -> list[EnvironmentClaims]:
    """The claims in the order of the file, what has run before what has not.

    ``frame`` is from `classified`; environments come in the order of their first claim.
    """
    ordered = frame.sort_values(
        "state", key=lambda states: states.isin(["waits", "unbuilt"]), kind="stable"
    )
    groups = {title: claims for title, claims in ordered.groupby("environment", sort=False)}
    return [
        EnvironmentClaims(title, anchor(title), groups[title].to_dict("records"))
        for title in frame["environment"].unique()
    ]


def anchor(title: str) -> str:
    """An id for an environment's claims on the page."""
    return "claims-" + "".join(c if c.isalnum() else "-" for c in title.lower())


def _environment(experiment: str, waits_for: str) -> str:
    # A claims file may be older than the settings, or name what is not built yet.
    if experiment in available("experiments"):
        return environment_title(experiment_file(experiment).environment)
    return f"{waits_for} (not built yet)" if waits_for else experiment.replace("_", " ")


def _paper(origin: str, source: str) -> str:
    if origin == "ours":
        return OURS
    return next((paper for paper in PAPERS.values() if paper in source), source)
