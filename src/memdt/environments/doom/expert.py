"""Who collects data in ViZDoom-Two-Colors: it goes for the items of the right colour that it sees.

It knows what a player could read off the screen, the kind of a thing in view and where it lies, and
remembers one thing alone: the colour of the pillar.

Now and then it lapses, and does for some steps what it does not mean:

    turns     to one side, so that it has to look for a target anew
    nearest   goes for the nearest item in view, whatever its colour
    any       holds an action drawn at random

What it meant is recorded beside what it did (``meant``). Without lapses, who repeats what was done
before, and goes on to whatever is ahead, is right nearly always, and the pillar's colour is hardly
asked for. Source: noise in the demonstrator's actions, Laskey et al. 2017 (DART).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
LAPSES = ("turns", "nearest", "any")
LAPSE_SHARES = (0.40, 0.45, 0.15)  # how often each of them is drawn
LAPSE_STEPS = {"turns": (4, 14), "nearest": (6, 20), "any": (3, 8)}  # fewest, one more than most
LAPSE_VIEW = 42.0  # degrees aside that an item still counts as in view for a lapse
WAKE = 90.0  # map units: with a wrong item so near ahead a lapse that walks is over
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
    """Goes for the items of the right colour that it sees, and lapses now and then."""

    def __init__(self, lapses: float, until: int | None = None) -> None:
        """``lapses``: chance of one at each step, of the first ``until`` if given."""
        self.lapses, self.until = lapses, until

    def reset(self, seeds: Sequence[int]) -> None:
        """Forget the colours; a seed decides when its episode lapses."""
        self._colours: list[str | None] = [None] * len(seeds)
        self._turns = [LEFT] * len(seeds)
        self._draws = [np.random.default_rng(seed) for seed in seeds]
        self._lapsing: list[Lapse | None] = [None] * len(seeds)
        self._steps = 0

    def act(
        self, observations: Shaped[np.ndarray, "rows ..."], info: dict[str, Any]
    ) -> Int[np.ndarray, " rows"]:
        """An action for every row, from ``info["sight"]``; ``meant`` holds what was meant."""
        sight = info["sight"]
        self.meant = np.array([self._act(row, seen) for row, seen in enumerate(sight)])
        done = [self._lapse(row, seen) for row, seen in enumerate(sight)]
        self._steps += 1
        return np.array([m if d is None else d for m, d in zip(self.meant, done, strict=True)])

    def _lapse(self, row: int, seen: list[Seen]) -> int | None:
        """What is done in a lapse; None: what is meant."""
        lapse, draws = self._lapsing[row], self._draws[row]
        if lapse is None:
            over = self.until is not None and self._steps >= self.until
            if over or draws.random() >= self.lapses:
                return None
            lapse = Lapse.drawn(draws)
        action = lapse.action(seen)
        going_on = action is not None and lapse.steps > 1
        self._lapsing[row] = replace(lapse, steps=lapse.steps - 1) if going_on else None
        return action

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


@dataclass(frozen=True)
class Lapse:
    """What is done for some steps instead of what is meant."""

    kind: str
    held: int  # the action of a lapse that does not look
    steps: int  # still to come

    @classmethod
    def drawn(cls, draws: np.random.Generator) -> Lapse:
        """One of the kinds, how long it lasts and which way it goes."""
        kind = str(draws.choice(LAPSES, p=LAPSE_SHARES))
        held = int(draws.integers(2 if kind == "turns" else 5))
        return cls(kind, held, int(draws.integers(*LAPSE_STEPS[kind])))

    def action(self, seen: list[Seen]) -> int | None:
        """What is done; None: the lapse is over."""
        if self.kind == "turns":
            return self.held
        if any(_wakes(thing) for thing in seen):
            return None
        if self.kind == "any":
            return self.held
        items = [t for t in seen if not t.name.endswith("Pillar") and abs(t.bearing) < LAPSE_VIEW]
        nearest = min(items, key=lambda thing: thing.distance, default=None)
        return None if nearest is None else _steer(nearest.bearing)


def _wakes(thing: Seen) -> bool:
    """Whether one would bump into it: a wrong item, or the pillar."""
    wrong = thing.name.startswith("Wrong") or thing.name.endswith("Pillar")
    return wrong and 0 < thing.ahead < WAKE and abs(thing.left) < TOUCH + 14


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
