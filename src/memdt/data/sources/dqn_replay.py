"""The published logs of DQN agents on Atari (DQN Replay), in the layout of Dopamine.

Which of their 50 million steps are used is a setting: all episodes in order, or 500,000 steps drawn
as Decision Transformer draws them, with its slips or without. Rewards of these logs are clipped,
frames are single. Source: Agarwal et al. 2020; Chen et al. 2021, ``create_dataset.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from memdt.data import download
from memdt.data.episodes import NO_SEED, EpisodeStore
from memdt.data.sources.atari_parts.checks import (
    are_clipped,
    check_game,
    check_task,
    refuse_clipped,
)
from memdt.data.sources.atari_parts.shards import ARRAYS, COUNTED, Shard, Steps, visits
from memdt.data.sources.record import Record
from memdt.data.sources.size import RawFile, Size
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.progress import Progress
from memdt.settings.schema import Frozen

ADDRESS = "https://storage.googleapis.com/atari-replay-datasets/dqn"
SHARDS = 50
PER_VISIT = {"decision_transformer": 10, "decision_transformer_as_released": 11}


class Settings(Frozen):
    """Which logs, and which steps of them."""

    source: str
    game: str = Field(examples=["Breakout"], description="as the logs name it: its folder")
    run: int = Field(default=1, ge=1, le=5, description="one of five agents")
    shards: tuple[int, ...] = Field(
        default=tuple(range(SHARDS)), min_length=1, description="numbers of the files, 0 to 49"
    )
    rows: int = Field(default=100_000, gt=0, description="first rows of a shard that are used")
    steps: int = Field(default=500_000, gt=0, description="episodes are taken up to so many steps")
    # Deviation D128: what the released code does and what it means to do.
    sampling: Literal["in_order", "decision_transformer", "decision_transformer_as_released"] = (
        Field(
            default="decision_transformer",
            description="in_order: shard after shard; decision_transformer: ten episodes of a "
            "shard that is drawn, and so on; as_released: with the slips of its code, which are "
            "eleven episodes, zeros before an episode as steps, ends of dropped episodes kept",
        )
    )
    rewards: Literal["clipped", "raw"] = Field(
        default="clipped", description="what the files are believed to hold; raw is checked"
    )
    folder: str | None = Field(
        default=None,
        description="a folder with files of this layout, as Dopamine names them, instead of the "
        "published ones; null: these are fetched",
    )
    seed: int = Field(default=0, ge=0, description="of the shards that are drawn")


def origin(settings: Settings) -> str:
    """Published data, or somebody's own files of the same layout."""
    return "published" if settings.folder is None else "own file"


def raw_files(settings: Settings) -> list[RawFile]:
    """All arrays of all shards; UserError where somebody's own are not there."""
    files = []
    for shard in settings.shards:
        for array in ARRAYS:
            prefix = "" if array in COUNTED else "$store$_"
            name = f"{prefix}{array}_ckpt.{shard}.gz"
            if settings.folder is not None:
                path = Path(settings.folder).expanduser() / name
                if not path.is_file():
                    raise UserError("there is no such file", str(path), "mend dataset.folder")
                files.append(RawFile(path))
                continue
            address = f"{ADDRESS}/{settings.game}/{settings.run}/replay_logs/{name}"
            subfolder = f"dqn_replay/{settings.game}/{settings.run}"
            files.append(RawFile(download.fetched(f"{array}.{shard}.gz", subfolder), address))
    return files


def expected(settings: Settings) -> Size:
    """So many steps; how long episodes are, the files say."""
    return Size(((1000, max(1, settings.steps // 1000)),))


def check(task: Task, settings: Settings) -> None:
    """UserError where logs are those of another game."""
    check_game(task, settings.game)


def episodes(
    task: Task, settings: Settings, files: Sequence[Path], record: Record
) -> Iterator[EpisodeStore]:
    """Whole episodes, up to the number of steps.

    Raises:
        UserError: a file is damaged, or of another game, frame size or kind of rewards.
    """
    check_game(task, settings.game)
    reader = _Reader(task, settings, files)
    progress = Progress(f"read {settings.game}", settings.steps, unit="steps")
    done = 0
    for store in reader.stores():
        yield store
        done += len(store.rewards)
        progress.update(min(done, settings.steps))
        if done >= settings.steps:
            break
    if not done:
        remedy = "raise dataset.rows, or set dataset.sampling to in_order"
        raise UserError("too few whole episodes in these rows", str(files[0]), remedy)
    record.notes |= reader.notes(done)


@dataclass
class _Reader:
    """Goes through the shards."""

    task: Task
    settings: Settings
    files: Sequence[Path]
    dropped: int = 0  # visits that reached the last row
    kept_ends: list[int] = field(default_factory=list)  # of a dropped visit, from its first step
    unfinished: int = 0  # rows that belong to no whole episode

    def __post_init__(self) -> None:
        count, padding = len(ARRAYS), self.settings.sampling.endswith("as_released")
        self.shards = [
            Shard(
                dict(zip(ARRAYS, self.files[first : first + count], strict=True)),
                self.settings.rows,
                padding,
            )
            for first in range(0, len(self.files), count)
        ]
        for shard in self.shards:
            check_task(self.task, shard.path, shard.frame, shard.actions)
        if self.settings.rewards == "raw" and all(are_clipped(one.rewards) for one in self.shards):
            refuse_clipped(self.shards[0].path)
        self.borders = []
        for shard in self.shards:
            whole, left = shard.episodes()
            self.borders.append(whole)
            self.unfinished += left

    def stores(self) -> Iterator[EpisodeStore]:
        """An episode at a time, in the order of the settings."""
        if self.settings.sampling == "in_order":
            for shard, borders in zip(self.shards, self.borders, strict=True):
                for first, last in borders:
                    yield self._store(shard.read(first, last))
            return
        counts = np.array([len(borders) for borders in self.borders])
        each = PER_VISIT[self.settings.sampling]
        for number, first, last in visits(counts, each, self.settings.seed):
            if last < 0:
                self.dropped += 1
                self._keep_ends(number, first)
                continue
            for border in self.borders[number][first:last]:
                yield self._store(self.shards[number].read(*border))

    def _keep_ends(self, number: int, first: int) -> None:
        """The released code forgets the steps of a dropped visit, but not where episodes ended."""
        if self.settings.sampling.endswith("as_released"):
            rest = self.borders[number][first:]
            self.kept_ends = [last - rest[0][0] for _, last in rest]

    def _store(self, steps: Steps) -> EpisodeStore:
        """An episode; where ends were kept, it is cut at them, and each part is an episode."""
        length = len(steps.rewards)
        cuts = [0, *(end for end in self.kept_ends if end < length), length]
        self.kept_ends = []
        parts = len(cuts) - 1
        rewards = steps.rewards.astype(np.float32)
        if self.settings.rewards == "clipped":
            rewards = np.sign(rewards)
        finals = np.stack([steps.observations[min(end, length - 1)] for end in cuts[1:]])
        return EpisodeStore(
            observations=steps.observations,
            actions=steps.actions,
            rewards=rewards,
            offsets=np.array(cuts),
            final_observations=finals,  # of the last part its last frame: none is stored after it
            terminated=np.arange(parts) == parts - 1,
            truncated=np.arange(parts) != parts - 1,
            seeds=np.full(parts, NO_SEED, dtype=np.int64),
            groups=np.array(self.task.groups([0] * parts)),
            later_steps=np.zeros(parts, dtype=np.int64),
            later_returns=np.zeros(parts),
        )

    def notes(self, steps: int) -> dict[str, str]:
        """Lines of the card."""
        s = self.settings
        notes: dict[str, Any] = {
            "logs": f"{s.game}, run {s.run}, first {s.rows:,} rows of {len(self.shards)} shards",
            "sampling": f"{s.sampling}, {steps:,} steps",
            "rewards": f"{s.rewards}; the published logs hold clipped ones",
            "rows that belong to no whole episode": f"{self.unfinished:,}, left out",
        }
        if self.dropped:
            notes["visits that reached the last row of a shard"] = f"{self.dropped}, left out"
        return notes
