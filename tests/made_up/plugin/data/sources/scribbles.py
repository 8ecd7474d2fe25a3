"""Episodes that somebody wrote down as rows of actions, such as ``0 1 1 0 1``: made up too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from memdt.data.episodes import NO_SEED, EpisodeStore
from memdt.data.sources.record import Record
from memdt.data.sources.size import RawFile, Size
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.settings.schema import Frozen


class Settings(Frozen):
    """Where the rows are."""

    source: str
    file: Path = Field(description="a row of actions an episode")


def expected(settings: Settings) -> Size:
    """As many steps as there are actions."""
    return Size(tuple((len(row), 1) for row in rows(settings.file)))


def raw_files(settings: Settings) -> list[RawFile]:
    """The file itself."""
    rows(settings.file)
    return [RawFile(settings.file)]


def rows(file: Path) -> list[list[int]]:
    """The actions of each episode."""
    if not file.is_file():
        raise UserError("there is no such file", str(file), "write a row of actions an episode")
    return [[int(word) for word in line.split()] for line in file.read_text().splitlines()]


def episodes(
    task: Task, settings: Settings, files: Sequence[Path], record: Record
) -> Iterator[EpisodeStore]:
    """Walk every row once more."""
    for actions in rows(files[0]):
        environment = task.module.make(task.settings)
        seen, rewards = [environment.reset(seed=0)[0]], []
        for action in actions:
            observation, reward, terminated, truncated, _ = environment.step(action)
            seen.append(observation)
            rewards.append(reward)
        yield EpisodeStore(
            observations=np.stack(seen[:-1]),
            actions=np.array(actions),
            rewards=np.array(rewards, np.float32),
            offsets=np.array([0, len(actions)]),
            final_observations=seen[-1][None],
            terminated=np.array([terminated]),
            truncated=np.array([truncated]),
            seeds=np.array([NO_SEED]),
            groups=np.array(["all"]),
            later_steps=np.array([0]),
            later_returns=np.array([0.0]),
        )
