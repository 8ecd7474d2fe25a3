"""What generic code may know of an environment; ``memdt.environments.<name>`` is all that it takes.

Collection and rollouts step many environments as one. A row that has ended is frozen until the next
reset: its reward is 0, its flags and its observation stay, its action is ignored.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    """Who plays when a dataset is collected, many rows at once.

    It sees observations, and what the environment's ``make_collection_vector`` tells beside them
    (``info``, a list of a value for every row under each name).

    Optional: ``meant``, the actions that it meant at its last step, for every row, where it does
    something else now and then; a policy is trained on these.
    """

    def reset(self, seeds: Sequence[int]) -> None:
        """Forget everything; an episode begins for each of these seeds of the environment."""

    def act(
        self, observations: Shaped[np.ndarray, "rows ..."], info: dict[str, Any]
    ) -> Shaped[np.ndarray, "rows ..."]:
        """An action for every row."""


class Collected(Protocol):
    """What an environment's ``dataset_card(settings, collected)`` may look at of its dataset.

    Observations and actions lie in the file: index them, they are not loaded.
    """

    observations: Any
    actions: Any
    offsets: Int[np.ndarray, " borders"]
    seeds: Int[np.ndarray, " episodes"]

    @property
    def to_end(self) -> Bool[np.ndarray, " episodes"]:
        """Which episodes were played to their end."""

    @property
    def played(self) -> Int[np.ndarray, " episodes"]:
        """Steps of each episode that were played."""

    @property
    def returns(self) -> Float[np.ndarray, " episodes"]:
        """Undiscounted return of each episode."""


@runtime_checkable
class EnvironmentModule(Protocol):
    """A module of ``memdt.environments``.

    Optional names:

    - ``make_vector(settings, count)``: a faster vector environment than :class:`SerialVector`;
    - ``make_collection_vector(settings, count)``: the one that the collection policy plays in;
    - ``ROWS_AT_ONCE``: how many episodes may be played side by side;
    - ``STEPS_PER_SECOND``: how fast a simulator is, all rows together, for the forecast of hours;
    - ``MEASURES``: whole numbers of ``info`` that an evaluation keeps beside return and steps;
    - ``group(settings, seeds)``: a word for each episode, by which results are also told apart;
    - ``hint_steps(settings)``: the steps in which what must be remembered is seen.
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

    def success(
        self, returns: Float[np.ndarray, " episodes"], terminated: Bool[np.ndarray, " episodes"]
    ) -> Bool[np.ndarray, " episodes"]:
        """Which episodes solve the task, by their return and by whether time cut them (False)."""


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


def make_collection_vector(module: EnvironmentModule, settings: BaseModel, count: int) -> VectorEnv:
    """The vector environment in which a dataset is collected."""
    own: Callable[[BaseModel, int], VectorEnv] | None = getattr(
        module, "make_collection_vector", None
    )
    return make_vector(module, settings, count) if own is None else own(settings, count)


def measures(module: EnvironmentModule) -> tuple[str, ...]:
    """What an evaluation keeps of ``info``."""
    return tuple(getattr(module, "MEASURES", ()))


def groups(
    module: EnvironmentModule,
    parameters: Mapping[str, Any],
    seeds: Sequence[int] | Int[np.ndarray, " episodes"],
) -> list[str]:
    """The group of each episode; ``all`` in an environment that knows none.

    ``parameters``: those of the configured environment, from which its settings are made.
    """
    own: Callable[[Any, Any], list[str]] | None = getattr(module, "group", None)
    if own is None:
        return ["all"] * len(seeds)
    return own(module.Settings(**parameters), np.asarray(seeds))


def hint_steps(module: EnvironmentModule, settings: BaseModel) -> range:
    """The steps in which what must be remembered is seen; the first one where nothing is said."""
    own: Callable[[Any], range] | None = getattr(module, "hint_steps", None)
    return range(1) if own is None else own(settings)


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
