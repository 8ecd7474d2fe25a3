"""T-Maze: a hint at the start of a corridor says which way to turn at its end.

             +1   goal if hint = +1
    0 1 ... L     turn up or down at x = L; before that, up and down are walls
             -1   goal if hint = -1

Observation [y, hint, flag, noise]; only the first observation shows the hint. Actions: 0 right,
1 up, 2 left, 3 down. The reward is 1 for the correct turn and 0 otherwise. There is a setting for
each point on which paper and public code disagree; its default follows the code.

Source: RATE section 5.1 and appendix; zen0no/RATE, branch main, TMaze_new_src/utils/tmaze.py, rules
only, after Ni et al. 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int, Int8
from pydantic import BaseModel, ConfigDict, Field

from memdt.environments.interface import Collected
from memdt.environments.spaces import Spaces
from memdt.environments.vectors import Seeds, row_seeds
from memdt.errors import UserError

REQUIRES: tuple[str, ...] = ()

RIGHT, UP, LEFT, DOWN = range(4)
MOVE_X = np.array([1, 0, -1, 0])
MOVE_Y = np.array([0, 1, 0, -1])
Y, HINT, FLAG, NOISE = range(4)  # columns of an observation

# Noise is drawn for this number of steps at a time, because a corridor may have a million steps.
NOISE_STEPS = 256

CORRIDOR_WIDTH = 70  # characters of a drawing at most

Observations = Float[np.ndarray, "rows 4"]


class Settings(BaseModel):
    """Settings of a T-Maze."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    corridor_length: int = Field(default=28, ge=1, description="steps to the junction, L")
    # Deviation D1: the paper shows the flag one step before the junction, the public code at it.
    flag: Literal["at_junction", "before_junction"] = Field(
        default="at_junction", description="where the flag is 1, in the first observation only"
    )
    # Deviation D2: the paper and its code use one length, the later code draws lengths.
    corridor: Literal["fixed", "random"] = Field(
        default="fixed", description="random: lengths uniform in 1 .. corridor_length"
    )
    # Deviation D3: T = L + 2 as published leaves one step more than a solution needs.
    spare_steps: int = Field(
        default=1, ge=0, description="steps of the time limit beyond the shortest solution"
    )

    mistakes: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of collected episodes in which the collector turns the wrong way",
    )

    @property
    def time_limit(self) -> int:
        """Steps after which an episode is cut off: corridor, turn and spare steps."""
        return self.corridor_length + 1 + self.spare_steps


def make(settings: Settings) -> TMaze:
    """Make one maze."""
    return TMaze(settings)


def make_vector(settings: Settings, count: int) -> TMazeVector:
    """Make ``count`` mazes as arrays."""
    return TMazeVector(count, settings)


def spaces_of(settings: Settings) -> Spaces:
    """Return the spaces: vectors of 4 numbers, and 4 moves."""
    return Spaces(_observation_space(), spaces.Discrete(4))


def lengthened(settings: Settings, steps: int) -> Settings:
    """Return the settings with a time limit of ``steps`` (L = K n - 2 for n segments of K steps).

    Raises UserError if that leaves no corridor.
    """
    length = steps - 1 - settings.spare_steps
    if length < 1:
        raise UserError(f"{steps} steps leave no corridor", "tmaze", "make episodes longer")
    return settings.model_copy(update={"corridor_length": length})


def collection_policy(settings: Settings) -> Oracle:
    """Return the policy that remembers the hint."""
    return Oracle(settings)


def success(
    returns: Float[np.ndarray, " episodes"], terminated: Bool[np.ndarray, " episodes"]
) -> Bool[np.ndarray, " episodes"]:
    """Return True for episodes with the correct turn, whose return is 1."""
    return returns >= 1.0


def dataset_card(settings: Settings, store: Collected) -> dict[str, str]:
    """Return a line of the dataset's card: the balance of the hints."""
    hints = store.observations[store.offsets[:-1]][:, HINT]
    return {"hints": f"{(hints > 0).mean():.0%} up, {(hints < 0).mean():.0%} down"}


class Oracle:
    """Goes right, and turns as the hint says once the flag is 1. It sees observations only."""

    def __init__(self, settings: Settings) -> None:
        self._one_step_early = settings.flag == "before_junction"
        self._mistakes = settings.mistakes

    def reset(self, seeds: Sequence[int]) -> None:
        """Forget earlier episodes, and draw which of the new ones end in a mistake."""
        self._hint = np.zeros(len(seeds), dtype=np.float32)
        self._flagged = np.zeros(len(seeds), dtype=bool)
        # The 1 keeps the mistakes apart from the noise, which the same seed draws.
        draws = [np.random.default_rng([seed, 1]).random() for seed in seeds]
        self._believed = np.where(np.array(draws) < self._mistakes, -1, 1)

    def act(self, observations: Observations, info: dict[str, Any]) -> Int[np.ndarray, " rows"]:
        """Go right, or turn as the hint says."""
        self._hint += observations[:, HINT]  # 0 in all observations but the first
        flagged = observations[:, FLAG] == 1
        turn = self._flagged if self._one_step_early else flagged
        self._flagged = flagged
        return np.where(turn, np.where(self._hint * self._believed > 0, UP, DOWN), RIGHT)


def _observation_space() -> spaces.Box:
    low = np.array([-1, -1, 0, -1], dtype=np.float32)
    return spaces.Box(low, np.ones(4, dtype=np.float32))


def _draw_maze(
    settings: Settings, generator: np.random.Generator, seed: int | None
) -> tuple[int, int]:
    """Goal (+1 up, -1 down) and length of the corridor.

    The parity of a seed decides the goal, so that any range of consecutive seeds is balanced.
    """
    # Deviation D4: one seed decides goal and noise; the public code uses two, and draws goals.
    side = int(generator.integers(2)) if seed is None else seed % 2
    length = settings.corridor_length
    if settings.corridor == "random":
        length = int(generator.integers(1, length + 1))
    return 2 * side - 1, length


def _draw_noise(generator: np.random.Generator) -> Int8[np.ndarray, " noise_steps"]:
    return generator.integers(-1, 2, size=NOISE_STEPS, dtype=np.int8)


class TMaze(gymnasium.Env[np.ndarray, np.signedinteger[Any]]):
    """One maze, written for reading; :class:`TMazeVector` plays the same episodes faster."""

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 10}

    def __init__(
        self,
        settings: Settings | None = None,
        render_mode: str | None = None,
        **parameters: Any,
    ) -> None:
        self.render_mode = render_mode
        self.settings = Settings(**parameters) if settings is None else settings
        self.observation_space = _observation_space()
        self.action_space = spaces.Discrete(4)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, "4"], dict[str, Any]]:
        """Return to the start of a corridor; only this observation shows the hint."""
        super().reset(seed=seed)
        self._goal, self._length = _draw_maze(self.settings, self.np_random, seed)
        self._flag_at: int | None = self._length - (self.settings.flag == "before_junction")
        self._x = self._y = self._time = 0
        return self._observe(hint=self._goal), {}

    def step(
        self, action: np.integer[Any] | int
    ) -> tuple[Float[np.ndarray, "4"], float, bool, bool, dict[str, Any]]:
        """Make a move; a move into a wall has no effect."""
        self._time += 1
        if self._x == self._length:
            self._y += int(MOVE_Y[action])
        self._x = min(max(self._x + int(MOVE_X[action]), 0), self._length)
        terminated = self._y != 0
        truncated = not terminated and self._time >= self.settings.time_limit
        return self._observe(hint=0), float(self._y == self._goal), terminated, truncated, {}

    def render(self) -> str:
        """Draw the maze in three lines; the hint is there while it can be observed."""
        width = min(self._length, CORRIDOR_WIDTH)
        lines = [[" "] * width + [mark] for mark in ("·", "┤", "·")]
        lines[1][:width] = "─" * width
        lines[1 - self._goal][width] = "G"
        lines[1 - self._y][round(self._x * width / self._length)] = "A"
        hint = "" if self._time else f"   hint: {'up' if self._goal > 0 else 'down'}"
        drawn = "\n".join("".join(line) for line in lines)
        return f"step {self._time} of at most {self.settings.time_limit}{hint}\n{drawn}"

    def _observe(self, hint: int) -> Float[np.ndarray, "4"]:
        if self._time % NOISE_STEPS == 0:
            self._noise = _draw_noise(self.np_random)
        flag = self._x == self._flag_at
        if flag:
            self._flag_at = None  # shown once, as in the public code
        noise = self._noise[self._time % NOISE_STEPS]
        return np.array([self._y, hint, flag, noise], dtype=np.float32)


class TMazeVector(VectorEnv):
    """Many mazes as arrays; a row that has ended is frozen until the next reset.

    All rows begin at the same time, so they share one clock.
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED, "render_modes": []}

    def __init__(self, num_envs: int, settings: Settings | None = None, **parameters: Any) -> None:
        self.settings = Settings(**parameters) if settings is None else settings
        self.num_envs = num_envs
        self.single_observation_space = _observation_space()
        self.single_action_space = spaces.Discrete(4)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators = [seeding.np_random()[0] for _ in range(num_envs)]
        self._noise = np.zeros((NOISE_STEPS, num_envs), dtype=np.float32)

    def reset(
        self, *, seed: Seeds = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin an episode in every row; the seed of a row alone decides its maze and noise."""
        seeds = row_seeds(seed, self.num_envs)
        for row, row_seed in enumerate(seeds):
            if row_seed is not None:
                self._generators[row] = seeding.np_random(row_seed)[0]
        mazes = [
            _draw_maze(self.settings, generator, row_seed)
            for generator, row_seed in zip(self._generators, seeds, strict=True)
        ]
        self._goal, self._length = np.array(mazes).T.copy()
        self._flag_at = self._length - (self.settings.flag == "before_junction")
        self._x = np.zeros(self.num_envs, dtype=np.int64)
        self._time = 0
        self._active = np.ones(self.num_envs, dtype=bool)
        self._terminated = np.zeros(self.num_envs, dtype=bool)
        self._truncated = np.zeros(self.num_envs, dtype=bool)
        self._any_frozen = False
        self._observations = np.zeros((self.num_envs, 4), dtype=np.float32)
        self._observations[:, HINT] = self._goal
        self._show_flag_and_noise()
        return self._observations.copy(), {}

    def step(
        self, actions: Int[np.ndarray, " rows"]
    ) -> tuple[
        Observations,
        Float[np.ndarray, " rows"],
        Bool[np.ndarray, " rows"],
        Bool[np.ndarray, " rows"],
        dict[str, Any],
    ]:
        """Make a move in every row that has not ended."""
        self._time += 1
        move_y = self._move(actions)
        self._observations[:, HINT] = 0
        self._show_flag_and_noise()
        rewards = self._turn(move_y) if move_y.any() else np.zeros(self.num_envs)
        if self._time >= self.settings.time_limit:
            self._truncated |= self._active
            self._active[:] = False
            self._any_frozen = True
        flags = self._terminated.copy(), self._truncated.copy()
        return self._observations.copy(), rewards, *flags, {}

    def _move(self, actions: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """Walk along the corridor; returns the turns that rows make at the junction."""
        move_x: np.ndarray = MOVE_X[actions]
        move_y: np.ndarray = MOVE_Y[actions]
        if self._any_frozen:
            move_x *= self._active
            move_y *= self._active
        self._x += move_x
        np.maximum(self._x, 0, out=self._x)
        np.minimum(self._x, self._length, out=self._x)
        # A row that turns does not walk, so its position is the same before and after the walk.
        move_y *= self._x == self._length
        return move_y

    def _turn(self, move_y: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """End the episodes that turn, and return their rewards."""
        self._observations[:, Y] += move_y
        turned = move_y != 0
        self._terminated |= turned
        self._active &= ~turned
        self._any_frozen = True
        return np.where(turned & (move_y == self._goal), 1.0, 0.0)

    def _show_flag_and_noise(self) -> None:
        step = self._time % NOISE_STEPS
        if step == 0:
            # A frozen row draws nothing, so that its generator stays where a single maze leaves it.
            for row in np.flatnonzero(self._active):
                self._noise[:, row] = _draw_noise(self._generators[row])
        flag = self._x == self._flag_at
        if flag.any():
            self._flag_at[flag] = -1  # shown once, as in the public code
        # Masked copies are slower, and along most of a corridor no row is frozen.
        if self._any_frozen:
            np.copyto(self._observations[:, FLAG], flag, where=self._active)
            np.copyto(self._observations[:, NOISE], self._noise[step], where=self._active)
        else:
            self._observations[:, FLAG] = flag
            self._observations[:, NOISE] = self._noise[step]


if "memdt/TMaze-v0" not in gymnasium.registry:
    gymnasium.register(
        id="memdt/TMaze-v0",
        entry_point=f"{__name__}:TMaze",
        vector_entry_point=f"{__name__}:TMazeVector",
    )
