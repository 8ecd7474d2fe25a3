"""What generic code may know of an environment; ``memdt.environments.<name>`` is all that it takes.

Collection and rollouts step many environments as one. A row that has ended is frozen until the next
reset: its reward is 0, its flags and its observation stay, its action is ignored.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Protocol, cast, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import BaseModel

from memdt import discovery

Seeds = int | Sequence[int] | Int[np.ndarray, " rows"] | None


@runtime_checkable
class CollectionPolicy(Protocol):
    """Who plays when a dataset is collected; sees observations only, many rows at once."""

    def reset(self, count: int) -> None:
        """Forget everything; ``count`` new episodes begin."""

    def act(self, observations: Shaped[np.ndarray, "rows ..."]) -> Shaped[np.ndarray, "rows ..."]:
        """An action for every row."""


@runtime_checkable
class EnvironmentModule(Protocol):
    """A module of ``memdt.environments``.

    Two more names are optional: ``make_vector(settings, count)``, a faster vector environment than
    :class:`SerialVector`, and ``ROWS_AT_ONCE``, how many episodes may be played side by side.
    """

    __name__: str
    Settings: type[BaseModel]  # frozen, extra="forbid", a description for every field
    REQUIRES: tuple[str, ...]  # import names of optional simulators

    def make(self, settings: Any) -> gymnasium.Env[Any, Any]:
        """One environment."""

    def parameters_for(self, settings: Any, segments: int, segment_length: int) -> Any:
        """The settings of the same task made to span so many segments."""

    def collection_policy(self, settings: Any) -> CollectionPolicy:
        """Who plays when a dataset is collected."""

    def success(self, returns: Float[np.ndarray, " episodes"]) -> Bool[np.ndarray, " episodes"]:
        """Which episodes solve the task, judged by their return."""


def load(name: str) -> EnvironmentModule:
    """The module of an environment; an unknown name is a UserError with the closest match."""
    return cast(EnvironmentModule, discovery.load("memdt.environments", name))


def missing(module: EnvironmentModule) -> list[str]:
    """The simulators that the environment requires and that are not installed."""
    return [name for name in module.REQUIRES if importlib.util.find_spec(name) is None]


def rows_at_once(module: EnvironmentModule) -> int:
    """How many episodes may be played side by side; a heavy simulator sets ``ROWS_AT_ONCE``."""
    return int(getattr(module, "ROWS_AT_ONCE", 1000))


def make_vector(module: EnvironmentModule, settings: BaseModel, count: int) -> VectorEnv:
    """``count`` environments stepped as one: the module's own form, else :class:`SerialVector`."""
    own: Callable[[BaseModel, int], VectorEnv] | None = getattr(module, "make_vector", None)
    if own is not None:
        return own(settings, count)
    return SerialVector([module.make(settings) for _ in range(count)])


def row_seeds(seed: Seeds, count: int) -> list[int | None]:
    """A seed for every row: as given, or counted up from one number as gymnasium does."""
    if seed is None:
        return [None] * count
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + row for row in range(count)]
    if len(seed) != count:
        raise ValueError(f"{len(seed)} seeds for {count} rows")
    return [int(row_seed) for row_seed in seed]


class SerialVector(VectorEnv):
    """Single environments stepped one after the other, finished rows frozen."""

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, environments: Sequence[gymnasium.Env[Any, Any]]) -> None:
        self.environments = list(environments)
        self.num_envs = len(self.environments)
        first = self.environments[0]
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, self.num_envs)
        self.action_space = batch_space(first.action_space, self.num_envs)

    def reset(
        self, *, seed: Seeds = None, options: dict[str, Any] | None = None
    ) -> tuple[Shaped[np.ndarray, "rows ..."], dict[str, Any]]:
        """Begin an episode in every row."""
        seeds = row_seeds(seed, self.num_envs)
        pairs = zip(self.environments, seeds, strict=True)
        self._observations = np.stack([e.reset(seed=s, options=options)[0] for e, s in pairs])
        self._terminated = np.zeros(self.num_envs, dtype=bool)
        self._truncated = np.zeros(self.num_envs, dtype=bool)
        return self._observations.copy(), {}

    def step(
        self, actions: Shaped[np.ndarray, "rows ..."]
    ) -> tuple[
        Shaped[np.ndarray, "rows ..."],
        Float[np.ndarray, " rows"],
        Bool[np.ndarray, " rows"],
        Bool[np.ndarray, " rows"],
        dict[str, Any],
    ]:
        """One step of every row that has not ended."""
        rewards = np.zeros(self.num_envs)
        for row in np.flatnonzero(~(self._terminated | self._truncated)):
            result = self.environments[row].step(deepcopy(actions[row]))
            self._observations[row], rewards[row] = result[0], result[1]
            self._terminated[row], self._truncated[row] = result[2], result[3]
        flags = self._terminated.copy(), self._truncated.copy()
        return self._observations.copy(), rewards, *flags, {}

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for environment in self.environments:
            environment.close()
