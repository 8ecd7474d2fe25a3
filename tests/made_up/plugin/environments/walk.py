"""A walk along five places; the last one pays. Made up, to be added as a plugin."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from pydantic import BaseModel, ConfigDict, Field

REQUIRES: tuple[str, ...] = ()


class Settings(BaseModel):
    """Settings of the walk."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    places: int = Field(default=5, ge=2, description="from the first to the one that pays")
    time_limit: int = Field(default=12, ge=1, description="steps after which an episode is cut")


def make(settings: Settings) -> Walk:
    """One walk."""
    return Walk(settings)


class Walk(gymnasium.Env):
    """Actions: 0 back, 1 on. What is seen: one number a place, 1 where the walker is."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.observation_space = spaces.Box(0.0, 1.0, (settings.places,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Back to the first place."""
        super().reset(seed=seed)
        self.position = self.time = 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One place back or on."""
        self.time += 1
        self.position = max(0, self.position + (1 if action else -1))
        arrived = self.position == self.settings.places - 1
        cut = not arrived and self.time >= self.settings.time_limit
        return self._seen(), float(arrived), arrived, cut, {}

    def _seen(self) -> np.ndarray:
        return np.eye(self.settings.places, dtype=np.float32)[self.position]
