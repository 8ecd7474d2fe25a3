"""Meta-World: a robot arm, many tasks, and a hidden goal.

The seed of an episode decides its task (``tasks[seed % len(tasks)]``), its goal and the initial
position of the object. Evaluation counts seeds up from 0 and collection from 1,000,000, so no
evaluation episode has the goal of a demonstration.

Observations are 39 numbers: hand, gripper, position and rotation of two objects, the same numbers
of the previous step, and the goal (zeros if it is hidden). Actions are 4 numbers in [-1, 1]: the
movement of the hand, and the force of the gripper.

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
HIGHEST_REWARD = 10.0  # dense reward of a step, in every task
GOAL = slice(36, 39)
BOUND = 100.0  # decimetres; nothing on the table is that far away
# One frame: hand 0-2, gripper 3, position 4-6 and rotation 7-10 of an object, 11-17 of another.
FRAMES, HAND, OBJECTS = (0, 18), slice(0, 3), (slice(4, 11), slice(11, 18))
MIDDLE, DECIMETRE = np.array([0.0, 0.65, 0.2]), 0.1  # of the hand's workspace, metres

Observation = Float[np.ndarray, "39"]


class Settings(BaseModel):
    """Settings of the tasks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[str, ...] = Field(
        default=("button-press-topdown-v3", "drawer-close-v3"),
        min_length=1,
        description="names of the tasks; an episode plays tasks[seed % number of tasks]",
    )
    goal_hidden: bool = Field(default=True, description="show zeros instead of the goal, as ML45")
    # Deviation D61: the paper does not say what success is.
    success: Literal["any_step", "last_step"] = Field(
        default="any_step",
        description="any_step: the first success ends the episode; "
        "last_step: it runs to the time limit, and only the last step counts",
    )
    time_limit: int = Field(default=500, gt=0, description="steps after which an episode ends")
    # Deviation D62: the paper does not say which rewards are summed.
    reward: Literal["sparse", "dense"] = Field(
        default="sparse",
        description="sparse: 1 for success, else 0; dense: Meta-World's own, divided so that no "
        "return exceeds 1",
    )
    # Deviation D63: the package gives metres.
    units: Literal["decimetres", "metres"] = Field(
        default="decimetres",
        description="units of positions; decimetres count from the middle of the workspace",
    )
    # Deviation D64: the paper's episodes come from the scripted policies as they are.
    noise: float = Field(
        default=0.1, ge=0, description="standard deviation of the noise on the collector's actions"
    )

    @field_validator("tasks")
    @classmethod
    def _known(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        for task in tasks:
            if task not in NAMES:
                raise ValueError(f"unknown task {task!r}; {closest(task, NAMES)}")
        return tasks


def make(settings: Settings) -> MetaWorld:
    """Make one arm."""
    return MetaWorld(settings)


def make_collection_vector(settings: Settings, count: int) -> VectorEnv:
    """Make ``count`` arms that show the collection policy the goal, in metres."""
    return SerialVector([MetaWorld(settings, sight=True) for _ in range(count)])


def spaces_of(settings: Settings) -> Spaces:
    """Return the spaces, which are the same for every task: 39 numbers, and 4 for actions."""
    observation = spaces.Box(-BOUND, BOUND, (39,), np.float32)
    return Spaces(observation, spaces.Box(-1.0, 1.0, (4,), np.float32))


def lengthened(settings: Settings, steps: int) -> Settings:
    """Return settings with a time limit of ``steps``, but not above the present limit."""
    return settings.model_copy(update={"time_limit": min(settings.time_limit, steps)})


def collection_policy(settings: Settings) -> Scripted:
    """Return the scripted policies, with noise."""
    return Scripted(settings)


def success(
    returns: Float[np.ndarray, " episodes"], terminated: Bool[np.ndarray, " episodes"]
) -> Bool[np.ndarray, " episodes"]:
    """Return True for episodes that terminated: only success ends an episode before its limit."""
    return terminated.astype(bool)


def task_of(settings: Settings, seed: int) -> str:
    """Return the name of the task that an episode plays."""
    return settings.tasks[seed % len(settings.tasks)]


def group(settings: Settings, seeds: Int[np.ndarray, " episodes"]) -> list[str]:
    """Return the task of each episode."""
    return [task_of(settings, int(seed)) for seed in seeds]


def hint_steps(settings: Settings) -> range:
    """Return an empty range: no information appears and disappears again."""
    return range(0)


class MetaWorld(gymnasium.Env[np.ndarray, np.ndarray]):
    """One arm. It borrows a simulator for the task of each episode."""

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
        """Begin the task of this seed, with the goal of this seed."""
        super().reset(seed=seed)
        number = int(self.np_random.integers(2**31)) if seed is None else seed
        # Deviation D60: each seed has its own goal; ML45 has 50 goals per task.
        task = task_of(self.settings, number)
        if self._simulator is None or self._simulator.task != task:
            self.close()
            self._simulator = Simulator.borrow(task)
        self._steps = self._near = self._solved = 0
        self._state = self._simulator.begin(self.np_random, self.settings.time_limit)
        return self._observation(), self._info()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the hand for 12.5 ms."""
        assert self._simulator is not None
        self._state, dense, info = self._simulator.step(np.clip(action, -1.0, 1.0))
        self._steps += 1
        self._near += int(info["near_object"] > 0)
        solved = bool(info["success"])
        self._solved |= int(solved)
        over = self._steps >= self.settings.time_limit
        # With `last_step`, only the state at the time limit counts (Deviation D61).
        terminated = solved and (over or self.settings.success == "any_step")
        truncated = over and not terminated
        reward = float(terminated)
        if self.settings.reward == "dense":
            reward = dense / (HIGHEST_REWARD * self.settings.time_limit)
        return self._observation(), reward, terminated, truncated, self._info()

    def _observation(self) -> np.ndarray:
        observation = self._state.copy()
        if self.settings.goal_hidden:
            observation[GOAL] = 0.0
        if self.settings.units == "decimetres":
            observation = in_decimetres(observation, self.settings.goal_hidden)
        return np.asarray(np.clip(observation, -BOUND, BOUND), np.float32)

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = {"near_object": self._near, "solved": self._solved}
        return {**info, "sight": self._state} if self.sight else info

    def render(self) -> Any:
        """Draw the arm and the table."""
        assert self._simulator is not None
        return self._simulator.picture()

    def close(self) -> None:
        """Give the simulator back."""
        if self._simulator is not None:
            self._simulator.give_back()
            self._simulator = None


def in_decimetres(observation: Observation, goal_hidden: bool) -> Observation:
    """Convert positions from metres to decimetres, counted from the middle of the workspace.

    The zeros of an object that a task does not have, and of a hidden goal, do not change.
    """
    positions = [slice(frame + HAND.start, frame + HAND.stop) for frame in FRAMES]
    for frame in FRAMES:
        objects = [slice(frame + part.start, frame + part.stop) for part in OBJECTS]
        positions += [
            slice(part.start, part.start + 3) for part in objects if observation[part].any()
        ]
    converted = observation.copy()
    for position in [*positions, *([] if goal_hidden else [GOAL])]:
        converted[position] = (observation[position] - MIDDLE) / DECIMETRE
    return converted


class Scripted:
    """Meta-World's scripted policy of each task, which sees the goal, with noise on its actions.

    ``meant`` are its actions without the noise.
    """

    meant: Float[np.ndarray, "rows 4"]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin a policy and a stream of noise for each episode."""
        self._policies = [scripted_policy(task_of(self.settings, seed)) for seed in seeds]
        # The 1 keeps the noise apart from the goal, which the same seed draws.
        self._noise = [np.random.default_rng([seed, 1]) for seed in seeds]
        self._last: list[Any] = [None] * len(seeds)
        self.meant = np.zeros((len(seeds), 4), np.float32)
        self._actions = np.zeros((len(seeds), 4), np.float32)

    def act(
        self, observations: Float[np.ndarray, "rows 39"], info: dict[str, Any]
    ) -> Float[np.ndarray, "rows 4"]:
        """Return an action for every row; rows without a new observation have ended."""
        for row, observation in enumerate(info["sight"]):
            if observation is not self._last[row]:
                self._last[row] = observation
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the package warns that it clips large actions
                    intended = self._policies[row].get_action(observation)
                self.meant[row] = np.clip(intended, -1.0, 1.0)
                noise = self._noise[row].normal(0.0, self.settings.noise, 4)
                self._actions[row] = np.clip(self.meant[row] + noise, -1.0, 1.0)
        return self._actions.copy()
