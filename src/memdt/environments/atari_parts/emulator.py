"""An emulator beside the game that is recorded: it shows the game's memory, and looks ahead.

``AtariVectorEnv`` shows neither the console's memory nor its state. An emulator that begins with
the same seed and gets the same actions is in the same state, with sticky actions too. It is copied
from and never restored: in ale-py 0.12.1 a restored Q*bert does not always go on as it would have.
What looks ahead is another emulator.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from memdt.environments.atari import Settings

Ram = UInt8[np.ndarray, " 128"]


def rom_of(game: str) -> Path:
    """The file of a game's ROM. Raises ValueError for a game that ale-py does not have."""
    from ale_py import roms

    path = roms.get_rom_path(game)
    if path is None:
        raise ValueError(f"ale-py has no game {game!r}")
    return Path(path)


class Emulator:
    """A game that is played without drawing it."""

    def __init__(self, settings: Settings, sticky: bool = True) -> None:
        """``sticky``: with the settings' sticky actions; otherwise without any."""
        from ale_py import Action, ALEInterface, LoggerMode

        ALEInterface.setLoggerMode(LoggerMode.Error)
        self._ale, self._skip = ALEInterface(), settings.frame_skip
        self._rom, self._fires = rom_of(settings.game), settings.fire_at_start
        probability = settings.sticky_actions if sticky else 0.0
        self._ale.setFloat("repeat_action_probability", probability)
        self._ale.loadROM(self._rom)
        full = settings.actions == "full"
        self._actions = self._ale.getLegalActionSet() if full else self._ale.getMinimalActionSet()
        self._no_op, self._fire = Action.NOOP, Action.FIRE
        self.actions = [action.name for action in self._actions]

    def begin(self, seed: int, frames: int) -> None:
        """Begin the episode of a seed as ale-py's vector environment does.

        ``frames``: of the episode so far, its no-ops.
        """
        self._ale.setInt("random_seed", seed)
        self._ale.loadROM(self._rom)  # which is when the seed is taken
        self._ale.reset_game()
        if self._fires and self._fire in self._actions:
            self._ale.act(self._fire)
        while self._ale.getEpisodeFrameNumber() < frames:
            self._ale.act(self._no_op)

    def step(self, action: int) -> float:
        """Hold an action, and return its reward; nothing happens after the end."""
        reward = 0.0
        for _ in range(self._skip):
            if self._ale.game_over():
                break
            reward += self._ale.act(self._actions[action])
        return reward

    @property
    def over(self) -> bool:
        """Whether the game has ended."""
        return bool(self._ale.game_over())

    @property
    def lives(self) -> int:
        """Lives left; 0 in games that count none."""
        return int(self._ale.lives())

    @property
    def frames(self) -> int:
        """Frames of the episode so far."""
        return int(self._ale.getEpisodeFrameNumber())

    @property
    def ram(self) -> Ram:
        """The memory of the console."""
        ram: np.ndarray = self._ale.getRAM()
        return ram

    def state(self) -> Any:
        """All that the next frames depend on."""
        return self._ale.cloneState()

    def restore(self, state: Any) -> None:
        """Take the state of another emulator of the same game."""
        self._ale.restoreState(state)
