"""Key-value recall: pairs are shown one by one, and much later each key is asked for its value.

    step        0 ... pairs - 1      ...      steps - pairs ... steps - 1
    shown       key and value        nothing           a key
    answer      wait                 wait              its value

An observation holds two flags (a pair is shown, a value is asked for), the key and the value, each
as one number a choice. Action 0 waits, action 1 + v names the value v. Every right answer earns 1 /
pairs. How much has to be remembered is a setting, which no task of the papers has: it serves the
claims about how many memory tokens or slots a task needs (DT-Mem appendix B.3; RATE appendix D.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator

from memdt.environments.spaces import Spaces
from memdt.errors import UserError

REQUIRES: tuple[str, ...] = ()
MEASURES = ("right_answers", "wrong_answers")

WAIT = 0
SHOWN, ASKED = 0, 1  # columns of an observation; keys and values follow


class Settings(BaseModel):
    """How much is to be remembered, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pairs: int = Field(default=8, ge=1, description="pairs of an episode, all to be remembered")
    keys: int = Field(default=8, ge=1, description="keys that the pairs are drawn from")
    values: int = Field(default=4, ge=2, description="values; who guesses is right once in so many")
    steps: int = Field(default=30, ge=2, description="of an episode; questions are its last steps")

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if self.pairs > self.keys:
            raise ValueError(f"{self.pairs} pairs need as many keys, not {self.keys}")
        if 2 * self.pairs > self.steps:
            raise ValueError(f"{self.pairs} pairs and their questions need {2 * self.pairs} steps")
        return self


def make(settings: Settings) -> Recall:
    """One episode's questions and answers."""
    return Recall(settings)


def spaces_of(settings: Settings) -> Spaces:
    """Two flags, a key and a value are seen; to wait or to name a value is possible."""
    return Spaces(_observation_space(settings), spaces.Discrete(1 + settings.values))


def lengthened(settings: Settings, steps: int) -> Settings:
    """Return settings with the same pairs in episodes of ``steps`` steps; the pause changes.

    Raises UserError if the pairs and their questions do not fit.
    """
    if steps < 2 * settings.pairs:
        remedy = "make episodes longer, or ask for fewer pairs"
        raise UserError(f"{steps} steps cannot hold {settings.pairs} pairs", "recall", remedy)
    return settings.model_copy(update={"steps": steps})


def collection_policy(settings: Settings) -> Scribe:
    """The policy that has written every pair down."""
    return Scribe(settings)


def success(
    returns: Float[np.ndarray, " episodes"], terminated: Bool[np.ndarray, " episodes"]
) -> Bool[np.ndarray, " episodes"]:
    """Every answer was right (the return is 1 but for rounding)."""
    return returns >= 1.0 - 1e-6


def hint_steps(settings: Settings) -> range:
    """The steps in which the pairs are shown."""
    return range(settings.pairs)


class Scribe:
    """Keeps the value of every key that it sees, and answers from that."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def reset(self, seeds: Sequence[int]) -> None:
        """Forget the pairs of earlier episodes."""
        self._values = np.zeros((len(seeds), self._settings.keys), dtype=np.int64)

    def act(
        self, observations: Float[np.ndarray, "rows width"], info: dict[str, Any]
    ) -> Int[np.ndarray, " rows"]:
        """The value of the key that is asked for; else wait."""
        keys = observations[:, 2 : 2 + self._settings.keys].argmax(1)
        values = observations[:, 2 + self._settings.keys :].argmax(1)
        shown, asked = observations[:, SHOWN] == 1, observations[:, ASKED] == 1
        rows = np.arange(len(observations))
        self._values[rows[shown], keys[shown]] = values[shown]
        return np.where(asked, 1 + self._values[rows, keys], WAIT)


def _observation_space(settings: Settings) -> spaces.Box:
    return spaces.Box(0.0, 1.0, (2 + settings.keys + settings.values,), np.float32)


class Recall(gymnasium.Env[np.ndarray, np.signedinteger[Any]]):
    """One episode; it always lasts ``steps`` steps."""

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, settings: Settings | None = None, **parameters: Any) -> None:
        self.settings = Settings(**parameters) if settings is None else settings
        self.observation_space = _observation_space(self.settings)
        self.action_space = spaces.Discrete(1 + self.settings.values)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, " width"], dict[str, Any]]:
        """Draw keys without repetition, their values, and the order of the questions."""
        super().reset(seed=seed)
        s = self.settings
        self._keys = self.np_random.permutation(s.keys)[: s.pairs]
        self._values = self.np_random.integers(s.values, size=s.pairs)
        # Not in the order of showing: a policy could then count instead of comparing keys.
        self._order = self.np_random.permutation(s.pairs)
        self._time = self._right = self._wrong = 0
        return self._observe(), self._info()

    def step(
        self, action: np.integer[Any] | int
    ) -> tuple[Float[np.ndarray, " width"], float, bool, bool, dict[str, Any]]:
        """Answer, or wait; only answers to questions count."""
        question, reward = self._question, 0.0
        if question is not None:
            right = int(action) == 1 + self._values[question]
            self._right, self._wrong = self._right + right, self._wrong + (not right)
            reward = right / self.settings.pairs
        self._time += 1
        terminated = self._time >= self.settings.steps
        return self._observe(), float(reward), terminated, False, self._info()

    @property
    def _question(self) -> int | None:
        """The pair that is asked for now, if any."""
        asked = self._time - (self.settings.steps - self.settings.pairs)
        return int(self._order[asked]) if 0 <= asked < self.settings.pairs else None

    def _observe(self) -> Float[np.ndarray, " width"]:
        observation = np.zeros(self.observation_space.shape or (), dtype=np.float32)
        question = self._question
        if self._time < self.settings.pairs:
            observation[SHOWN] = 1
            observation[2 + self.settings.keys + self._values[self._time]] = 1
            observation[2 + self._keys[self._time]] = 1
        elif question is not None:
            observation[ASKED] = 1
            observation[2 + self._keys[question]] = 1
        return observation

    def _info(self) -> dict[str, Any]:
        return {"right_answers": self._right, "wrong_answers": self._wrong}
