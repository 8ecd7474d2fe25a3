"""How far a long step is, on stderr: ``play tmaze | 3/9 | 120 episodes/s | 12 s left``.

On a terminal one line is rewritten; in a log a plain line appears every few seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


class Progress:
    """Tells what runs, how far it is, how fast, and how long it still takes."""

    def __init__(
        self,
        what: str,
        total: int,
        every_seconds: float = 10.0,
        unit: str = "updates",
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock.

        Args:
            what: first words of every line.
            total: when ``done`` reaches it, the last line is printed.
            every_seconds: least time between two lines of a log; a terminal is updated more often.
            unit: what is counted, in the plural.
            done: how much a resumed step had behind it; it does not count as this step's speed.
            clock: seconds from anywhere; replaced in tests.
        """
        self.what, self.total, self.unit = what, total, unit
        self._stream = sys.stderr
        self._terminal = self._stream.isatty()
        self._every = min(every_seconds, 0.2) if self._terminal else every_seconds
        self._clock = clock
        self._first = done
        self._began = self._shown = clock()
        self._width = 0

    def update(self, done: int, **figures: object) -> None:
        """``done`` of ``total`` are behind us; ``figures`` are shown as they are given."""
        now = self._clock()
        last = done >= self.total
        if not last and now - self._shown < self._every:
            return
        self._shown = now
        self._print(self.line(done, now - self._began, figures), last)

    def finish(self) -> None:
        """Leave the terminal's line as it is and go to the next; for steps that may end early."""
        if self._width:
            print(file=self._stream, flush=True)
            self._width = 0

    def line(self, done: int, seconds: float, figures: dict[str, object]) -> str:
        """What, how far, the figures, units per second, and the time left or taken."""
        rate = (done - self._first) / seconds if seconds > 0 else 0.0
        parts = [self.what, f"{done:,}/{self.total:,}"]
        parts += [f"{name} {_figure(value)}" for name, value in figures.items()]
        if rate > 0:
            parts.append(f"{_figure(rate)} {self.unit}/s")
        if done >= self.total:
            parts.append(f"took {duration(seconds)}")
        elif rate > 0:
            parts.append(f"{duration((self.total - done) / rate)} left")
        return " | ".join(parts)

    def _print(self, line: str, last: bool) -> None:
        if not self._terminal:
            print(line, file=self._stream, flush=True)
            return
        # Blanks wipe what a longer line before this one has left on the screen.
        end = "\n" if last else ""
        print(f"\r{line.ljust(self._width)}", end=end, file=self._stream, flush=True)
        self._width = 0 if last else len(line)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(12.4), duration(200), duration(7500)
    ('12 s', '3 min 20 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _figure(value: object) -> str:
    """Numbers short enough to read at a glance: 0.00123, 0.213, 118, 12,345."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
