"""Frames: how fast ViZDoom makes them, a dataset gives them, training and a rollout use them.

The engines are processes of their own, so what they compute is counted as well.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import torch
from gymnasium import spaces

from benchmarks.measuring import Table, executed_operations, timed
from benchmarks.sizes import SEGMENT_LENGTH, SMALL, Size, batch_of, trainer_of
from memdt.data.episode_file import read_episodes, write_episodes
from memdt.data.segments import Segment
from memdt.data.sources import played
from memdt.data.sources.record import Record
from memdt.environments import vizdoom_two_colors as two_colors
from memdt.environments.task import Task
from memdt.evaluation.rollout import Protocol, Rollout
from memdt.models.interface import SequencePolicy, Spaces
from memdt.settings.schema import Condition

SEGMENTS, ROWS = 3, 8
QUICK = two_colors.Settings(screen="256x144", width=64, height=36)
PAPER = two_colors.Settings()
NOTE = (
    f"Training: batches of {ROWS} episodes of {SEGMENTS} segments, forward and backward; share of "
    "the machine's own matrix products.\nAll else: wall time, all engines and one "
    "thread of torch; processor time counts the engines."
)


def measure(
    long: bool = False,
    rooms: tuple[two_colors.Settings, ...] = (QUICK, PAPER),
    engines: tuple[int, ...] = (1, 32),
    steps: int = 300,
) -> Table:
    """A row for each room and number of engines, one for its training, one for its rollout."""
    measured = []
    for room in rooms:
        measured += [environment(room, count, steps) for count in engines]
        measured += [*dataset(room, engines[-1]), training(SMALL, room)]
        measured.append(rollout(SMALL, room, engines[-1], steps))
    return Table("Frames", measured, NOTE)


def environment(room: two_colors.Settings, count: int, steps: int) -> dict[str, Any]:
    """Random actions in so many engines side by side."""
    vector = Task(two_colors, room).vector(count)
    actions = np.random.default_rng(0).integers(0, 5, (steps, count))
    vector.reset(seed=list(range(count)))

    def play() -> int:
        vector.reset(seed=list(range(count)))
        for action in actions:
            vector.step(action)
        return steps * count

    row = _row(f"environment, {count} engines", room, play)
    vector.close()
    return row


def dataset(room: two_colors.Settings, episodes: int) -> list[dict[str, Any]]:
    """Collecting episodes of three segments, and reading them from the file: all, then drawn."""
    task = Task(two_colors, room)
    dataset_settings = played.Settings(
        source="played",
        lengths=(SEGMENTS * SEGMENT_LENGTH,),
        episodes_per_length=episodes,
        only_successful=False,
    )
    order = np.random.default_rng(0).permutation(episodes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.h5"

        def collecting() -> int:
            write_episodes(played.episodes(task, dataset_settings, (), Record()), path, {})
            return episodes * SEGMENTS * SEGMENT_LENGTH

        def whole() -> int:
            return len(read_episodes(path, None, "").rewards)

        def drawn() -> int:
            with h5py.File(path) as file:
                ends = file["offsets"][()]
                parts = [file["observations"][ends[one] : ends[one + 1]] for one in order]
            return sum(map(len, parts))

        collecting()  # starts the engines
        return [
            _row(f"collecting {episodes} episodes", room, collecting),
            _row("reading them at once", room, whole),
            _row("reading them one by one", room, drawn),
        ]


def training(size: Size, room: two_colors.Settings) -> dict[str, Any]:
    """Updates on whole batches of frames."""
    policy, segments = (
        policy_of(size, room),
        [with_frames(s, room) for s in batch_of(SEGMENTS, ROWS)],
    )
    trainer = trainer_of(policy, ROWS)
    timing = timed(lambda: trainer.update(0, segments), 3)
    frames = ROWS * SEGMENTS * SEGMENT_LENGTH
    share = timing.share(executed_operations(lambda: trainer.update(0, segments)))
    return _columns(
        f"training, {size.label}", room, frames / timing.seconds, timing.seconds / frames, share
    )


def rollout(size: Size, room: two_colors.Settings, rows: int, steps: int) -> dict[str, Any]:
    """Whole episodes, as an evaluation plays them."""
    policy = policy_of(size, room).eval()
    segments = -(-steps // SEGMENT_LENGTH)
    protocol = Protocol(SEGMENT_LENGTH, 50.0, False, Condition(), SEGMENT_LENGTH, seed=0)

    def play() -> int:
        vector = Task(two_colors, room).vector(rows, segments * SEGMENT_LENGTH)
        ends = Rollout(policy, vector, protocol).play(range(rows))
        vector.close()
        return int(ends.steps.sum())

    play()
    return _row(f"rollout, {size.label}, {rows} rows", room, play)


def policy_of(size: Size, room: two_colors.Settings) -> SequencePolicy:
    """The model with an encoder for the room's frames."""
    shape = (room.height, room.width, 3)
    frames = Spaces(spaces.Box(0, 255, shape, np.uint8), spaces.Discrete(5))
    return size.build(frames)


def with_frames(segment: Segment, room: two_colors.Settings) -> Segment:
    """The segment with noise for frames."""
    shape = (*segment.mask.shape, room.height, room.width, 3)
    draws = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, shape, generator=draws, dtype=torch.uint8)
    return replace(segment, observations=frames)


def _row(what: str, room: two_colors.Settings, play: Callable[[], int]) -> dict[str, Any]:
    started, computed = time.perf_counter(), _processor_seconds()
    frames = play()
    wall, computed = time.perf_counter() - started, _processor_seconds() - computed
    return _columns(what, room, frames / wall, computed / frames, 0.0)


def _columns(
    what: str, room: two_colors.Settings, rate: float, seconds: float, share: float
) -> dict[str, Any]:
    return {
        "what": what,
        "frames": f"{room.screen} to {room.width}x{room.height}",
        "frames a second": rate,
        "CPU ms a frame": 1e3 * seconds,
        "share of peak": share,
    }


def _processor_seconds() -> float:
    """Of this process and its engines."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children())]
    return sum(time.user + time.system for time in times)
