"""What a source of datasets offers: a module of ``memdt.data.sources``, found by its name.

A configured environment says in its ``dataset:`` block which source makes its dataset:

    dataset:
      source: played
      lengths: [30, 60, 90]

Everything downstream (segments, transitions, training, demonstrations, the dataset's card) reads
the file that ``memdt dataset`` writes and does not know where its episodes come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from memdt import discovery
from memdt.data.episodes import EpisodeStore
from memdt.data.sources.size import RawFile, Size
from memdt.environments.task import Task
from memdt.settings.schema import Frozen

PACKAGE = "memdt.data.sources"


@runtime_checkable
class Source(Protocol):
    """A module of ``memdt.data.sources``.

    A source that reads files also defines ``raw_files(settings) -> list[RawFile]``: what must be
    there before. UserError where a file that people must put there is missing.

    Optional, told before any job starts:

    - ``NEEDS``: names that the environment's module must define;
    - ``seeds(settings) -> range``: environment seeds of its episodes, where no evaluation may play;
    - ``check(task, settings)``: a UserError where the files are not what the task needs, as far as
      that can be seen in a moment.
    """

    Settings: type[Frozen]  # the keys of `dataset:`, `source` among them

    def expected(self, settings: Any) -> Size:
        """How much it will be."""

    def episodes(
        self, task: Task, settings: Any, files: Sequence[Path], attempts: Counter[str]
    ) -> Iterator[EpisodeStore]:
        """The episodes in parts, as they come: all of them may not fit in memory.

        Args:
            task: what they are episodes of.
            settings: checked by ``Settings``.
            files: the raw files, in the order of ``raw_files``; none where it has none.
            attempts: filled with how many episodes of each group were tried, if not all are kept.
        """


def load(name: str) -> Source:
    """The module of a source; an unknown name is a UserError with the closest match."""
    return cast(Source, discovery.load(PACKAGE, name))


def settings_of(dataset: dict[str, Any]) -> tuple[Source, Any]:
    """The source that a checked ``dataset:`` block names, and its settings."""
    source = load(dataset["source"])
    return source, source.Settings(**dataset)


def check(task: Task, dataset: dict[str, Any]) -> None:
    """UserError where a checked ``dataset:`` block names files that are none of this task."""
    source, settings = settings_of(dataset)
    getattr(source, "check", lambda task, settings: None)(task, settings)


def raw_files(dataset: dict[str, Any]) -> list[RawFile]:
    """The files that a checked ``dataset:`` block is made from; none where episodes are played."""
    source, settings = settings_of(dataset)
    named: list[RawFile] = getattr(source, "raw_files", lambda settings: [])(settings)
    return named
