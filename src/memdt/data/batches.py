"""Batches of segments, as a pure function of the update's number. A resumed run needs no state.

The episodes of a batch are sorted by their number of segments, longest first. A segment only holds
rows that still have real steps. Four episodes of 3, 3, 2 and 1 segments:

              segment 0   segment 1   segment 2
    row 0     =========   =========   =====
    row 1     =========   =========   ===
    row 2     =========   =======
    row 3     ======
              4 rows      3 rows      2 rows      9 row-segments computed instead of 12

Dropping a row changes no result: a row that has ended adds nothing to the loss, and no later
segment reads its memory.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from memdt.data.demonstrations import Demonstrations
from memdt.data.segments import EpisodeTensors, Segment
from memdt.errors import UserError
from memdt.seeding import stream
from memdt.settings.slices import Stage

WindowDraw = Literal["by_episode", "by_length"]


class Batches:
    """The batches of one training stage: every episode once per epoch, each time in a new order.

    A batch may span two epochs, so all batches have ``batch_size`` rows.
    """

    def __init__(
        self,
        tensors: EpisodeTensors,
        segment_length: int,
        batch_size: int,
        minimum_segments: int,
        maximum_segments: int,
        start: Literal["beginning", "random"] = "beginning",
        seed: int = 0,
        horizon: int | None = None,
        demonstrations: Demonstrations | None = None,
        draw: WindowDraw = "by_episode",
    ) -> None:
        """Select the episodes of a stage.

        Args:
            tensors: the dataset.
            segment_length: steps in a segment.
            batch_size: episodes side by side.
            minimum_segments: episodes with fewer segments are left out.
            maximum_segments: longest episode (``beginning``) or length of the window (``random``).
            start: ``beginning`` takes whole episodes of at most ``maximum_segments`` segments, as
                RATE's Q_k does; ``random`` a window of that length from every episode, uniform
                over its possible starts, and the whole episode where it is shorter.
            horizon: ``beginning`` takes only the first so many steps of every episode.
            seed: names the order of episodes and the windows, together with the epoch's number.
            demonstrations: of these same tensors; each segment then holds one for every row.
            draw: ``by_length`` takes the windows of ``random`` from each episode in proportion to
                its steps, as Decision Transformer does; an epoch has as many windows as before.

        Raises:
            UserError: the dataset has no such episodes.
        """
        self.tensors, self.segment_length, self.batch_size = tensors, segment_length, batch_size
        self.maximum_segments, self.start, self.seed = maximum_segments, start, seed
        self.horizon = horizon
        self.demonstrations = demonstrations
        self.draw = draw
        self._episodes = self._select(minimum_segments)
        # An epoch serves many updates, and a batch at a border needs two of them.
        self._epoch = lru_cache(maxsize=4)(self._draw_epoch)

    @classmethod
    def of_stage(
        cls,
        episodes: EpisodeTensors,
        stage: Stage,
        segment_length: int,
        start: Literal["beginning", "random"],
        seed: int,
        demonstrations: Demonstrations | None = None,
        draw: WindowDraw = "by_episode",
    ) -> Batches:
        """Return the batches of a training stage, in the run with this seed."""
        return cls(
            episodes,
            segment_length=segment_length,
            batch_size=stage.batch_size,
            horizon=stage.horizon,
            minimum_segments=1,
            maximum_segments=stage.segments,
            start=start,
            seed=stream(seed, "batches", stage.number),
            demonstrations=demonstrations,
            draw=draw,
        )

    @property
    def episodes(self) -> int:
        """Number of episodes that the stage trains on."""
        return len(self._episodes)

    def updates(self, epochs: int) -> int:
        """Return the number of updates that go through every episode ``epochs`` times."""
        return -(-epochs * self.episodes // self.batch_size)

    def batch(self, update: int) -> list[Segment]:
        """Return the batch of one update (counted from 0), a Segment for each segment index."""
        episodes, first, last = self.rows(update)
        counts = -(-(last - first) // self.segment_length)
        demonstration = self._demonstration(episodes, update)
        segments = []
        for index in range(int(counts[0])):
            alive = int((counts > index).sum())
            begin = first[:alive] + index * self.segment_length
            steps = self._within_horizon(self.segment_length, index * self.segment_length)
            segment = self.tensors.window(begin, last[:alive], steps)
            segments.append(replace(segment, demonstration=_rows_of(demonstration, alive)))
        return segments

    def windows(self, update: int) -> list[Segment]:
        """Return the same rows as whole episodes, for models that read an episode as one context.

        Episodes with the same number of segments form one Segment, longest first, so that short
        episodes are not padded to the longest of the batch.
        """
        episodes, first, last = self.rows(update)
        counts = -(-(last - first) // self.segment_length)
        demonstration = self._demonstration(episodes, update)
        windows = []
        for count in np.unique(counts)[::-1]:
            rows = counts == count
            steps = self._within_horizon(int(count) * self.segment_length)
            window = self.tensors.window(first[rows], last[rows], steps)
            windows.append(replace(window, demonstration=_rows_of(demonstration, rows)))
        return windows

    @property
    def longest(self) -> int:
        """Segments of the longest rows of any batch."""
        within = self.maximum_segments
        if self.horizon is not None:
            within = min(within, -(-self.horizon // self.segment_length))
        return within

    def extent(self, update: int) -> tuple[int, int]:
        """Return the real steps in a batch, and the segments of its longest row."""
        _, first, last = self.rows(update)
        lengths = last - first
        return int(lengths.sum()), -(-int(lengths.max()) // self.segment_length)

    def _within_horizon(self, steps: int, earlier: int = 0) -> int:
        """Steps of a window up to the horizon; ``earlier``: steps that precede the window."""
        return steps if self.horizon is None else min(steps, self.horizon - earlier)

    def _demonstration(self, episodes: Int[np.ndarray, " batch"], update: int) -> Segment | None:
        """A demonstration for each row, drawn with the update's number."""
        if self.demonstrations is None:
            return None
        # Without the 1, update 3 would draw with the same seed as the order of epoch 3.
        return self.demonstrations.of_others(episodes, (self.seed, update, 1))

    def rows(
        self, update: int
    ) -> tuple[Int[np.ndarray, " batch"], Int[np.ndarray, " batch"], Int[np.ndarray, " batch"]]:
        """Return episode, first and one-past-last step of each row, rows with more segments first.

        Steps are counted over the whole dataset.
        """
        # Deviation D7: a batch may span two epochs; the public code ends it with the epoch.
        numbers = np.arange(update * self.batch_size, (update + 1) * self.batch_size)
        epochs, positions = np.divmod(numbers, self.episodes)
        draws = [self._epoch(int(epoch)) for epoch in range(epochs[0], epochs[-1] + 1)]
        order = np.stack([order for order, _ in draws])[epochs - epochs[0], positions]
        shares = np.stack([shares for _, shares in draws])[epochs - epochs[0], positions]
        episodes = self._episodes[order]
        first, last = self._windows(episodes, shares)
        counts = -(-(last - first) // self.segment_length)
        # Stable: otherwise the order of rows of equal length could differ between processors.
        longest_first = np.argsort(-counts, kind="stable")
        return episodes[longest_first], first[longest_first], last[longest_first]

    def _draw_epoch(
        self, epoch: int
    ) -> tuple[Int[np.ndarray, " episodes"], Float[np.ndarray, " episodes"]]:
        """The order of an epoch, and a number in [0, 1) for the start of each window."""
        generator = np.random.default_rng([self.seed, epoch])
        order, shares = generator.permutation(self.episodes), generator.random(self.episodes)
        if self.draw == "by_length":
            # One draw from each of as many equal stretches of all steps as there are episodes.
            ends = np.cumsum(self.tensors.lengths[self._episodes])
            marks = (np.arange(self.episodes) + generator.random(self.episodes)) / self.episodes
            # These ascend, so the permutation shuffles them.
            order = np.searchsorted(ends, marks * ends[-1], side="right")[order]
        return order, shares

    def _windows(
        self, episodes: Int[np.ndarray, " batch"], shares: Float[np.ndarray, " batch"]
    ) -> tuple[Int[np.ndarray, " batch"], Int[np.ndarray, " batch"]]:
        begins, ends = self.tensors.offsets[episodes], self.tensors.offsets[episodes + 1]
        if self.start == "beginning":
            horizon = ends - begins if self.horizon is None else self.horizon
            return begins, np.minimum(ends, begins + horizon)
        # Deviation D8: unless ``draw`` says otherwise, episodes are drawn alike; Decision
        # Transformer draws them by their length.
        window = self.maximum_segments * self.segment_length
        # Only starts from which the window fits, so that no window is padded (Deviation D110).
        starts = np.maximum(ends - begins - window, 0) + 1
        first = begins + (shares * starts).astype(np.int64)
        return first, np.minimum(first + window, ends)

    def _select(self, minimum_segments: int) -> Int[np.ndarray, " episodes"]:
        # Deviation D6: all episodes are trained on; the public code holds out 20 % of them.
        counts = self.tensors.segments(self.segment_length)
        lengths = f"{counts.min()} to {counts.max()} segments of {self.segment_length} steps"
        remedy = f"the dataset holds {len(counts)} episodes of {lengths}"
        # Such a stage would train on the episodes of the stage before and look like a longer one.
        if self.maximum_segments > counts.max():
            required = f"{self.maximum_segments} x {self.segment_length} steps"
            raise UserError(f"training asks for episodes of {required}", "dataset", remedy)
        selected = counts >= minimum_segments
        if self.start == "beginning":
            selected &= counts <= self.maximum_segments
        if not selected.any():
            required = f"{minimum_segments} to {self.maximum_segments}"
            raise UserError(f"no episode has {required} segments", "dataset", remedy)
        return np.flatnonzero(selected)


def _rows_of(segment: Segment | None, rows: int | Bool[np.ndarray, " batch"]) -> Segment | None:
    return None if segment is None else segment.rows(rows)
