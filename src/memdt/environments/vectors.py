"""Vector environments made of single environments.

A row that has ended is frozen until the next reset: its reward is 0, its flags and observation do
not change, and its action is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int, Shaped

from memdt.provenance import usable_cores

Seeds = int | Sequence[int] | Int[np.ndarray, " rows"] | None


def row_seeds(seed: Seeds, count: int) -> list[int | None]:
    """Return a seed for every row. A single number counts up from row to row, as in Gymnasium.

    Raises ValueError if the number of seeds differs from ``count``.
    """
    if seed is None:
        return [None] * count
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + row for row in range(count)]
    if len(seed) != count:
        raise ValueError(f"{len(seed)} seeds for {count} rows")
    return [int(row_seed) for row_seed in seed]


class SerialVector(VectorEnv):
    """Steps single environments one after the other; finished rows are frozen."""

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
        # ``step`` writes into these observations, so callers get copies.
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
        """Step every row that has not ended."""
        rewards = np.zeros(self.num_envs)
        running = np.flatnonzero(~(self._terminated | self._truncated))

        def move(row: int) -> tuple[Any, ...]:
            # Copied, because an environment may keep or change its action.
            return self.environments[row].step(deepcopy(actions[row]))

        for row, result in zip(running, self._map(move, running), strict=True):
            self._observations[row], rewards[row] = result[0], result[1]
            self._terminated[row], self._truncated[row] = result[2], result[3]
            self._infos[row] = result[4]
        flags = self._terminated.copy(), self._truncated.copy()
        return self._observations.copy(), rewards, *flags, self._info()

    def render(self) -> tuple[Any, ...]:
        """Render every row."""
        return tuple(environment.render() for environment in self.environments)

    def _map(self, function: Callable[[int], Any], rows: Iterable[int]) -> Iterable[Any]:
        """Apply ``function`` to every row, in order."""
        return map(function, rows)

    def _info(self) -> dict[str, Any]:
        """The infos of all rows: under each name, a list with a value for every row."""
        return {name: [info[name] for info in self._infos] for name in self._infos[0]}

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for environment in self.environments:
            environment.close()


class ThreadedVector(SerialVector):
    """Steps rows in parallel threads, for simulators that compute outside of Python.

    At least four threads run even on a single core: while one waits for its simulator, another
    computes.
    """

    def __init__(self, environments: Sequence[gymnasium.Env[Any, Any]]) -> None:
        super().__init__(environments)
        threads = min(self.num_envs, 2 * usable_cores())
        self._threads = ThreadPoolExecutor(max(threads, 4), thread_name_prefix="environment")

    def _map(self, function: Callable[[int], Any], rows: Iterable[int]) -> Iterable[Any]:
        return self._threads.map(function, rows)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment, then the threads."""
        super().close_extras(**kwargs)
        self._threads.shutdown()


def screens(environment: VectorEnv, rows: Sequence[int]) -> list[Any]:
    """Render these rows, each height x width x 3; None for an environment that cannot render.

    Other rows are not rendered, because rendering may take longer than simulating.
    """
    while isinstance(environment, VectorWrapper):
        environment = environment.env
    try:
        if isinstance(environment, SerialVector):
            return [environment.environments[row].render() for row in rows]
        images: Any = environment.render()
    except NotImplementedError:
        images = None
    return [None if images is None else images[row] for row in rows]
