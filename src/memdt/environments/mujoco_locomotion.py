"""HalfCheetah, Hopper and Walker2d of Gymnasium, scored as D4RL scores them.

The environment is that of ``gymnasium``; what is added is the normalised score: 0 is the return of
random actions, 100 that of D4RL's expert. Source: RATE section 4.3; Fu et al. 2020.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
from pydantic import Field, field_validator

from memdt.environments import gymnasium as any_gymnasium
from memdt.environments.mujoco import d4rl_tables
from memdt.environments.vectors import SerialVector
from memdt.errors import closest

REQUIRES = ("mujoco", "d4rl")
STEPS_PER_SECOND = 7000  # of collection on one core; HalfCheetah is twice as fast


class Settings(any_gymnasium.Settings):
    """Which environment, and whose scores it is held against."""

    id: str = Field(
        examples=["Hopper-v4"],
        description="id with its version: -v4 is the closest to the environments of D4RL's v2 data",
    )
    reference: str = Field(
        examples=["hopper"], description="the environment in d4rl's table of reference scores"
    )

    @field_validator("reference")
    @classmethod
    def _is_in_the_table(cls, value: str) -> str:
        known = d4rl_tables.references()
        if value not in known:
            raise ValueError(f"d4rl has no reference scores of {value!r}; {closest(value, known)}")
        return value


def make(settings: Settings) -> gymnasium.Env[Any, Any]:
    """One environment; UserError where MuJoCo is missing."""
    with _without_advice():
        return any_gymnasium.make(settings)


def make_shown(settings: Settings, render_mode: str) -> gymnasium.Env[Any, Any]:
    """One environment that renders in a mode of Gymnasium."""
    with _without_advice():
        return any_gymnasium.make_shown(settings, render_mode)


@contextmanager
def _without_advice() -> Iterator[None]:
    with warnings.catch_warnings():
        # Gymnasium advises -v5 instead, whose rewards are not those of the data (Deviation D100).
        warnings.filterwarnings("ignore", message=".*is out of date.*")
        # Bounds are infinite and stay so in float32.
        warnings.filterwarnings("ignore", message=".*precision lowered.*")
        yield


def make_vector(settings: Settings, count: int) -> SerialVector:
    """``count`` environments, one after the other."""
    return any_gymnasium.Rows([make(settings) for _ in range(count)])


def score_range(settings: Settings, group: str) -> tuple[float, float]:
    """The returns of random actions and of D4RL's expert."""
    return d4rl_tables.reference_returns(settings.reference)
