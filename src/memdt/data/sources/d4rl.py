"""A data set of D4RL, as it was published in HDF5: fetched, held against its digest, and checked.

What the file has and should not have goes into the dataset's card, with what was done about it.
Read by h5py in parts; the package ``d4rl`` gives the addresses alone. Source: Fu et al. 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from pydantic import Field, field_validator

from memdt.data import download
from memdt.data.episodes import EpisodeStore
from memdt.data.sources.d4rl_parts import borders
from memdt.data.sources.d4rl_parts.checksums import CHECKSUMS
from memdt.data.sources.d4rl_parts.steps import StepReader
from memdt.data.sources.hdf5 import opened
from memdt.data.sources.record import Record
from memdt.data.sources.size import RawFile, Size
from memdt.environments.mujoco.d4rl_tables import addresses
from memdt.environments.task import Task
from memdt.errors import UserError, closest
from memdt.progress import Progress
from memdt.settings.schema import Frozen

PART_STEPS = 50_000  # that are handed on together


class Settings(Frozen):
    """Which data set."""

    source: str
    id: str = Field(description="of the data set, such as hopper-medium-v2")
    file: str | None = Field(
        default=None,
        description="a file of this layout to read instead of the published one, whose size and "
        "digest are then not checked; null: the published one is fetched",
    )
    time_limit: int = Field(
        default=1000,
        gt=0,
        description="steps after which the environment cuts an episode; no episode may be longer",
    )

    @field_validator("id")
    @classmethod
    def _is_published(cls, value: str) -> str:
        known = addresses()
        if value not in known:
            raise ValueError(f"D4RL has no data set {value!r}; {closest(value, known)}")
        return value


def origin(settings: Settings) -> str:
    """Published data, or somebody's own file of the same layout."""
    return "published" if settings.file is None else "own file"


def raw_files(settings: Settings) -> list[RawFile]:
    """The file of the set; UserError where somebody's own is not there."""
    if settings.file is not None:
        path = Path(settings.file).expanduser()
        if not path.is_file():
            raise UserError("there is no such file", str(path), "mend dataset.file")
        return [RawFile(path)]
    address = addresses()[settings.id]
    name = address.rpartition("/")[2]
    size, digest = CHECKSUMS.get(name, (None, None))
    return [RawFile(download.fetched(name, "d4rl"), address, size, digest)]


def expected(settings: Settings) -> Size:
    """Nothing: the file says it, which need not be there yet."""
    return Size(())


def episodes(
    task: Task, settings: Settings, files: Sequence[Path], record: Record
) -> Iterator[EpisodeStore]:
    """All whole episodes in the order of the file.

    Raises:
        UserError: the file is damaged, is not that of the id, or is not one of this task.
    """
    (raw_file,) = raw_files(settings)
    download.check(raw_file)
    with opened(raw_file.path) as file:
        cut = borders.find(file, settings.time_limit)
        _refuse_other_version(settings, raw_file, file)
        reader = StepReader(file, cut, task.spaces)
        progress = Progress(f"read {settings.id}", len(cut.ends), unit="episodes")
        first = 0
        while first < len(cut.ends):
            until = cut.offsets[first] + PART_STEPS
            # At least one episode, however long it is.
            last = max(first + 1, int(np.searchsorted(cut.ends, until, side="right")))
            yield reader.part(first, last)
            first = last
            progress.update(first)
        if raw_file.sha256 is not None:
            record.notes["file"] = f"{raw_file.path.name}, SHA-256 {raw_file.sha256} as published"
        record.notes.update(reader.notes())


def _refuse_other_version(settings: Settings, raw_file: RawFile, file: h5py.File) -> None:
    """UserError where a file of the first versions lies under a v2 name, whose data are others."""
    if "/gym_mujoco_v2/" not in addresses()[settings.id]:
        return
    kind = file["observations"].dtype
    lacks = "next_observations" not in file
    if lacks or kind != np.float32:
        why = "it has no next_observations" if lacks else f"its observations are {kind}"
        what = f"this is no v2 file ({why}): earlier versions hold other data"
        raise UserError(what, str(raw_file.path), f"fetch {settings.id} again, or name its version")
