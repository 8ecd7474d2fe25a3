"""Who collects data in ViZDoom-Two-Colors: it goes for the items of the right colour that it sees.

It knows what a player could read off the screen, the kind of a thing in view and where it lies, and
remembers one thing alone: the colour of the pillar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

LEFT, RIGHT, FORWARD, FORWARD_LEFT, FORWARD_RIGHT = range(5)
TOUCH = 36.0  # map units: nearer than this to the middle of an item, in x or y, picks it up
KEEP_OFF = 75.0  # distance that the path keeps from items of the other colour
AIM = 5.0  # degrees off which the target still counts as straight ahead; a step turns about 7
BLOCKED = 400.0  # map units that a detour counts
TURN_COST = 4.0  # map units that a degree counts
TURN_WALKING = 35.0  # degrees: a target further aside is turned to before walking on
STUMBLE = (3, 9)  # steps that one lasts: the fewest, and one more than the most
STOP = 70.0  # no walking where something unwanted is this near ahead: a step is about 17
_TURN_ONLY = {FORWARD: LEFT, FORWARD_LEFT: LEFT, FORWARD_RIGHT: RIGHT, LEFT: LEFT, RIGHT: RIGHT}


@dataclass(frozen=True)
class Seen:
    """A thing in view, and where it lies for somebody who looks ahead; map units."""

    name: str
    ahead: float
    left: float

    @property
    def distance(self) -> float:
        """How far away."""
        return math.hypot(self.ahead, self.left)

    @property
    def bearing(self) -> float:
        """Degrees to the left of straight ahead."""
        return math.degrees(math.atan2(self.left, self.ahead))


def relative(name: str, x: float, y: float, place: tuple[float, ...]) -> Seen:
    """A thing at (x, y) seen from ``place``: x, y, and where somebody there looks, in degrees."""
    east, north, angle = x - place[0], y - place[1], math.radians(place[2])
    ahead = east * math.cos(angle) + north * math.sin(angle)
    return Seen(name, ahead, north * math.cos(angle) - east * math.sin(angle))


class Expert:
    """Goes for the items of the right colour that it sees, and stumbles now and then.

    A stumble is an action at random for a few steps: without it what is done next is mostly what
    was done before.
    """

    def __init__(self, stumbles: float) -> None:
        self.stumbles = stumbles  # chance of one at each step

    def reset(self, seeds: Sequence[int]) -> None:
        """Forget the colours; a seed decides when its episode stumbles."""
        self._colours: list[str | None] = [None] * len(seeds)
        self._turns = [LEFT] * len(seeds)
        self._draws = [np.random.default_rng(seed) for seed in seeds]
        self._stumbling: list[list[int]] = [[] for _ in seeds]  # actions still to come

    def act(
        self, observations: Shaped[np.ndarray, "rows ..."], info: dict[str, Any]
    ) -> Int[np.ndarray, " rows"]:
        """An action for every row, from ``info["sight"]``."""
        sight = enumerate(info["sight"])
        return np.array([self._stumbled(row, self._act(row, seen)) for row, seen in sight])

    def _stumbled(self, row: int, meant: int) -> int:
        """What is done instead of what is meant, if it is not the same."""
        draws, left = self._draws[row], self._stumbling[row]
        if not left and draws.random() < self.stumbles:
            left += [int(draws.integers(5))] * int(draws.integers(*STUMBLE))
        return left.pop() if left else meant

    def _act(self, row: int, seen: list[Seen]) -> int:
        for thing in seen:
            if thing.name.endswith("Pillar"):
                self._colours[row] = thing.name.removesuffix("Pillar")
        colour = self._colours[row] or ""
        items = [thing for thing in seen if not thing.name.endswith("Pillar")]
        wanted = [thing for thing in items if colour and thing.name.endswith(colour)]
        others = [thing for thing in seen if thing not in wanted]
        if not wanted:
            return self._turns[row]
        target = min(wanted, key=lambda thing: _cost(thing, others))
        aim = _around(target, others)
        if abs(aim) > AIM:
            self._turns[row] = LEFT if aim > 0 else RIGHT
        action = _steer(aim)
        return _TURN_ONLY[action] if _in_the_way(others) else action


def _cost(thing: Seen, others: list[Seen]) -> float:
    """How long it takes to get there, in map units walked, roughly."""
    blocked = any(
        _off(other, thing.bearing) < KEEP_OFF and 0 < other.distance < thing.distance
        for other in others
    )
    return thing.distance + TURN_COST * abs(thing.bearing) + BLOCKED * blocked


def _off(thing: Seen, bearing: float) -> float:
    """How near a path straight along ``bearing`` comes to a thing ahead."""
    angle = math.radians(thing.bearing - bearing)
    return thing.distance * (abs(math.sin(angle)) if abs(angle) < math.pi / 2 else 1.0)


def _around(target: Seen, others: list[Seen]) -> float:
    """The bearing to walk along: the target's, or past what lies in between."""
    between = [
        o for o in others if o.distance < target.distance and _off(o, target.bearing) < KEEP_OFF
    ]
    if not between:
        return target.bearing
    nearest = min(between, key=lambda thing: thing.distance)
    aside = math.degrees(math.asin(min(1.0, KEEP_OFF / max(nearest.distance, KEEP_OFF))))
    ways = (nearest.bearing + aside, nearest.bearing - aside)
    return min(ways, key=lambda way: abs(way - target.bearing))


def _in_the_way(others: list[Seen]) -> bool:
    """Whether a step forward may touch one of them."""
    return any(0 < o.ahead < STOP and abs(o.left) < TOUCH + 6 for o in others)


def _steer(bearing: float) -> int:
    if abs(bearing) <= AIM:
        return FORWARD
    if abs(bearing) > TURN_WALKING:
        return LEFT if bearing > 0 else RIGHT
    return FORWARD_LEFT if bearing > 0 else FORWARD_RIGHT
