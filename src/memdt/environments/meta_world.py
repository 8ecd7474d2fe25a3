"""Meta-World: a robot arm, many tasks, and a goal that is not shown.

Which task an episode plays follows from its seed: ``tasks[seed % len(tasks)]``; where the goal is
and where the object begins are drawn from the seed too. Evaluation counts seeds up from 0 and
collection from 1,000,000, so no goal of a demonstration is met again.

Observations are 39 numbers: hand, gripper, place and turn of two objects, the same of the step
before, the goal (zeros where it is hidden). Actions are 4 numbers in [-1, 1]: how far the hand
moves, and how hard the gripper closes.

Source: DT-Mem section 5 (ML45); Yu et al. 2019; release 3 of the package ``metaworld``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field, field_validator

from memdt.environments.meta_world_parts import tasks as meta_world_tasks
from memdt.environments.meta_world_parts.simulator import Simulator, scripted_policy
from memdt.environments.spaces import Spaces
from memdt.environments.vectors import SerialVector
from memdt.errors import closest

REQUIRES: tuple[str, ...] = ("metaworld", "mujoco")
STEPS_PER_SECOND = 800.0  # of one row after the other, with the scripted policy
ROWS_AT_ONCE = 32  # each row's simulator takes 22 MB
MEASURES: tuple[str, ...] = ("near_object", "solved")

NAMES = (*meta_world_tasks.TRAINING, *meta_world_tasks.TEST)
HIGHEST_REWARD = 10.0  # of a step, in every task
GOAL = slice(36, 39)
BOUND = 100.0  # decimetres: nothing on the table gets that far
# One frame: hand 0-2, gripper 3, an object's place 4-6 and turn 7-10, another one's 11-17.
FRAMES, HAND, OBJECTS = (0, 18), slice(0, 3), (slice(4, 11), slice(11, 18))
MIDDLE, DECIMETRE = np.array([0.0, 0.65, 0.2]), 0.1  # of where the hand works, metres

Observation = Float[np.ndarray, "39"]


class Settings(BaseModel):
    """What the tasks may be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[str, ...] = Field(
        default=("button-press-topdown-v3", "drawer-close-v3"),
        min_length=1,
        description="played in turn: an episode's is tasks[seed % how many there are]",
    )
    goal_hidden: bool = Field(default=True, description="zeros in place of the goal, as in ML45")
    # Deviation D61: the paper does not say what success is.
    success: Literal["any_step", "last_step"] = Field(
        default="any_step",
        description="any_step: the first success ends the episode; "
        "last_step: it runs to the time limit and is judged there",
    )
    time_limit: int = Field(default=500, gt=0, description="steps after which an episode is cut")
    # Deviation D62: the paper does not say which rewards are summed.
    reward: Literal["sparse", "dense"] = Field(
        default="sparse",
        description="sparse: 1 for success and nothing else; dense: Meta-World's own, divided so "
        "that no return is above 1",
    )
    # Deviation D63: the package gives metres.
    units: Literal["decimetres", "metres"] = Field(
        default="decimetres",
        description="of places in observations; decimetres count from the middle of the workspace",
    )
    # Deviation D64: the paper's episodes come from the scripted policies as they are.
    noise: float = Field(
        default=0.1, ge=0, description="deviation of what is added to the collector's actions"
    )

    @field_validator("tasks")
    @classmethod
    def _known(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        for task in tasks:
            if task not in NAMES:
                raise ValueError(f"unknown task {task!r}; {closest(task, NAMES)}")
        return tasks


def make(settings: Settings) -> MetaWorld:
    """One arm."""
    return MetaWorld(settings)


def make_collection_vector(settings: Settings, count: int) -> VectorEnv:
    """``count`` arms that show the collection policy the goal, in metres."""
    return SerialVector([MetaWorld(settings, sight=True) for _ in range(count)])


def spaces_of(settings: Settings) -> Spaces:
    """39 numbers are seen, whatever the task; the hand is moved and the gripper closed by 4."""
    seen = spaces.Box(-BOUND, BOUND, (39,), np.float32)
    return Spaces(seen, spaces.Box(-1.0, 1.0, (4,), np.float32))


def lengthened(settings: Settings, steps: int) -> Settings:
    """The same tasks with so many steps to solve them, or their own limit."""
    return settings.model_copy(update={"time_limit": min(settings.time_limit, steps)})


def collection_policy(settings: Settings) -> Scripted:
    """The policy that comes with each task."""
    return Scripted(settings)


def success(
    returns: Float[np.ndarray, " episodes"], terminated: Bool[np.ndarray, " episodes"]
) -> Bool[np.ndarray, " episodes"]:
    """Only success ends an episode before time cuts it."""
    return terminated.astype(bool)


def task_of(settings: Settings, seed: int) -> str:
    """The task that an episode plays."""
    return settings.tasks[seed % len(settings.tasks)]


def group(settings: Settings, seeds: Int[np.ndarray, " episodes"]) -> list[str]:
    """The task of each episode."""
    return [task_of(settings, int(seed)) for seed in seeds]


def hint_steps(settings: Settings) -> range:
    """None: nothing that must be remembered is shown and taken away."""
    return range(0)


class MetaWorld(gymnasium.Env[np.ndarray, np.ndarray]):
    """One arm, with a simulator that is borrowed for an episode's task."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 80}

    def __init__(
        self, settings: Settings | None = None, sight: bool = False, **parameters: Any
    ) -> None:
        self.settings = Settings(**parameters) if settings is None else settings
        self.sight = sight
        self.render_mode = "rgb_array"
        both = spaces_of(self.settings)
        self.observation_space, self.action_space = both.observation, both.action
        self._simulator: Simulator | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin the task of this seed with the goal of this seed."""
        super().reset(seed=seed)
        number = int(self.np_random.integers(2**31)) if seed is None else seed
        # Deviation D60: a goal of its own for each seed; ML45 has 50 a task.
        self._take(task_of(self.settings, number))
        assert self._simulator is not None
        self._steps = self._near = self._solved = 0
        self._seen = self._simulator.begin(self.np_random, self.settings.time_limit)
        return self._observation(), self._info()

    def _take(self, task: str) -> None:
        if self._simulator is None or self._simulator.task != task:
            self.close()
            self._simulator = Simulator.borrow(task)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the hand for 12.5 ms."""
        assert self._simulator is not None
        self._seen, dense, told = self._simulator.step(np.clip(action, -1.0, 1.0))
        self._steps += 1
        self._near += int(told["near_object"] > 0)
        solved = bool(told["success"])
        self._solved |= int(solved)
        over = self._steps >= self.settings.time_limit
        terminated = solved and (over or self.settings.success == "any_step")
        truncated = over and not terminated
        reward = self._reward(dense, terminated)
        return self._observation(), reward, terminated, truncated, self._info()

    def _reward(self, dense: float, terminated: bool) -> float:
        if self.settings.reward == "sparse":
            return float(terminated)
        return dense / (HIGHEST_REWARD * self.settings.time_limit)

    def _observation(self) -> np.ndarray:
        seen = self._seen.copy()
        if self.settings.goal_hidden:
            seen[GOAL] = 0.0
        if self.settings.units == "decimetres":
            seen = in_decimetres(seen, self.settings.goal_hidden)
        return np.asarray(np.clip(seen, -BOUND, BOUND), np.float32)

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = {"near_object": self._near, "solved": self._solved}
        return {**info, "sight": self._seen} if self.sight else info

    def render(self) -> Any:
        """The arm and the table."""
        assert self._simulator is not None
        return self._simulator.picture()

    def close(self) -> None:
        """Give the simulator back."""
        if self._simulator is not None:
            self._simulator.give_back()
            self._simulator = None


def in_decimetres(seen: Observation, goal_hidden: bool) -> Observation:
    """The same observation with places in decimetres from the middle of where the hand works.

    An object that a task does not have, and a goal that is hidden, stay zeros.
    """
    places = [slice(frame + HAND.start, frame + HAND.stop) for frame in FRAMES]
    for frame in FRAMES:
        objects = [slice(frame + one.start, frame + one.stop) for one in OBJECTS]
        places += [slice(one.start, one.start + 3) for one in objects if seen[one].any()]
    changed = seen.copy()
    for place in [*places, *([] if goal_hidden else [GOAL])]:
        changed[place] = (seen[place] - MIDDLE) / DECIMETRE
    return changed


class Scripted:
    """Meta-World's scripted policy of each task, which sees the goal, with noise on its actions.

    ``meant`` are its actions without the noise.
    """

    meant: Float[np.ndarray, "rows 4"]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def reset(self, seeds: Sequence[int]) -> None:
        """A policy and a stream of noise for each episode."""
        self._policies = [scripted_policy(task_of(self.settings, seed)) for seed in seeds]
        self._noise = [np.random.default_rng([seed, 1]) for seed in seeds]
        self._seen: list[Any] = [None] * len(seeds)
        self.meant = np.zeros((len(seeds), 4), np.float32)
        self._actions = np.zeros((len(seeds), 4), np.float32)

    def act(
        self, observations: Float[np.ndarray, "rows 39"], info: dict[str, Any]
    ) -> Float[np.ndarray, "rows 4"]:
        """An action for every row that has seen something new; the others have ended."""
        for row, seen in enumerate(info["sight"]):
            if seen is not self._seen[row]:
                self._seen[row] = seen
                self.meant[row] = self._wanted(row, seen)
                noise = self._noise[row].normal(0.0, self.settings.noise, 4)
                self._actions[row] = np.clip(self.meant[row] + noise, -1.0, 1.0)
        return self._actions.copy()

    def _wanted(self, row: int, seen: Observation) -> Float[np.ndarray, "4"]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that steps of more than 1 are clipped
            return np.asarray(np.clip(self._policies[row].get_action(seen), -1.0, 1.0))
