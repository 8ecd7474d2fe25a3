"""Make a dataset: the step behind the rule ``dataset``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memdt.data.episode_file import write_episodes
from memdt.data.sources import interface as sources
from memdt.data.sources.record import Record
from memdt.environments.task import Task
from memdt.files import remove_temporaries
from memdt.provenance import versions
from memdt.settings import slices
from memdt.settings.resolve import digest
from memdt.settings.schema import DatasetSettings


def make_dataset(
    settings: DatasetSettings, out: Path, raw: Sequence[Path] = (), source_digest: str = ""
) -> None:
    """Write the episodes of a source to ``out``, atomically.

    Args:
        settings: of the environment and the dataset.
        out: the HDF5 file.
        raw: the files that the dataset is made from; by default those that the source names.
        source_digest: of the code, to be stored in the file.

    Raises:
        UserError: the source cannot make the dataset, for example because a file is damaged.
    """
    task = Task.of(settings.environment)
    source, source_settings = sources.settings_of(settings.dataset)
    remove_temporaries(out.parent, out.name)  # of a process that was killed
    record = Record()  # filled while the episodes are written; attributes are written after them
    if (origin := sources.origin(settings.dataset)) is not None:
        record.notes["data origin"] = origin
    metadata = {
        "settings": slices.dataset(settings, full=True),
        "settings_digest": digest(slices.dataset(settings)),
        "source_digest": source_digest,
        "spaces": task.spaces.as_json(),
        "versions": versions(task.module.REQUIRES),
        "attempts": record.attempts,
        "notes": record.notes,
    }
    files = raw or [file.path for file in sources.raw_files(settings.dataset)]
    write_episodes(source.episodes(task, source_settings, files, record), out, metadata)
