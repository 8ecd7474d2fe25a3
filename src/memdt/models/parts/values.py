"""A policy that does what it holds for best: the value of each of a few actions, with memory."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from memdt.data.segments import Segment
from memdt.errors import UserError
from memdt.models.interface import Choice, Policy, Segmentation, Spaces, State, Step


class ValuePolicy(Policy):
    """A policy over values, for discrete actions.

    Memory is carried through a whole episode, without borders. Demonstrations and returns-to-go are
    not looked at.
    """

    def __init__(self, spaces: Spaces) -> None:
        """Raises UserError where actions are not discrete."""
        super().__init__(spaces)
        if not spaces.discrete:
            remedy = "choose a model for continuous actions"
            raise UserError("this model needs discrete actions", "model.name", remedy)

    @abstractmethod
    def initial_state(self, rows: int) -> State:
        """The state before the first step of so many episodes."""

    @abstractmethod
    def forward(
        self, observations: Shaped[Tensor, "batch time ..."], state: State
    ) -> tuple[Float[Tensor, "batch time actions"], State]:
        """The value of every action at every step, and the state after the last one."""

    def begin(
        self,
        rows: int,
        demonstration: Segment | None = None,
        segmentation: Segmentation | None = None,
    ) -> State:
        """An empty memory."""
        return self.initial_state(rows)

    def act(self, step: Step, state: State, choice: Choice) -> tuple[Tensor, State]:
        """The action of the highest value; drawn ones in proportion to exp(value)."""
        values, state = self(step.observation[:, None], state)
        if choice.greedy:
            return values[:, 0].argmax(-1), state
        drawn = torch.multinomial(values[:, 0].softmax(-1), 1, generator=choice.generator)
        return drawn[:, 0], state
