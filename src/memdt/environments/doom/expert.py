"""The collection policy of ViZDoom-Two-Colors: it goes for visible items of the right colour.

It knows what a player could see on the screen (the kinds and positions of things in view), and
remembers only the colour of the pillar.

Sometimes it lapses, and acts against its intention for some steps:

    turns     turns to one side, so that it has to look for a target again
    nearest   goes for the nearest item in view, whatever its colour
    any       holds a random action

The intended actions are recorded as well (``meant``). Without lapses, a policy that repeats its
last action and walks to whatever is ahead would nearly always be right, and hardly need the
pillar's colour. Source: noise in the demonstrator's actions, Laskey et al. 2017 (DART).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

LEFT, RIGHT, FORWARD, FORWARD_LEFT, FORWARD_RIGHT = range(5)
TOUCH = 36.0  # map units; at this distance from its middle, in x and y, an item is picked up
KEEP_OFF = 75.0  # map units that the path keeps from items of the other colour
AIM = 5.0  # degrees within which a target counts as straight ahead; a step turns about 7
BLOCKED = 400.0  # cost of a detour, in map units
TURN_COST = 4.0  # cost of a degree, in map units
TURN_WALKING = 35.0  # degrees; a target further to the side is turned to before walking
LAPSES = ("turns", "nearest", "any")
LAPSE_SHARES = (0.40, 0.45, 0.15)  # probabilities of the kinds
LAPSE_STEPS = {"turns": (4, 14), "nearest": (6, 20), "any": (3, 8)}  # minimum, maximum + 1
LAPSE_VIEW = 42.0  # degrees to the side within which a lapse sees an item
WAKE = 90.0  # map units; a wrong item this near ahead ends a lapse that walks
STOP = 70.0  # map units; it does not walk towards unwanted things nearer than this; a step is 17
_TURN_ONLY = {FORWARD: LEFT, FORWARD_LEFT: LEFT, FORWARD_RIGHT: RIGHT, LEFT: LEFT, RIGHT: RIGHT}


@dataclass(frozen=True)
class Seen:
    """A thing in view, with its position relative to the player, in map units."""

    name: str
    ahead: float
    left: float

    @property
    def distance(self) -> float:
        """Distance in map units."""
        return math.hypot(self.ahead, self.left)

    @property
    def bearing(self) -> float:
        """Degrees to the left of straight ahead."""
        return math.degrees(math.atan2(self.left, self.ahead))


def relative(name: str, x: float, y: float, pose: tuple[float, ...]) -> Seen:
    """Return a thing at (x, y) relative to the player; ``pose``: x, y and view angle in degrees."""
    east, north, angle = x - pose[0], y - pose[1], math.radians(pose[2])
    ahead = east * math.cos(angle) + north * math.sin(angle)
    return Seen(name, ahead, north * math.cos(angle) - east * math.sin(angle))


class Expert:
    """Goes for visible items of the right colour, and sometimes lapses."""

    def __init__(self, lapses: float, until: int | None = None) -> None:
        """Create a policy.

        Args:
            lapses: probability at each step that a lapse begins.
            until: number of first steps in which lapses begin; None: all.
        """
        self.lapses, self.until = lapses, until

    def reset(self, seeds: Sequence[int]) -> None:
        """Forget the colours; the seed of an episode decides its lapses."""
        self._colours: list[str | None] = [None] * len(seeds)
        self._turns = [LEFT] * len(seeds)
        self._draws = [np.random.default_rng(seed) for seed in seeds]
        self._lapsing: list[Lapse | None] = [None] * len(seeds)
        self._steps = 0

    def act(
        self, observations: Shaped[np.ndarray, "rows ..."], info: dict[str, Any]
    ) -> Int[np.ndarray, " rows"]:
        """Return an action for every row, from ``info["sight"]``; sets ``meant``."""
        sight = info["sight"]
        self.meant = np.array([self._act(row, things) for row, things in enumerate(sight)])
        lapses = [self._lapse(row, things) for row, things in enumerate(sight)]
        self._steps += 1
        pairs = zip(self.meant, lapses, strict=True)
        return np.array([meant if lapse is None else lapse for meant, lapse in pairs])

    def _lapse(self, row: int, things: list[Seen]) -> int | None:
        """The action of a lapse; None if there is no lapse."""
        lapse, draws = self._lapsing[row], self._draws[row]
        if lapse is None:
            over = self.until is not None and self._steps >= self.until
            if over or draws.random() >= self.lapses:
                return None
            lapse = Lapse.drawn(draws)
        action = lapse.action(things)
        continues = action is not None and lapse.steps > 1
        self._lapsing[row] = replace(lapse, steps=lapse.steps - 1) if continues else None
        return action

    def _act(self, row: int, things: list[Seen]) -> int:
        """The intended action: towards the cheapest target, or a turn if none is in view."""
        for thing in things:
            if thing.name.endswith("Pillar"):
                self._colours[row] = thing.name.removesuffix("Pillar")
        colour = self._colours[row] or ""
        items = [thing for thing in things if not thing.name.endswith("Pillar")]
        targets = [thing for thing in items if colour and thing.name.endswith(colour)]
        others = [thing for thing in things if thing not in targets]
        if not targets:
            return self._turns[row]
        target = min(targets, key=lambda thing: _cost(thing, others))
        aim = _around(target, others)
        if abs(aim) > AIM:
            self._turns[row] = LEFT if aim > 0 else RIGHT
        action = _steer(aim)
        return _TURN_ONLY[action] if _in_the_way(others) else action


@dataclass(frozen=True)
class Lapse:
    """Some steps in which the policy acts against its intention."""

    kind: str
    held: int  # the action of kinds that hold one
    steps: int  # remaining steps

    @classmethod
    def drawn(cls, draws: np.random.Generator) -> Lapse:
        """Draw kind, action and number of steps."""
        kind = str(draws.choice(LAPSES, p=LAPSE_SHARES))
        held = int(draws.integers(2 if kind == "turns" else 5))
        return cls(kind, held, int(draws.integers(*LAPSE_STEPS[kind])))

    def action(self, things: list[Seen]) -> int | None:
        """Return the action for these things in view; None if the lapse is over."""
        if self.kind == "turns":
            return self.held
        # Lapses that walk never walk into a wrong item or the pillar.
        if any(_wakes(thing) for thing in things):
            return None
        if self.kind == "any":
            return self.held
        items = [t for t in things if not t.name.endswith("Pillar") and abs(t.bearing) < LAPSE_VIEW]
        nearest = min(items, key=lambda thing: thing.distance, default=None)
        return None if nearest is None else _steer(nearest.bearing)


def _wakes(thing: Seen) -> bool:
    """Whether the player is about to touch a wrong item or the pillar."""
    wrong = thing.name.startswith("Wrong") or thing.name.endswith("Pillar")
    return wrong and 0 < thing.ahead < WAKE and abs(thing.left) < TOUCH + 14


def _cost(thing: Seen, others: list[Seen]) -> float:
    """The approximate cost of walking to a thing, in map units."""
    blocked = any(
        _off(other, thing.bearing) < KEEP_OFF and 0 < other.distance < thing.distance
        for other in others
    )
    return thing.distance + TURN_COST * abs(thing.bearing) + BLOCKED * blocked


def _off(thing: Seen, bearing: float) -> float:
    """The distance between a thing and a straight path along ``bearing``."""
    angle = math.radians(thing.bearing - bearing)
    return thing.distance * (abs(math.sin(angle)) if abs(angle) < math.pi / 2 else 1.0)


def _around(target: Seen, others: list[Seen]) -> float:
    """The bearing of the target, or of a path around the nearest thing in between."""
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
    """Whether a step forward may touch one of the things."""
    return any(0 < o.ahead < STOP and abs(o.left) < TOUCH + 6 for o in others)


def _steer(bearing: float) -> int:
    if abs(bearing) <= AIM:
        return FORWARD
    if abs(bearing) > TURN_WALKING:
        return LEFT if bearing > 0 else RIGHT
    return FORWARD_LEFT if bearing > 0 else FORWARD_RIGHT
