"""What is known of a dataset before it is made; light, because every plan asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RawFile:
    """A file that must be there before a dataset can be made from it."""

    path: Path
    address: str | None = None  # where it is fetched from; None: people put it there
    size: int | None = None  # bytes, where they are known
    sha256: str | None = None  # 64 hexadecimal digits, where they are known


@dataclass(frozen=True)
class Size:
    """What a dataset is expected to hold, as far as settings tell; for plans and checks."""

    lengths: tuple[tuple[int, int], ...]  # steps that are kept of an episode, how many have so many
    simulated_steps: int = 0  # that a simulator plays for it

    @property
    def episodes(self) -> int:
        """Their number."""
        return sum(count for _, count in self.lengths)

    @property
    def steps(self) -> int:
        """All that are kept."""
        return sum(length * count for length, count in self.lengths)

    @property
    def longest(self) -> int | None:
        """Steps of the longest episode; None where that is not known before the file is read."""
        return max((length for length, _ in self.lengths), default=None)
