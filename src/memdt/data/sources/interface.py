"""The interface of a source of datasets, a module of ``memdt.data.sources`` that is found by name.

The ``dataset:`` block of an environment's configuration names the source:

    dataset:
      source: played
      lengths: [30, 60, 90]

Everything downstream (segments, transitions, training, demonstrations, the dataset's card) reads
the file that ``memdt dataset`` writes, and does not depend on the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from memdt import discovery
from memdt.data.episodes import EpisodeStore
from memdt.data.sources.record import Record
from memdt.data.sources.size import RawFile, Size
from memdt.environments.task import Task
from memdt.settings.schema import Frozen

PACKAGE = "memdt.data.sources"


@runtime_checkable
class Source(Protocol):
    """A module of ``memdt.data.sources``.

    A source that reads files also defines ``raw_files(settings) -> list[RawFile]``, the files that
    it needs. This raises UserError if a file is missing that the user must provide.

    Optional, and used before any job starts:

    - ``NEEDS``: names that the environment's module must define;
    - ``seeds(settings) -> range``: environment seeds of its episodes, where no evaluation may play;
    - ``check(task, settings)``: a UserError where the files are not what the task needs, as far as
      that can be seen in a moment;
    - ``agent(settings) -> dict | None``: what shapes an agent that is trained before (None: none
      is), whose files (``data/agents.py``) follow the raw ones. The datasets of environments that
      extend each other share one, where this is the same;
    - ``origin(settings) -> str``: whose data these are, where the same task has several; results on
      data of different origin never share a column.
    """

    Settings: type[Frozen]  # the keys of `dataset:`, including `source`

    def expected(self, settings: Any) -> Size:
        """Return the expected size of the dataset."""

    def episodes(
        self, task: Task, settings: Any, files: Sequence[Path], record: Record
    ) -> Iterator[EpisodeStore]:
        """Yield the episodes in parts, because all of them may not fit in memory.

        Args:
            task: what they are episodes of.
            settings: checked by ``Settings``.
            files: the raw files, in the order of ``raw_files``; none where it has none.
            record: filled with what there is to tell beside the episodes.
        """


def load(name: str) -> Source:
    """Return the module of a source. Raises UserError with the closest match if it is unknown."""
    return cast(Source, discovery.load(PACKAGE, name))


def settings_of(dataset: dict[str, Any]) -> tuple[Source, Any]:
    """Return the source that a checked ``dataset:`` block names, and its settings."""
    source = load(dataset["source"])
    return source, source.Settings(**dataset)


def check(task: Task, dataset: dict[str, Any]) -> None:
    """Raise UserError if a checked ``dataset:`` block names files that do not fit the task."""
    source, settings = settings_of(dataset)
    getattr(source, "check", lambda task, settings: None)(task, settings)


def origin(dataset: dict[str, Any]) -> str | None:
    """Whose data a checked ``dataset:`` block names; None where the source has one kind only."""
    source, settings = settings_of(dataset)
    named: str | None = getattr(source, "origin", lambda settings: None)(settings)
    return named


def agent(dataset: dict[str, Any]) -> dict[str, Any] | None:
    """What shapes the agent that a checked ``dataset:`` block is made with; None: there is none."""
    source, settings = settings_of(dataset)
    named: dict[str, Any] | None = getattr(source, "agent", lambda settings: None)(settings)
    return named


def raw_files(dataset: dict[str, Any]) -> list[RawFile]:
    """Return the files that a dataset is made from; empty if its episodes are played."""
    source, settings = settings_of(dataset)
    files: list[RawFile] = getattr(source, "raw_files", lambda settings: [])(settings)
    return files
