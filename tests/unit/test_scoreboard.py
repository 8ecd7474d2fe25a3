"""The claims of a report, counted by paper, environment and state."""

from __future__ import annotations

import pandas as pd
import pytest

from memdt.report.scoreboard import OURS, STATES, by_environment, classified, standings, state
from memdt.results.outcomes import VERDICTS


def frame(*rows: tuple[str, str, str, str, str]) -> pd.DataFrame:
    columns = ["id", "sentence", "experiment", "origin", "verdict"]
    content = pd.DataFrame(rows, columns=columns)
    return content.assign(
        source=["DT-Mem 5" if name[0] == "M" else "RATE 4" for name in content["id"]]
    )


CLAIMS = frame(
    ("R1", "R1", "tmaze_table_2", "paper", "not run"),
    ("R2", "R1", "tmaze_table_2", "paper", "holds"),
    ("R3", "R3", "tmaze_figure_5", "paper", "does not hold"),
    ("R4", "R4", "tmaze_q_learning", "ours", "cannot be decided"),
    ("M1", "M1", "metaworld_table_4", "paper", "holds"),
)


def test_a_sentence_counts_once_under_its_paper_and_environment() -> None:
    rows = {(row.paper, row.environment): row.counts for row in standings(classified(CLAIMS))}
    assert rows == {
        ("RATE", "T-Maze"): {"holds": 0, "fails": 1, "undecided": 0, "waits": 1, "unbuilt": 0},
        (OURS, "T-Maze"): {"holds": 0, "fails": 0, "undecided": 1, "waits": 0, "unbuilt": 0},
        ("DT-Mem", "Meta-World ML45"): {
            "holds": 1,
            "fails": 0,
            "undecided": 0,
            "waits": 0,
            "unbuilt": 0,
        },
    }


def test_a_row_of_which_nothing_was_run_says_so() -> None:
    waiting = frame(("R1", "R1", "tmaze_table_2", "paper", "not run"))
    assert [row.has_run for row in standings(classified(waiting))] == [False]
    assert all(row.has_run for row in standings(classified(CLAIMS)))


def test_claims_are_grouped_by_environment_and_what_has_not_run_comes_last() -> None:
    groups = by_environment(classified(CLAIMS))
    assert [(group.title, group.anchor) for group in groups] == [
        ("T-Maze", "claims-t-maze"), ("Meta-World ML45", "claims-meta-world-ml45"),
    ]  # fmt: skip
    assert [claim["id"] for claim in groups[0].claims] == ["R2", "R3", "R4", "R1"]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_has_a_state(verdict: str) -> None:
    assert state(verdict) in STATES
    assert (state(verdict) == "undecided") == (
        STATES.get(state(verdict)) != verdict or verdict == "undecided"
    )


def test_an_experiment_that_is_gone_keeps_its_name() -> None:
    gone = frame(("R1", "R1", "an_old_one", "paper", "holds"))
    assert classified(gone)["environment"].tolist() == ["an old one"]
