"""The verb that hands a dataset to other people's tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from memdt import paths

if TYPE_CHECKING:
    from memdt.environments.task import Task


@dataclass(frozen=True)
class Export:
    """Write the dataset of an environment as a Minari data set."""

    environment: tyro.conf.Positional[str]
    """A file under workflow/config/environments."""
    to: Path
    """The folder of Minari data sets; MINARI_DATASETS_PATH of the package minari."""
    id: str = ""
    """Of the new set; memdt/{environment}-v0 if not given."""
    scale: str = ""
    """A file under workflow/config/scales; that of config.yaml if not given."""
    author: tuple[str, ...] = ()
    """Names that the set gives as its authors."""
    author_email: tuple[str, ...] = ()
    """Where they are reached."""
    code_permalink: str = ""
    """Where the code lies that made the set."""

    def run(self) -> None:
        """Write, and say how the set is opened."""
        from memdt.data.export import export
        from memdt.environments.task import Task
        from memdt.settings import slices
        from memdt.settings.files import selection
        from memdt.settings.resolve import digest, resolve_dataset

        scale = self.scale or selection().scale
        settings = resolve_dataset(self.environment, scale)
        dataset, task = paths.dataset(scale, self.environment), Task.of(settings.environment)
        made_with = digest(slices.dataset(settings))
        about = {
            "algorithm_name": _behaviour(task, settings.dataset["source"]),
            "description": f"{self.environment} at scale {scale}, settings {made_with}, by memdt",
            "author": list(self.author),
            "author_email": list(self.author_email),
            "code_permalink": self.code_permalink,
        }
        identifier = self.id or f"memdt/{self.environment}-v0"
        about = {key: value for key, value in about.items() if value}
        folder = export(dataset, made_with, task, self.to, identifier, about)
        print(f"written to {folder}; with the package minari and MINARI_DATASETS_PATH={self.to}:")
        print(f"minari.load_dataset({identifier!r})")


def _behaviour(task: Task, source: str) -> str:
    """Who acted in the episodes: a policy that plays here, or whoever filled the source."""
    return type(task.collection_policy()).__name__ if source == "played" else source
