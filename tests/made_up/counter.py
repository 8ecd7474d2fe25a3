"""A made-up environment that counts, and modules of it with more or fewer names."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from pydantic import BaseModel

from memdt import discovery


class Counter(gymnasium.Env[np.ndarray, np.integer[Any]]):
    """Counts actions other than 0; over at step 5 + seed; shows its time."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Box(-1, 1, (4,), np.float32)
    action_space = spaces.Discrete(4)
    render_mode = "rgb_array"

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.end, self.time, self.done = 5 + (seed or 0), 0, 0
        return np.zeros(4, np.float32), {"acted": 0}

    def step(self, action: Any) -> Any:
        self.time += 1
        self.done += int(action != 0)
        observation = np.full(4, self.time / 100, np.float32)
        return observation, float(action), self.time >= self.end, False, {"acted": self.done}

    def render(self) -> Any:
        return np.full((180, 320, 3), self.time, np.uint8)


class Settings(BaseModel, extra="forbid", frozen=True):
    """Nothing can be set."""


def module(**names: Any) -> ModuleType:
    """An environment's module: what every one must have, and ``names``."""
    made = ModuleType("memdt.environments.counter")
    required = {"Settings": Settings, "REQUIRES": (), "make": lambda settings: Counter()}
    vars(made).update({**required, **names})
    return made


def install(patch: pytest.MonkeyPatch, made: ModuleType) -> None:
    """Let it be found under the name ``counter``."""
    load = discovery.load
    patch.setattr(
        discovery, "load", lambda kind, name: made if name == "counter" else load(kind, name)
    )
