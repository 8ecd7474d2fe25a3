"""Policies that choose among discrete actions by their estimated values, with memory."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from memdt.data.segments import Segment
from memdt.errors import UserError
from memdt.models.interface import Choice, Policy, Segmentation, Spaces, State, Step


class ValuePolicy(Policy):
    """A policy over the values of discrete actions.

    Its memory runs through a whole episode, without segments. It ignores demonstrations and
    returns-to-go.
    """

    def __init__(self, spaces: Spaces) -> None:
        """Raises UserError if actions are not discrete."""
        super().__init__(spaces)
        if not spaces.discrete:
            remedy = "choose a model for continuous actions"
            raise UserError("this model needs discrete actions", "model.name", remedy)

    @abstractmethod
    def initial_state(self, rows: int) -> State:
        """Return the state before the first step of ``rows`` episodes."""

    @abstractmethod
    def forward(
        self, observations: Shaped[Tensor, "batch time ..."], state: State
    ) -> tuple[Float[Tensor, "batch time actions"], State]:
        """Return the value of every action at every step, and the state after the last one."""

    def begin(
        self,
        rows: int,
        demonstration: Segment | None = None,
        segmentation: Segmentation | None = None,
    ) -> State:
        """Return an empty memory."""
        return self.initial_state(rows)

    def act(self, step: Step, state: State, choice: Choice) -> tuple[Tensor, State]:
        """Return the action of the highest value, or sample one in proportion to exp(value)."""
        values, state = self(step.observation[:, None], state)
        if choice.greedy:
            return values[:, 0].argmax(-1), state
        drawn = torch.multinomial(values[:, 0].softmax(-1), 1, generator=choice.generator)
        return drawn[:, 0], state
