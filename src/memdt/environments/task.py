"""A task: the module of an environment together with its checked settings.

Everything generic (collection, training, evaluation, report) asks a task and never a module, so
that what a module may leave out is filled in here once.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from gymnasium.vector import VectorEnv
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import BaseModel

from memdt import discovery
from memdt.environments.interface import CollectionPolicy, EnvironmentModule
from memdt.environments.outcomes import OUTCOMES
from memdt.environments.spaces import Spaces
from memdt.environments.vectors import SerialVector
from memdt.errors import UserError
from memdt.settings.schema import EnvironmentSettings

PACKAGE = "memdt.environments"
ALL = "all"  # the group of every episode where an environment tells none apart


@dataclass(frozen=True)
class Task:
    """An environment as it is configured."""

    module: EnvironmentModule
    settings: BaseModel

    @classmethod
    def of(cls, environment: EnvironmentSettings) -> Task:
        """The task of a configured environment; an unknown module is a UserError."""
        return cls.named(environment.module, environment.parameters)

    @classmethod
    def named(cls, name: str, parameters: dict[str, Any]) -> Task:
        """The task of a module of ``memdt.environments`` with these settings."""
        module = cast(EnvironmentModule, discovery.load(PACKAGE, name))
        return cls(module, module.Settings(**parameters))

    @property
    def name(self) -> str:
        """That of the module."""
        return self.module.__name__.rpartition(".")[2]

    @cached_property
    def spaces(self) -> Spaces:
        """Of observations and actions; a simulator is started only where settings do not tell."""
        if hasattr(self.module, "spaces_of"):
            return cast(Spaces, self.module.spaces_of(self.settings))
        environment = self.module.make(self.settings)
        environment.close()
        return Spaces(environment.observation_space, environment.action_space)

    @property
    def missing(self) -> list[str]:
        """The simulators that the environment requires and that are not installed."""
        return [name for name in self.module.REQUIRES if importlib.util.find_spec(name) is None]

    @property
    def rows_at_once(self) -> int:
        """How many episodes may be played side by side."""
        return int(getattr(self.module, "ROWS_AT_ONCE", 1000))

    @property
    def measures(self) -> tuple[str, ...]:
        """The whole numbers of ``info`` that an evaluation keeps."""
        return tuple(getattr(self.module, "MEASURES", ()))

    @property
    def hint_steps(self) -> range:
        """The steps in which what must be remembered is seen; the first one where nothing is said.

        An empty range: nothing that must be remembered is taken away again.
        """
        own = getattr(self.module, "hint_steps", None)
        return range(1) if own is None else cast(range, own(self.settings))

    def lengthened(self, steps: int) -> Task:
        """The same task with episodes of so many steps, where the environment has such a thing."""
        own = getattr(self.module, "lengthened", None)
        return self if own is None else replace(self, settings=own(self.settings, steps))

    def vector(self, rows: int, steps: int | None = None) -> VectorEnv:
        """``rows`` environments stepped as one; ``steps``: made to last so long."""
        task = self if steps is None else self.lengthened(steps)
        own = getattr(task.module, "make_vector", None)
        if own is not None:
            return cast(VectorEnv, own(task.settings, rows))
        return SerialVector([task.module.make(task.settings) for _ in range(rows)])

    def collection_vector(self, rows: int) -> VectorEnv:
        """The vector environment in which a dataset is collected."""
        own = getattr(self.module, "make_collection_vector", None)
        return self.vector(rows) if own is None else cast(VectorEnv, own(self.settings, rows))

    def collection_policy(self) -> CollectionPolicy:
        """Who plays when a dataset is collected; UserError where the environment has nobody."""
        own = getattr(self.module, "collection_policy", None)
        if own is None:
            remedy = "name a dataset: another source, or give the module a collection_policy"
            raise UserError("nobody plays here to collect a dataset", self.name, remedy)
        return cast(CollectionPolicy, own(self.settings))

    def groups(self, seeds: Sequence[int] | Int[np.ndarray, " episodes"]) -> list[str]:
        """The group of the episode of each seed: a hint, a colour, a task, a game."""
        own = getattr(self.module, "group", None)
        if own is None:
            return [ALL] * len(seeds)
        return list(own(self.settings, np.asarray(seeds)))

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What :meth:`judge` says of an episode: names among ``OUTCOMES``, in that order."""
        return tuple(name for name, needed in OUTCOMES.items() if hasattr(self.module, needed))

    def judge(
        self,
        returns: Float[np.ndarray, " episodes"],
        terminated: Bool[np.ndarray, " episodes"],
        groups: Sequence[str],
    ) -> dict[str, Shaped[np.ndarray, " episodes"]]:
        """What became of episodes, by the name of each outcome.

        ``success`` is true where the task was solved. ``score`` is the return on a scale on which
        0 and 100 are the two returns of ``score_range``, such as random and human play.
        """
        judged: dict[str, np.ndarray] = {}
        for name in self.outcomes:
            judged[name] = (
                self.success(returns, terminated)
                if name == "success"
                else self._scores(returns, groups)
            )
        return judged

    def success(
        self, returns: Float[np.ndarray, " episodes"], terminated: Bool[np.ndarray, " episodes"]
    ) -> Bool[np.ndarray, " episodes"]:
        """Which episodes solve the task; UserError where the environment knows no success."""
        own = getattr(self.module, "success", None)
        if own is None:
            remedy = "set dataset.only_successful to false"
            raise UserError("this environment does not say which episodes succeed", "", remedy)
        return np.asarray(own(returns, terminated))

    def _scores(
        self, returns: Float[np.ndarray, " episodes"], groups: Sequence[str]
    ) -> Float[np.ndarray, " episodes"]:
        ranges: Any = self.module
        borders = {name: ranges.score_range(self.settings, name) for name in set(groups)}
        low, high = np.array([borders[name] for name in groups], dtype=float).T
        return np.asarray(100.0 * (returns - low) / (high - low))
