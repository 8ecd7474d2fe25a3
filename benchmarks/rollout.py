"""Rollouts: milliseconds of one environment step, T-Maze included, episodes side by side."""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import Table, timed
from benchmarks.sizes import BIG, SEGMENT_LENGTH, SMALL, SMALL_WINDOW, Size
from memdt.environments import tmaze
from memdt.environments.task import Task
from memdt.evaluation.rollout import Protocol, Rollout
from memdt.models.interface import SequencePolicy
from memdt.settings.schema import Condition

NOTE = (
    "All episodes step together. DT looks back at 30 steps, and runs its window anew at each step "
    "once that is full.\nThe public code needs 13 ms a step and episode, and 12.5 with many "
    "episodes at once (another machine, one thread)."
)
CASES = ((SMALL, 20), (SMALL, 100), (BIG, 100), (SMALL_WINDOW, 100))


def measure(
    long: bool = False, cases: tuple[tuple[Size, int], ...] = CASES, segments: int = 3
) -> Table:
    """One row for a model and a number of episodes."""
    rows = [row(size, episodes, segments) for size, episodes in cases]
    return Table(f"Rollout, {segments * SEGMENT_LENGTH} steps", rows, NOTE)


def row(size: Size, episodes: int, segments: int) -> dict[str, Any]:
    """Time whole rollouts of one model."""
    policy, steps = size.build(), segments * SEGMENT_LENGTH
    timing = timed(lambda: play(policy, episodes, segments), repetitions=3)
    milliseconds = timing.seconds / steps * 1e3
    return {
        "model": size.label,
        "episodes": episodes,
        "ms a step": milliseconds,
        "ms a step and episode": milliseconds / episodes,
        "peak, Gflop/s": timing.peak / 1e9,
    }


def play(policy: SequencePolicy, episodes: int, segments: int) -> int:
    """Walk through corridors of so many segments to their time limit; returns the steps."""
    environment = Task(tmaze, tmaze.Settings()).vector(episodes, segments * SEGMENT_LENGTH)
    protocol = Protocol(SEGMENT_LENGTH, 1.0, True, Condition(), SEGMENT_LENGTH, seed=0)
    outcomes = Rollout(policy.eval(), environment, protocol).play(range(episodes))
    return int(outcomes.steps.max())
