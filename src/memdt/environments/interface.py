"""What generic code may know of an environment's module; everything else goes through ``Task``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import BaseModel


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


@runtime_checkable
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

    Optional names, and who wants them:

    - ``spaces_of(settings)``: a :class:`Spaces`, for which nobody then starts a simulator;
    - ``make_vector(settings, count)``: a faster vector environment than :class:`SerialVector`;
    - ``lengthened(settings, steps)``: settings of the same task made to last so many steps;
    - ``success(returns, terminated)``: which episodes solve the task;
    - ``score_range(settings, group)``: the returns that count as scores of 0 and 100 in a group;
    - ``group(settings, seeds)``: a word for each episode, by which results are also told apart;
    - ``MEASURES``: whole numbers of ``info`` that an evaluation keeps beside return and steps;
    - ``hint_steps(settings)``: the steps in which what must be remembered is seen;
    - ``ROWS_AT_ONCE``: how many episodes may be played side by side;
    - ``STEPS_PER_SECOND``: how fast a simulator is, all rows together, for the forecast of hours.

    The source ``played`` collects a dataset where there is ``collection_policy(settings)``, in the
    vector environment of ``make_collection_vector(settings, count)`` if there is one.
    ``dataset_card(settings, collected)`` adds lines to a dataset's card.
    """

    __name__: str
    Settings: type[BaseModel]  # frozen, extra="forbid", a description for every field
    REQUIRES: tuple[str, ...]  # import names of optional simulators

    def make(self, settings: Any) -> gymnasium.Env[Any, Any]:
        """One environment."""
