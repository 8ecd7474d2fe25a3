"""The verb that hands what was made here to other people's tools: one target each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from memdt import paths


@dataclass(frozen=True)
class Dataset:
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
        source = settings.dataset["source"]
        played_here = source == "played"  # else whoever filled the source has acted
        about = {
            "algorithm_name": type(task.collection_policy()).__name__ if played_here else source,
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


@dataclass(frozen=True)
class Policy:
    """Write a trained policy to a folder that memdt.load takes on any machine."""

    trained: tyro.conf.Positional[Path]
    """The folder of a run: data/runs/{scale}/{experiment}/{variant}/seed_{n}."""
    to: Path
    """The new folder."""

    def run(self) -> None:
        """Write, and say how the policy is loaded."""
        from memdt.evaluation.policy_export import export_policy

        folder = export_policy(self.trained, self.to)
        print(f"written to {folder}; in Python: memdt.load({str(folder)!r})")


@dataclass(frozen=True)
class Croissant:
    """Describe the dataset of an environment in the format of MLCommons."""

    environment: tyro.conf.Positional[str]
    """A file under workflow/config/environments."""
    out: Path | None = None
    """data/datasets/{scale}/{environment}.croissant.json if not given."""
    scale: str = ""
    """A file under workflow/config/scales; that of config.yaml if not given."""

    def run(self) -> None:
        """Write, and say where."""
        from memdt.data.croissant import write_croissant
        from memdt.settings.files import selection

        scale = self.scale or selection().scale
        dataset = paths.dataset(scale, self.environment)
        out = self.out or dataset.with_suffix(".croissant.json")
        write_croissant(dataset, out, self.environment, scale)
        print(f"written to {out}")


@dataclass(frozen=True)
class Crate:
    """Pack a finished report with the workflow that made it as a Workflow Run RO-Crate."""

    to: Path
    """The new folder."""
    scale: str = ""
    """A file under workflow/config/scales; that of config.yaml if not given."""

    def run(self) -> None:
        """Pack, and say where."""
        from memdt.settings.files import selection
        from memdt.workflow import plan
        from memdt.workflow.crate import write_crate

        scale = self.scale or selection().scale
        folder = write_crate(scale, tuple(plan.default_experiments(scale)), self.to)
        print(f"written to {folder}")


@dataclass(frozen=True)
class Curves:
    """Write the training curves of a run as TensorBoard events."""

    trained: tyro.conf.Positional[Path]
    """The folder of a run."""
    to: Path
    """The folder that TensorBoard is given as --logdir."""

    def run(self) -> None:
        """Write, and say how the curves are looked at."""
        from memdt.training.tensorboard import write_events

        count = write_events(self.trained, self.to)
        print(f"{count} values written; tensorboard --logdir {self.to}")


@dataclass(frozen=True)
class Export:
    """Hand datasets, trained policies and results to other people's tools."""

    target: tyro.conf.OmitSubcommandPrefixes[
        Annotated[Dataset, tyro.conf.subcommand("dataset")]
        | Annotated[Policy, tyro.conf.subcommand("policy")]
        | Annotated[Croissant, tyro.conf.subcommand("croissant")]
        | Annotated[Crate, tyro.conf.subcommand("crate")]
        | Annotated[Curves, tyro.conf.subcommand("curves")]
    ]

    def run(self) -> None:
        """Write the target."""
        self.target.run()
