"""The interface of an environment's module. Generic code uses it through ``Task`` only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import BaseModel


@runtime_checkable
class CollectionPolicy(Protocol):
    """The policy that collects a dataset, in many rows at once.

    It sees observations and the ``info`` of the environment's ``make_collection_vector``, which has
    a list with a value for every row under each name.

    Optional: ``meant``, the actions that it intended at its last step, for every row. A policy that
    sometimes acts otherwise defines it, and models are trained on the intended actions.
    """

    def reset(self, seeds: Sequence[int]) -> None:
        """Forget everything, and begin an episode for each of these environment seeds."""

    def act(
        self, observations: Shaped[np.ndarray, "rows ..."], info: dict[str, Any]
    ) -> Shaped[np.ndarray, "rows ..."]:
        """Return an action for every row."""


@runtime_checkable
class Collected(Protocol):
    """The view of a dataset that ``dataset_card(settings, collected)`` of an environment gets.

    Observations and actions are on disk and are read when they are indexed.
    """

    observations: Any
    actions: Any
    offsets: Int[np.ndarray, " borders"]
    seeds: Int[np.ndarray, " episodes"]

    @property
    def to_end(self) -> Bool[np.ndarray, " episodes"]:
        """True for episodes that were played to their end."""

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

    - ``spaces_of(settings)``: returns :class:`Spaces` without starting a simulator;
    - ``make_vector(settings, count)``: a faster vector environment than :class:`SerialVector`;
    - ``make_shown(settings, render_mode)``: an environment that renders in a mode of Gymnasium, if
      ``make`` does not return one whose ``render`` gives frames or text;
    - ``lengthened(settings, steps)``: settings of the same task with episodes of ``steps`` steps;
    - ``success(returns, terminated)``: True for episodes that solve the task;
    - ``score_range(settings, group)``: the returns that count as scores of 0 and 100 in a group;
    - ``group(settings, seeds)``: a name for each episode; results are also reported by group;
    - ``MEASURES``: names of integers in ``info`` that an evaluation records;
    - ``hint_steps(settings)``: the steps in which the information to remember is visible;
    - ``ROWS_AT_ONCE``: how many episodes may be played side by side;
    - ``STEPS_PER_SECOND``: speed of the simulator, all rows together, for forecasts of run time;
    - ``collection_policy(settings)``: plays the episodes of the source ``played``;
    - ``make_collection_vector(settings, count)``: the vector environment in which it plays;
    - ``dataset_card(settings, collected)``: lines to add to the card of a dataset.
    """

    __name__: str
    Settings: type[BaseModel]  # frozen, extra="forbid", a description for every field
    REQUIRES: tuple[str, ...]  # import names of optional simulators

    def make(self, settings: Any) -> gymnasium.Env[Any, Any]:
        """Return one environment."""
