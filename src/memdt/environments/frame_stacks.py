"""Several consecutive frames as one observation, the newest last along the channels.

Environments show and datasets hold single frames; training stacks them when it reads them
(``data/segments.py``). These wrappers do the same to what an environment shows. At the beginning of
an episode its first frame is repeated (Deviation D122).
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces as gym_spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from jaxtyping import Shaped

from memdt.environments.spaces import Spaces
from memdt.errors import UserError


def stacked_spaces(spaces: Spaces, frames: int) -> Spaces:
    """The spaces with so many frames in an observation. Raises UserError if it is no frame."""
    if frames == 1:
        return spaces
    return Spaces(_stacked(spaces.observation, frames), spaces.action)


def stacked_vector(vector: VectorEnv, frames: int) -> VectorEnv:
    """A vector environment that shows so many frames at once."""
    return vector if frames == 1 else StackedVector(vector, frames)


class StackedVector(VectorWrapper):
    """Shows the last frames of every row. All rows are reset together."""

    def __init__(self, vector: VectorEnv, frames: int) -> None:
        super().__init__(vector)
        self.frames = frames
        self.single_observation_space = _stacked(vector.single_observation_space, frames)
        self.observation_space = batch_space(self.single_observation_space, vector.num_envs)

    def reset(self, **arguments: Any) -> tuple[Shaped[np.ndarray, "rows ..."], dict[str, Any]]:
        """Begin an episode in every row."""
        frame, info = self.env.reset(**arguments)
        self._stack = np.concatenate([frame] * self.frames, axis=-1)
        return self._stack.copy(), info

    def step(self, actions: Shaped[np.ndarray, "rows ..."]) -> tuple[Any, ...]:
        """Step every row that has not ended."""
        frame, *rest = self.env.step(actions)
        self._stack = _pushed(self._stack, frame)
        return self._stack.copy(), *rest


class StackedEnvironment(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Shows the last frames of one environment."""

    def __init__(self, environment: gymnasium.Env[Any, Any], frames: int) -> None:
        super().__init__(environment)
        self.frames = frames
        self.observation_space = _stacked(environment.observation_space, frames)

    def reset(self, **arguments: Any) -> tuple[Shaped[np.ndarray, "..."], dict[str, Any]]:
        """Begin an episode."""
        frame, info = self.env.reset(**arguments)
        self._stack = np.concatenate([frame] * self.frames, axis=-1)
        return self._stack.copy(), info

    def step(self, action: Any) -> tuple[Any, ...]:
        """Take an action."""
        frame, *rest = self.env.step(action)
        self._stack = _pushed(self._stack, frame)
        return self._stack.copy(), *rest


def _pushed(
    stack: Shaped[np.ndarray, "... channels"], frame: Shaped[np.ndarray, "... channels"]
) -> Shaped[np.ndarray, "... channels"]:
    return np.concatenate([stack[..., frame.shape[-1] :], frame], axis=-1)


def _stacked(space: gym_spaces.Space[Any], frames: int) -> gym_spaces.Box:
    if not isinstance(space, gym_spaces.Box) or len(space.shape) != 3:
        what = f"observations of {space} are no frames"
        raise UserError(what, "inputs.frame_stack", "leave it out")
    low, high = (np.concatenate([bound] * frames, axis=-1) for bound in (space.low, space.high))
    return gym_spaces.Box(low, high, dtype=space.dtype)
