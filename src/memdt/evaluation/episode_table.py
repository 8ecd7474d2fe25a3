"""The columns of ``episodes.csv``, which has one row for each evaluation episode.

    condition,segments,episode,environment_seed,return,steps[,success][,score],group[,measures]

``success`` (0 or 1) and ``score`` stand there where the environment knows them
(`environments/task.py`), measures are what it counts; ATTENTION follows where it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FIRST = ("condition", "segments", "episode", "environment_seed", "return", "steps")
GROUP = "group"  # after the outcomes, before the measures
TEXTS = ("condition", GROUP)
# Of the whole run, the same in each of its rows; where `evaluation.attention` asks for them.
ATTENTION = (
    "write_on_steps", "write_on_read", "write_on_last_quarter",
    "steps_on_read_gain", "steps_on_read_least_gain", "steps_on_read_least_layer_gain",
    "write_entropy",
)  # fmt: skip
REAL = ("return", "score", *ATTENTION)  # six digits; all else are whole numbers

Row = Mapping[str, Any]


def columns(outcomes: Sequence[str], measures: Sequence[str]) -> tuple[str, ...]:
    """Return all columns, in order."""
    return (*FIRST, *outcomes, GROUP, *measures)


def text(rows: Sequence[Row], outcomes: Sequence[str], measures: Sequence[str]) -> str:
    """Return the table as CSV; the same rows give the same bytes."""
    names = columns(outcomes, measures)
    lines = [",".join(names), *(",".join(_cell(name, row[name]) for name in names) for row in rows)]
    return "".join(f"{line}\n" for line in lines)


def _cell(name: str, value: Any) -> str:
    if name in TEXTS:
        return str(value)
    return f"{value:.6g}" if name in REAL else str(int(value))
