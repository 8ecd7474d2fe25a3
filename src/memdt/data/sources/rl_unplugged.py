"""Episodes of DQN agents on 46 Atari games, as RL Unplugged has them: TFRecord, frames as PNG.

Both layouts are read: shuffled episodes (``episode_id``), and those that know the checkpoint that
played them (``checkpoint_idx``, ``episode_idx``). Source: Gulcehre et al. 2020; the datasets
``rlu_atari`` and ``rlu_atari_checkpoints`` of TensorFlow Datasets.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field

from memdt.data import download
from memdt.data.episodes import NO_SEED, EpisodeStore
from memdt.data.sources.atari_parts.checks import (
    are_clipped,
    check_game,
    check_task,
    refuse_clipped,
)
from memdt.data.sources.atari_parts.tfrecord import AGAIN, Feature, example, records
from memdt.data.sources.record import Record
from memdt.data.sources.size import RawFile, Size
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.progress import Progress
from memdt.settings.schema import Frozen

ADDRESS = "https://storage.googleapis.com/rl_unplugged"
FOLDERS = {"episodes": "atari_episodes", "checkpoints": "atari_episodes_v2"}
SHARDS = 100
NEEDED = ("observations", "actions", "clipped_rewards", "unclipped_rewards", "discounts")


class Settings(Frozen):
    """Which files, and which of their episodes."""

    source: str
    game: str = Field(examples=["Breakout"], description="as the files name it: their folder")
    run: int = Field(default=1, ge=1, le=5, description="one of five agents")
    layout: Literal["episodes", "checkpoints"] = Field(
        default="episodes", description="shuffled episodes, or those that know their checkpoint"
    )
    shards: tuple[int, ...] = Field(
        default=(0,), min_length=1, description="numbers of the files, 0 to 99"
    )
    checkpoints: tuple[int, int] | None = Field(
        default=None, description="first and last checkpoint to take, 0 to 49; null: all"
    )
    steps: int = Field(default=500_000, gt=0, description="episodes are taken up to so many steps")
    # Deviation D129: "unclipped" rewards of these files are clipped as well.
    rewards: Literal["clipped", "raw"] = Field(
        default="clipped", description="raw: the files' unclipped rewards, where they are so"
    )
    files: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="files of this layout to read instead of the published ones; null: these are "
        "fetched",
    )


def origin(settings: Settings) -> str:
    """Published data, or somebody's own files of the same layout."""
    return "published" if settings.files is None else "own file"


def raw_files(settings: Settings) -> list[RawFile]:
    """The shards; UserError where somebody's own are not there."""
    if settings.files is not None:
        paths = [Path(name).expanduser() for name in settings.files]
        for path in paths:
            if not path.is_file():
                raise UserError("there is no such file", str(path), "mend dataset.files")
        return [RawFile(path) for path in paths]
    folder, run = FOLDERS[settings.layout], f"run_{settings.run}"
    names = [f"{run}-{shard:05d}-of-{SHARDS:05d}" for shard in settings.shards]
    subfolder = f"rl_unplugged/{folder}/{settings.game}"
    return [
        RawFile(download.fetched(name, subfolder), f"{ADDRESS}/{folder}/{settings.game}/{name}")
        for name in names
    ]


def expected(settings: Settings) -> Size:
    """So many steps; how long episodes are, the files say."""
    return Size(((1000, max(1, settings.steps // 1000)),))


def check(task: Task, settings: Settings) -> None:
    """UserError where files are those of another game."""
    check_game(task, settings.game)


def episodes(
    task: Task, settings: Settings, files: Sequence[Path], record: Record
) -> Iterator[EpisodeStore]:
    """Episodes in the order of the files, up to the number of steps.

    Raises:
        UserError: a file is damaged, or of another game, layout, frame size or kind of rewards.
    """
    check_game(task, settings.game)
    progress = Progress(f"read {settings.game}", settings.steps, unit="steps")
    done = taken = cut = 0
    clipped = settings.rewards == "raw"  # until a reward beyond -1 and 1 is found
    for path in files:
        for number, content in enumerate(records(path)):
            try:
                features = example(content)
            except (ValueError, UnicodeDecodeError) as error:
                what = f"record {number + 1} holds no episode ({error})"
                raise UserError(what, str(path), AGAIN) from None
            if not _is_chosen(features, settings, path):
                continue
            store = _store(task, settings, features, path)
            clipped = clipped and are_clipped(store.rewards)
            yield store
            taken, done = taken + 1, done + len(store.rewards)
            cut += not store.terminated[0]
            progress.update(min(done, settings.steps))
            if done >= settings.steps:
                break
        if done >= settings.steps:
            break
    if not taken:
        raise UserError("no episode of these checkpoints", str(files[0]), "name other shards")
    if clipped:
        refuse_clipped(files[0])  # the dataset is not kept
    record.notes["files"] = f"{settings.game}, run {settings.run}, {len(files)} shards"
    record.notes["rewards"] = f"{settings.rewards}; the published files hold clipped ones"
    record.notes["episodes that were cut off"] = f"{cut} of {taken}"


def _is_chosen(features: dict[str, Feature], settings: Settings, path: Path) -> bool:
    """Whether an episode is of the checkpoints asked for."""
    if settings.checkpoints is None:
        return True
    number = features.get("checkpoint_idx")
    if number is None or len(number) != 1:
        what = "its episodes do not know their checkpoint"
        remedy = "leave dataset.checkpoints out, or set dataset.layout: checkpoints"
        raise UserError(what, str(path), remedy)
    low, high = settings.checkpoints
    return low <= int(number[0]) <= high


def _store(
    task: Task, settings: Settings, features: dict[str, Feature], path: Path
) -> EpisodeStore:
    """One episode, checked."""
    missing = [name for name in NEEDED if name not in features]
    if missing:
        what = f"an episode without {', '.join(missing)}"
        raise UserError(what, str(path), "this is no file of RL Unplugged's Atari episodes")
    images, steps = features["observations"], len(features["actions"])
    lengths = {name: len(features[name]) for name in NEEDED}
    if set(lengths.values()) != {steps} or not steps or not isinstance(images, list):
        raise UserError(f"an episode of different lengths: {lengths}", str(path), AGAIN)
    actions, clipped, raw, discounts = (np.asarray(features[name]) for name in NEEDED[1:])
    _check_return(features, clipped, path)
    frames = _decoded(images, path)
    check_task(task, path, frames.shape[1:3], actions)
    terminated = bool(discounts[-1] == 0)
    return EpisodeStore(
        observations=frames,
        actions=actions.astype(np.int64),
        rewards=(raw if settings.rewards == "raw" else clipped).astype(np.float32),
        offsets=np.array([0, steps]),
        final_observations=frames[-1:],  # none is stored after the last action
        terminated=np.array([terminated]),
        truncated=np.array([not terminated]),
        seeds=np.array([NO_SEED], dtype=np.int64),
        groups=np.array(task.groups([0])),
        later_steps=np.zeros(1, dtype=np.int64),
        later_returns=np.zeros(1),
    )


def _check_return(features: dict[str, Feature], clipped: np.ndarray, path: Path) -> None:
    """UserError where rewards do not add up to what the episode says of itself."""
    stated = features.get("clipped_episode_return")
    if stated is None or len(stated) != 1:
        return
    total = float(clipped.sum())
    if abs(float(stated[0]) - total) > 1e-3:
        what = (
            f"an episode says its return is {float(stated[0]):g}, its rewards add up to {total:g}"
        )
        raise UserError(what, str(path), AGAIN)


def _decoded(images: list[bytes], path: Path) -> UInt8[np.ndarray, "steps height width 1"]:
    """Grey frames of one size."""
    try:
        # PNG alone, because Pillow would otherwise try all its decoders on a damaged frame.
        frames = [np.asarray(Image.open(io.BytesIO(one), formats=["PNG"])) for one in images]
        stacked = np.stack(frames)
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"a frame that is no PNG of its size ({error})", str(path), AGAIN) from None
    if stacked.ndim != 3 or stacked.dtype != np.uint8:
        shape, kind = stacked.shape[1:], stacked.dtype
        raise UserError(f"frames are {kind} {shape}, not grey ones of 8 bits", str(path), AGAIN)
    return stacked[..., None]
