"""How to play Pong and Breakout from the console's memory: meet the ball, off the centre by an aim.

A look-ahead tries several aims and takes the best. Addresses are those of the Atari Annotated RAM
Interface (Anand et al. 2019) and were checked by moving the paddle.
"""

from __future__ import annotations

from collections.abc import Callable

from memdt.environments.atari_parts.emulator import Ram

# The memory now and a step before, and by how much to miss the centre; returns an action's name.
Tracker = Callable[[Ram, Ram, int], str]


def pong(ram: Ram, before: Ram, aim: int) -> str:
    """Meet the ball where it will be at the own paddle; wait in the middle while it flies away."""
    x, y, paddle = int(ram[49]), int(ram[54]), int(ram[51])
    dx, dy = x - int(before[49]), y - int(before[54])
    target = 120.0
    if y > 0 and 0 < dx < 60:
        target = _reflected(y + dy * (188 - x) / dx, 44.0, 204.0) + aim
    # The paddle has momentum: where it will come to rest if nothing is pressed.
    rest = paddle + 1.5 * (paddle - int(before[51]))
    if abs(rest - target) <= 4:
        return "NOOP"
    return "RIGHT" if rest > target else "LEFT"


def breakout(ram: Ram, before: Ram, aim: int) -> str:
    """Meet the ball where it will be at the height of the paddle; serve where there is none."""
    x, y, paddle = int(ram[99]), int(ram[101]), int(ram[72])
    if y == 0:
        return "FIRE"
    dx, dy = x - int(before[99]), y - int(before[101])
    target = float(x)
    if dy > 0 and y < 177:
        target = _reflected(x + dx * (177 - y) / dy, 56.0, 200.0)
    off = target + aim - (paddle + 8)
    if abs(off) <= 6:
        return "NOOP"
    return "RIGHT" if off > 0 else "LEFT"


TRACKERS: dict[str, tuple[Tracker, tuple[int, ...]]] = {
    "pong": (pong, (-12, -6, 0, 6, 12)),
    "breakout": (breakout, (-8, -4, 0, 4, 8)),
}


def _reflected(position: float, low: float, high: float) -> float:
    """Where something ends that is thrown back by two walls.

    >>> _reflected(12.0, 0.0, 10.0)
    8.0
    """
    period = 2 * (high - low)
    offset = (position - low) % period
    return low + min(offset, period - offset)
