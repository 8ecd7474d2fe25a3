"""Single environments stepped as one vector, finished rows frozen.

A row that has ended is frozen until the next reset: its reward is 0, its flags and its observation
stay, and its action is ignored.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int, Shaped

Seeds = int | Sequence[int] | Int[np.ndarray, " rows"] | None


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

        def begin(row: int) -> tuple[np.ndarray, dict[str, Any]]:
            return self.environments[row].reset(seed=seeds[row], options=options)

        results = list(self._map(begin, range(self.num_envs)))
        self._observations = np.stack([observation for observation, _ in results])
        self._infos = [info for _, info in results]
        self._terminated = np.zeros(self.num_envs, dtype=bool)
        self._truncated = np.zeros(self.num_envs, dtype=bool)
        return self._observations.copy(), self._info()

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
        running = np.flatnonzero(~(self._terminated | self._truncated))

        def move(row: int) -> tuple[Any, ...]:
            return self.environments[row].step(deepcopy(actions[row]))

        for row, result in zip(running, self._map(move, running), strict=True):
            self._observations[row], rewards[row] = result[0], result[1]
            self._terminated[row], self._truncated[row] = result[2], result[3]
            self._infos[row] = result[4]
        flags = self._terminated.copy(), self._truncated.copy()
        return self._observations.copy(), rewards, *flags, self._info()

    def render(self) -> tuple[Any, ...]:
        """What every row shows."""
        return tuple(environment.render() for environment in self.environments)

    def _map(self, function: Callable[[int], Any], rows: Iterable[int]) -> Iterable[Any]:
        """``function`` of every row, in order."""
        return map(function, rows)

    def _info(self) -> dict[str, Any]:
        """A list of a value for every row under each name."""
        return {name: [info[name] for info in self._infos] for name in self._infos[0]}

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for environment in self.environments:
            environment.close()


class ThreadedVector(SerialVector):
    """The same, rows stepped side by side: for simulators that compute outside of Python.

    Four at a time on one core too: while one's answer is under way the next one computes.
    """

    def __init__(self, environments: Sequence[gymnasium.Env[Any, Any]]) -> None:
        super().__init__(environments)
        threads = min(self.num_envs, 2 * len(os.sched_getaffinity(0)))
        self._threads = ThreadPoolExecutor(max(threads, 4), thread_name_prefix="environment")

    def _map(self, function: Callable[[int], Any], rows: Iterable[int]) -> Iterable[Any]:
        return self._threads.map(function, rows)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment, then the threads."""
        super().close_extras(**kwargs)
        self._threads.shutdown()


def screens(environment: VectorEnv, rows: Sequence[int]) -> list[Any]:
    """What these rows show people, height x width x 3; None where there is nothing to show.

    Drawing may take longer than simulating, so rows that nobody asks for are not drawn.
    """
    try:
        if isinstance(environment, SerialVector):
            return [environment.environments[row].render() for row in rows]
        shown: Any = environment.render()
    except NotImplementedError:
        shown = None
    return [None if shown is None else shown[row] for row in rows]
