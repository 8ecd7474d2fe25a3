"""Reading batches: memory and frames a second, with observations in memory and on disk.

Datasets of two sizes are written to a temporary folder; each way of reading each of them has a
process of its own, because the most memory is never forgotten.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Table
from memdt.data.access import LIMIT
from memdt.data.episode_file import write_episodes
from memdt.data.episodes import EpisodeStore
from memdt.provenance import peak_memory

ROOT = Path(__file__).parents[1]
FRAME = (84, 84, 1)  # as of Atari
EPISODE = 500  # frames
SIZES = (20, 80)  # episodes: 71 and 282 MB of frames
LONG = 1000  # episodes: 500,000 frames, 3.5 GB
BATCH, STEPS, STACK, UPDATES = 16, 90, 4, 12
NOTE = (
    f"Batches of {BATCH} windows of {STEPS} steps, {STACK} frames of {FRAME[0]} x {FRAME[1]} "
    "stacked at each. Memory in MB, that of Python and torch (before) included."
)


def measure(long: bool = False, sizes: tuple[int, ...] = SIZES) -> Table:
    """One row a size and a way of reading."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in (*sizes, LONG) if long else sizes:
            path = Path(folder) / f"{size}.h5"
            write_episodes(_parts(size), path, {"settings_digest": "benchmark"})
            rows += [_row(path, size, where) for where in ("memory", "disk")]
            path.unlink()
    return Table("Reading batches of frames", rows, NOTE)


def _parts(episodes: int) -> Iterator[EpisodeStore]:
    """Moving blocks on a plain ground: frames that compress about as well as those of a game."""
    for number in range(episodes):
        draws = np.random.default_rng(number)
        frames = np.zeros((EPISODE, *FRAME), np.uint8)
        for _ in range(12):
            positions = draws.integers(0, 76, (EPISODE, 2)).cumsum(0) // 40 % 76
            for time_step, (row, column) in enumerate(positions):
                frames[time_step, row : row + 8, column : column + 8] = draws.integers(40, 255)
        yield EpisodeStore(
            observations=frames,
            actions=draws.integers(0, 4, EPISODE),
            rewards=np.zeros(EPISODE, np.float32),
            offsets=np.array([0, EPISODE]),
            final_observations=frames[-1:],
            terminated=np.array([True]),
            truncated=np.array([False]),
            seeds=np.array([number]),
            groups=np.array(["all"]),
            later_steps=np.array([0]),
            later_returns=np.array([0.0]),
        )


def _row(path: Path, episodes: int, where: str) -> dict[str, Any]:
    limit = str(10**12 if where == "memory" else 0)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.access", str(path)],
        cwd=ROOT, check=True, capture_output=True, text=True, env={**os.environ, LIMIT: limit},
    )  # fmt: skip
    before, peak, opened, rate = (float(number) for number in done.stdout.split())
    return {
        "frames": episodes * EPISODE,
        "observations": where,
        "before": before / 1e6,
        "peak": peak / 1e6,
        "seconds to open": opened,
        "frames a second": rate,
    }


def main() -> None:
    """In the process of its own: open, read batches, print memory and speed."""
    from memdt.data.access import open_episodes
    from memdt.data.batches import Batches

    before = peak_memory()
    started = time.perf_counter()
    tensors = open_episodes(Path(sys.argv[1]), "benchmark", "", frame_stack=STACK)
    opened = time.perf_counter() - started
    batches = Batches(tensors, STEPS, BATCH, 1, EPISODE // STEPS, start="random")
    started = time.perf_counter()
    read = sum(len(batches.batch(update)[0]) * STEPS for update in range(UPDATES))
    print(before, peak_memory(), opened, read / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
