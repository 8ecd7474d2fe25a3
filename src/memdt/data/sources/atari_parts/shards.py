"""One shard of a Dopamine replay buffer: where its episodes are, and their steps.

Each of observation, action, reward and terminal is a file. Rows are in the order of recording up to
the cursor, which is where the buffer would write next; behind it are older ones. Every episode is
preceded by three rows of zeros, so that a stack of four frames never reaches into the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from memdt.data.sources.atari_parts.rows import Rows
from memdt.errors import UserError

STORED = ("observation", "action", "reward", "terminal")
COUNTED = ("add_count", "invalid_range")
ARRAYS = (*STORED, *COUNTED)
PADDING = 3  # rows of zeros before an episode: a stack of four frames, less one


@dataclass(frozen=True)
class Steps:
    """Rows of one episode."""

    observations: Shaped[np.ndarray, "steps height width 1"]
    actions: Shaped[np.ndarray, " steps"]
    rewards: Shaped[np.ndarray, " steps"]


class Shard:
    """An open shard, of which the first ``rows`` rows are used."""

    def __init__(self, files: dict[str, Path], rows: int, padding: bool) -> None:
        """Read everything but the frames.

        Args:
            files: by the names of ARRAYS.
            rows: that are used at most.
            padding: whether the zeros before an episode count as steps of it.

        Raises:
            UserError: the files are damaged, or do not belong together.
        """
        self._padding, self.path = padding, files["observation"]
        self._frames = Rows(files["observation"])
        small = {name: Rows(files[name]) for name in ARRAYS if name != "observation"}
        lengths = {name: len(small[name]) for name in STORED[1:]} | {"frames": len(self._frames)}
        if len(set(lengths.values())) > 1:
            listing = ", ".join(f"{count:,} {name}" for name, count in lengths.items())
            raise UserError(f"its arrays have different lengths: {listing}", str(self.path))
        self.rows = min(rows, len(self._frames))
        read = {name: small[name].read(0, self.rows) for name in STORED[1:]}
        self.actions, self.rewards = read["action"].astype(np.int64), read["reward"]
        self._terminal = read["terminal"] != 0
        count = small["add_count"].read(0, 1).reshape(-1)[0]
        self.cursor = int(count) % len(self._frames)
        invalid = small["invalid_range"]
        self.invalid = set(invalid.read(0, len(invalid)).reshape(-1).tolist())
        for one in small.values():
            one.close()

    @property
    def frame(self) -> tuple[int, ...]:
        """Height and width of a frame."""
        return self._frames.shape[1:]

    def episodes(self) -> tuple[list[tuple[int, int]], int]:
        """First and one-past-last row of each whole episode, and the number of rows left over.

        What no terminal row ends is left over, and so is what crosses the cursor: it would join
        rows that were recorded a million steps apart. Where an episode begins with rows that the
        buffer calls invalid (their stack of frames lacks some), it begins after them.
        """
        ends = np.flatnonzero(self._terminal) + 1
        starts = np.append(0, ends[:-1]) if len(ends) else ends
        if not self._padding:
            pairs = zip(starts.tolist(), ends.tolist(), strict=True)
            starts = np.array([self._first_valid(*pair) for pair in pairs], dtype=np.int64)
        crossing = (starts < self.cursor) & (self.cursor < ends)
        whole = list(zip(starts[~crossing].tolist(), ends[~crossing].tolist(), strict=True))
        return whole, self.rows - sum(last - first for first, last in whole)

    def _first_valid(self, start: int, end: int) -> int:
        """The first row of an episode that may be sampled; its last one at the latest."""
        while start < end - 1 and start in self.invalid:
            start += 1
        return start

    def read(self, first: int, last: int) -> Steps:
        """The steps of an episode, without the zeros before it unless they count."""
        frames = self._frames.read(first, last)
        skipped = 0 if self._padding else self._padded(first, frames)
        rows = slice(first + skipped, last)
        return Steps(frames[skipped:, :, :, None], self.actions[rows], self.rewards[rows])

    def _padded(self, first: int, frames: Shaped[np.ndarray, "steps height width"]) -> int:
        """How many rows of zeros an episode begins with, three at most."""
        empty = ~np.any(frames[:PADDING], axis=(1, 2))
        empty &= (self.actions[first : first + len(empty)] == 0) & (
            self.rewards[first : first + len(empty)] == 0
        )
        return int(np.cumprod(empty).sum()) if len(frames) > PADDING else 0

    def close(self) -> None:
        """Close the file of frames."""
        self._frames.close()


def visits(counts: Int[np.ndarray, " shards"], each: int, seed: int) -> list[tuple[int, int, int]]:
    """In which order Decision Transformer reads the shards: shard, first and last episode.

    A shard is drawn, and its next ``each`` episodes are read. Where there are fewer left, what the
    visit has read is thrown away (last episode -1) and the shard is not drawn again.
    """
    draws, next_one = np.random.default_rng(seed), np.zeros(len(counts), dtype=np.int64)
    left, order = list(range(len(counts))), []
    while left:
        shard = left[int(draws.integers(len(left)))]
        first = int(next_one[shard])
        if first + each > counts[shard]:
            left.remove(shard)
            order.append((shard, first, -1))
            continue
        next_one[shard] += each
        order.append((shard, first, first + each))
    return order
