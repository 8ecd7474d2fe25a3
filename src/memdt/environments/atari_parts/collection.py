"""Agents of all strengths that play the episodes of a dataset.

A replay buffer holds episodes from random to good play. Here all that differs between them is how
often an action is drawn at random instead of planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from pydantic import BaseModel, ConfigDict, Field

from memdt.environments.atari_parts.emulator import Emulator, Ram
from memdt.environments.atari_parts.planning import Planner
from memdt.errors import UserError

if TYPE_CHECKING:
    from memdt.environments.atari import Settings

BARS = "\u00b7\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"  # no episode, then eight heights
NO_SEED = -1  # of an episode that was recorded elsewhere
GOLDEN = (5**0.5 - 1) / 2  # multiples of it are spread evenly over [0, 1), however many there are


class Collector(BaseModel):
    """One agent of the mix."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(gt=0, description="of the episodes, in relation to the other shares")
    noise: float = Field(
        ge=0, le=1, description="probability that an action is drawn at random; 1: all are"
    )


class LookAhead(BaseModel):
    """How far and how often collectors look ahead."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hold: int = Field(default=5, ge=1, le=100, description="steps between two plans")
    depth: int = Field(default=6, ge=1, le=100, description="of a plan, in multiples of hold")
    rollouts: int = Field(
        default=2, ge=1, description="tries of each action, random after it; none in Pong, Breakout"
    )
    life_cost: float = Field(default=100.0, ge=0, description="of a lost life, in points")
    candidates: tuple[str, ...] | None = Field(
        default=None, min_length=2, description="actions to try, such as UP and LEFT; null: all"
    )


DEFAULT = (
    Collector(share=0.2, noise=1.0),
    Collector(share=0.2, noise=0.4),
    Collector(share=0.2, noise=0.2),
    Collector(share=0.2, noise=0.1),
    Collector(share=0.2, noise=0.02),
)


def assigned(
    collectors: Sequence[Collector], seeds: Sequence[int] | Int[np.ndarray, " episodes"]
) -> Int[np.ndarray, " episodes"]:
    """The number of the collector that plays each seed's episode.

    Consecutive seeds have the shares of the mix as closely as their number allows.
    """
    ends = np.cumsum([one.share for one in collectors])
    places = (np.asarray(seeds, dtype=np.float64) * GOLDEN) % 1.0
    numbers = np.searchsorted(ends / ends[-1], places, side="right")
    within: np.ndarray = np.minimum(numbers, len(collectors) - 1)
    return within


@dataclass
class _Row:
    """One episode, and the emulator that goes along with it."""

    game: Emulator
    noise: float
    draws: np.random.Generator
    before: Ram
    option: int = 0
    left: int = 0  # steps until the next plan
    lives: int = 0
    ended: bool = False


class Player:
    """The collection policy: every row is played by the collector of its seed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rows: list[_Row] = []
        self._seeds: list[int] = []

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin an episode for each seed; emulators begin with the first step."""
        self._seeds, self.rows = list(seeds), []

    def act(
        self, observations: Shaped[np.ndarray, "rows ..."], info: dict[str, Any]
    ) -> Int[np.ndarray, " rows"]:
        """An action for every row. Raises UserError where an emulator has lost its game."""
        if not self.rows:
            self.rows = [self._begin(*one) for one in zip(self._seeds, info["frames"], strict=True)]
        pairs = zip(self.rows, info["frames"], info["lives"], strict=True)
        return np.array([self._of(row, frames, lives) for row, frames, lives in pairs])

    @cached_property
    def planner(self) -> Planner:
        """Serves all rows, one after the other."""
        return Planner(self.settings, Emulator(self.settings, sticky=False))

    def _begin(self, seed: int, frames: int) -> _Row:
        number = int(assigned(self.settings.collectors, [seed])[0])
        game = Emulator(self.settings)
        game.begin(seed, frames)
        noise = self.settings.collectors[number].noise
        return _Row(game, noise, np.random.default_rng(seed), game.ram, lives=game.lives)

    def _of(self, row: _Row, frames: int, lives: int) -> int:
        """The action of a row, which its emulator takes as well."""
        if row.ended:
            return 0
        if (row.game.frames, row.game.lives) != (frames, lives):
            what = f"the emulator that looks ahead is in frame {row.game.frames}, not {frames}"
            raise UserError(what, f"atari {self.settings.game}", "report it: they should be alike")
        ram, before = row.game.ram, row.before
        action = self._chosen(row, ram, before)
        row.before, row.lives = ram, lives
        row.game.step(action)
        # The environment's cap is not the emulator's; rows that it cuts are not asked again.
        row.ended = row.game.over
        return action

    def _chosen(self, row: _Row, ram: Ram, before: Ram) -> int:
        names = self.planner.numbers
        if self.settings.fire_after_life_loss and row.game.lives < row.lives and "FIRE" in names:
            return names["FIRE"]  # what the environment does anyway
        if row.draws.random() < row.noise:
            return int(row.draws.integers(len(names)))
        if row.left <= 0:
            row.option = self.planner.best(row.game, before, row.draws)
            row.left = self.settings.look_ahead.hold
        row.left -= 1
        return self.planner.act(row.option, ram, before)


def drawn(returns: Float[np.ndarray, " episodes"], bins: int = 12) -> str:
    """The distribution of returns as a row of bars between the lowest and the highest."""
    counts, edges = np.histogram(returns, bins)
    heights = np.ceil(counts / counts.max() * (len(BARS) - 1)).astype(int)
    return f"{edges[0]:g} {''.join(BARS[height] for height in heights)} {edges[-1]:g}"


def card(
    collectors: Sequence[Collector],
    seeds: Int[np.ndarray, " episodes"],
    returns: Float[np.ndarray, " episodes"],
) -> dict[str, str]:
    """Lines of the dataset's card: the returns of each collector's episodes, if they played it."""
    seeds, returns = seeds[seeds != NO_SEED], returns[seeds != NO_SEED]
    numbers = assigned(collectors, seeds)
    lines = {}
    for number, one in enumerate(collectors):
        of_strength = returns[numbers == number]
        if len(of_strength):
            low, middle, high = np.percentile(of_strength, [0, 50, 100])
            lines[f"collector with {one.noise:.0%} random actions"] = (
                f"{len(of_strength):,} episodes, returns {low:g} to {high:g}, median {middle:g}"
            )
    return lines
