"""A task: the module of an environment together with its checked settings.

Generic code (collection, training, evaluation, report) uses a task and never a module. The task
provides defaults for everything that a module may leave out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import gymnasium
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
ALL = "all"  # the group of every episode in an environment without groups


@dataclass(frozen=True)
class Task:
    """A configured environment."""

    module: EnvironmentModule
    settings: BaseModel

    @classmethod
    def of(cls, environment: EnvironmentSettings) -> Task:
        """Return the task of a configured environment. Raises UserError for an unknown module."""
        return cls.named(environment.module, environment.parameters)

    @classmethod
    def named(cls, name: str, parameters: dict[str, Any]) -> Task:
        """Return the task of a module of ``memdt.environments`` with these settings."""
        module = cast(EnvironmentModule, discovery.load(PACKAGE, name))
        return cls(module, module.Settings(**parameters))

    @property
    def name(self) -> str:
        """Name of the module."""
        return self.module.__name__.rpartition(".")[2]

    @cached_property
    def spaces(self) -> Spaces:
        """Spaces of observations and actions. May start a simulator, if the module needs one."""
        if hasattr(self.module, "spaces_of"):
            return cast(Spaces, self.module.spaces_of(self.settings))
        environment = self.module.make(self.settings)
        environment.close()
        return Spaces(environment.observation_space, environment.action_space)

    @property
    def missing(self) -> list[str]:
        """Required simulators that are not installed."""
        return [name for name in self.module.REQUIRES if importlib.util.find_spec(name) is None]

    @property
    def rows_at_once(self) -> int:
        """How many episodes may be played side by side."""
        return int(getattr(self.module, "ROWS_AT_ONCE", 1000))

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the integers in ``info`` that an evaluation records."""
        return tuple(getattr(self.module, "MEASURES", ()))

    @property
    def hint_steps(self) -> range:
        """The steps in which the information to remember is visible; by default the first one.

        Empty if no such information ever disappears.
        """
        own = getattr(self.module, "hint_steps", None)
        return range(1) if own is None else cast(range, own(self.settings))

    def lengthened(self, steps: int) -> Task:
        """Return the task with episodes of ``steps`` steps, or itself if it has no other length."""
        own = getattr(self.module, "lengthened", None)
        return self if own is None else replace(self, settings=own(self.settings, steps))

    def vector(self, rows: int, steps: int | None = None) -> VectorEnv:
        """Return a vector environment of ``rows`` rows; ``steps``: length of its episodes."""
        task = self if steps is None else self.lengthened(steps)
        own = getattr(task.module, "make_vector", None)
        if own is not None:
            return cast(VectorEnv, own(task.settings, rows))
        return SerialVector([task.module.make(task.settings) for _ in range(rows)])

    def shown(self, render_mode: str | None) -> gymnasium.Env[Any, Any]:
        """Make one environment, in a render mode of Gymnasium where its module knows of them."""
        own = getattr(self.module, "make_shown", None)
        if own is None or render_mode is None:
            return self.module.make(self.settings)
        return cast("gymnasium.Env[Any, Any]", own(self.settings, render_mode))

    def collection_vector(self, rows: int) -> VectorEnv:
        """Return the vector environment in which a dataset is collected."""
        own = getattr(self.module, "make_collection_vector", None)
        return self.vector(rows) if own is None else cast(VectorEnv, own(self.settings, rows))

    def collection_policy(self) -> CollectionPolicy:
        """Return the policy that collects a dataset. Raises UserError if there is none."""
        own = getattr(self.module, "collection_policy", None)
        if own is None:
            remedy = "name another source under dataset:, or give the module a collection_policy"
            raise UserError("no policy to collect a dataset with", self.name, remedy)
        return cast(CollectionPolicy, own(self.settings))

    def groups(self, seeds: Sequence[int] | Int[np.ndarray, " episodes"]) -> list[str]:
        """Return the group of each seed's episode, such as a hint, a colour, a task or a game."""
        own = getattr(self.module, "group", None)
        if own is None:
            return [ALL] * len(seeds)
        return list(own(self.settings, np.asarray(seeds)))

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The keys of :meth:`judge`: names in ``OUTCOMES``, in the same order."""
        return tuple(name for name, function in OUTCOMES.items() if hasattr(self.module, function))

    def judge(
        self,
        returns: Float[np.ndarray, " episodes"],
        terminated: Bool[np.ndarray, " episodes"],
        groups: Sequence[str],
    ) -> dict[str, Shaped[np.ndarray, " episodes"]]:
        """Return the outcomes of episodes, by name.

        ``success`` is True if the task was solved. ``score`` is the return, rescaled so that the
        two returns of ``score_range`` (such as random and human play) become 0 and 100.
        """
        outcomes: dict[str, np.ndarray] = {}
        for name in self.outcomes:
            outcomes[name] = (
                self.success(returns, terminated)
                if name == "success"
                else self._scores(returns, groups)
            )
        return outcomes

    def success(
        self, returns: Float[np.ndarray, " episodes"], terminated: Bool[np.ndarray, " episodes"]
    ) -> Bool[np.ndarray, " episodes"]:
        """Return True for episodes that solve the task. Raises UserError if that is undefined."""
        own = getattr(self.module, "success", None)
        if own is None:
            remedy = "set dataset.only_successful to false"
            raise UserError("this environment does not say which episodes succeed", "", remedy)
        return np.asarray(own(returns, terminated))

    def _scores(
        self, returns: Float[np.ndarray, " episodes"], groups: Sequence[str]
    ) -> Float[np.ndarray, " episodes"]:
        module: Any = self.module
        ranges = {name: module.score_range(self.settings, name) for name in set(groups)}
        low, high = np.array([ranges[name] for name in groups], dtype=float).T
        return np.asarray(100.0 * (returns - low) / (high - low))
