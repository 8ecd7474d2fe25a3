"""Choose actions by trying them in an emulator beside the game.

An option is a way of going on. Every ``hold`` steps each is tried from the present state, and the
one that earned most is followed. In Pong and Breakout an option is a place where the paddle meets
the ball; in any other game an action that is held for as long, random ones after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from memdt.environments.atari_parts.emulator import Emulator, Ram
from memdt.environments.atari_parts.trackers import TRACKERS

if TYPE_CHECKING:
    from memdt.environments.atari import Settings
    from memdt.environments.atari_parts.collection import LookAhead

DISCOUNT = 0.99  # a step: earlier rewards are worth more


def _air_and_divers(ram: Ram) -> float:
    """In Seaquest: air for the next dives, and divers on board."""
    return 2.0 * min(int(ram[102]), 30) + 10.0 * int(ram[62])


def _nothing(ram: Ram) -> float:
    return 0.0


# What is worth having besides points, as points.
POTENTIALS: dict[str, Callable[[Ram], float]] = {"seaquest": _air_and_divers}


class Planner:
    """Plans for one game; ``sandbox`` is the emulator that it tries in."""

    def __init__(self, settings: Settings, sandbox: Emulator) -> None:
        self.sandbox = sandbox
        self.look: LookAhead = settings.look_ahead
        self.potential = POTENTIALS.get(settings.game, _nothing)
        self.numbers = {name: number for number, name in enumerate(sandbox.actions)}
        known = TRACKERS.get(settings.game)
        self.tracker = None if known is None else known[0]
        aims = () if known is None else known[1]
        names = self.look.candidates or tuple(sandbox.actions)
        self.options = aims or tuple(self.numbers[name] for name in names)

    def act(self, option: int, ram: Ram, before: Ram) -> int:
        """The action of an option."""
        if self.tracker is None:
            return option
        return self.numbers[self.tracker(ram, before, option)]

    def best(self, game: Emulator, before: Ram, draws: np.random.Generator) -> int:
        """The option that earns most, by chance where several do."""
        state = game.state()
        # With a tracker nothing in a rollout is random, so that one says all.
        rollouts = 1 if self.tracker is not None else self.look.rollouts
        values = np.array(
            [
                np.mean([self._rollout(option, state, before, draws) for _ in range(rollouts)])
                for option in self.options
            ]
        )
        # Where no reward is in reach all options tie, and the first one must not always win.
        best = np.flatnonzero(values >= values.max() - 1e-9)
        return self.options[int(draws.choice(best))]

    def _rollout(
        self, option: int, state: object, before: Ram, draws: np.random.Generator
    ) -> float:
        game, look = self.sandbox, self.look
        game.restore(state)
        lives, start, value, discount = game.lives, self.potential(game.ram), 0.0, 1.0
        for step in range(look.hold * look.depth):
            if self.tracker is None and step and step % look.hold == 0:
                option = int(draws.choice(self.options))
            ram = game.ram
            value += discount * game.step(self.act(option, ram, before))
            before = ram
            lost = lives - game.lives
            if lost or game.over:
                return value - discount * look.life_cost * max(lost, 1)
            discount *= DISCOUNT
        return value + self.potential(game.ram) - start
