"""The size of a dataset, known before it is made. Every plan imports this, so it imports little."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RawFile:
    """A file that a dataset is made from."""

    path: Path
    address: str | None = None  # where it is downloaded from; None: the user provides it
    size: int | None = None  # bytes; None: unknown
    sha256: str | None = None  # 64 hexadecimal digits; None: unknown


@dataclass(frozen=True)
class Size:
    """The expected size of a dataset, derived from its settings; for plans and checks."""

    lengths: tuple[tuple[int, int], ...]  # kept steps of an episode, number of such episodes
    simulated_steps: int = 0  # steps that a simulator plays to make it

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return sum(count for _, count in self.lengths)

    @property
    def steps(self) -> int:
        """Number of kept steps."""
        return sum(length * count for length, count in self.lengths)

    @property
    def longest(self) -> int | None:
        """Steps of the longest episode; None if that is unknown before the file is read."""
        return max((length for length, _ in self.lengths), default=None)
