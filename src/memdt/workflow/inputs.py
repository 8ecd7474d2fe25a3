"""The files that datasets are made from: published ones, people's own, and those of an agent."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from memdt import discovery, paths
from memdt.data.agents import FILES
from memdt.data.sources.size import RawFile
from memdt.errors import UserError
from memdt.settings import slices
from memdt.settings.files import experiment_file, selection, variants_of
from memdt.settings.layers import available, family
from memdt.settings.resolve import SOURCES, environment_of, resolve_dataset
from memdt.settings.schema import DatasetSettings


def raw_files(settings: DatasetSettings) -> list[Path]:
    """The files that a dataset is made from; UserError if the user has yet to provide one."""
    if not discovery.defines(SOURCES, settings.dataset["source"], "raw_files"):
        return []  # known without importing the source, because every plan asks
    from memdt.data.sources import interface

    return [file.path for file in interface.raw_files(settings.dataset)]


@cache
def agent(scale: str, environment: str) -> tuple[str, dict[str, Any]] | None:
    """The environment whose agent makes this one's dataset, and what shapes the agent.

    It is the most general of those that this one extends, and itself, which ask for the same
    agent in the same task. None where the dataset needs no agent.
    """
    settings = _agent_of(environment, scale)
    if settings is None:
        return None
    alike = (name for name in family(environment) if _agent_of(name, scale) == settings)
    return next(alike), settings


def _agent_of(environment: str, scale: str) -> dict[str, Any] | None:
    settings = resolve_dataset(environment, scale)
    if not discovery.defines(SOURCES, settings.dataset["source"], "agent"):
        return None
    from memdt.data.sources import interface

    shaped = interface.agent(settings.dataset)
    task = {name: value for name, value in slices.dataset(settings).items() if name != "dataset"}
    return None if shaped is None else {**task, "agent": shaped}


def dataset_inputs(scale: str, environment: str) -> list[Path]:
    """Every file that a dataset is made from: raw ones, then those of an agent."""
    files = raw_files(resolve_dataset(environment, scale))
    trained = agent(scale, environment)
    if trained is None:
        return files
    return files + [paths.agent(scale, trained[0]) / name for name in FILES]


@cache
def fetched(path: Path) -> RawFile:
    """The file that some dataset wants at ``path``, with its address, size and digest.

    UserError where no configured environment has one there.
    """
    from memdt.data.sources import interface

    for scale in available("scales"):
        for name in available("environments"):
            settings = resolve_dataset(name, scale)
            if discovery.defines(SOURCES, settings.dataset["source"], "raw_files"):
                with suppress(UserError):  # files of another environment that are not there
                    for file in interface.raw_files(settings.dataset):
                        if file.path == path and file.address is not None:
                            return file
    remedy = "only files that an environment's dataset names are fetched"
    raise UserError("no dataset names this file", str(path), remedy)


def fetched_for(experiment: str, scale: str) -> list[RawFile]:
    """The files that must be fetched for the datasets of an experiment."""
    from memdt.data.sources import interface

    files: dict[Path, RawFile] = {}
    for name in {environment_of(experiment, one) for one in variants_of(experiment, scale)}:
        dataset = resolve_dataset(name, scale).dataset
        if discovery.defines(SOURCES, dataset["source"], "raw_files"):
            with suppress(UserError):  # people's own files that are not there: others tell that
                files |= {file.path: file for file in interface.raw_files(dataset) if file.address}
    return list(files.values())


def check_origins(experiment: str) -> None:
    """UserError where an experiment trains on published data beside data that were made again.

    A score on the one says nothing of the other, so they never share a table.
    """
    variant_of_origin: dict[str, str] = {}
    for name, variant in experiment_file(experiment).variants.items():
        if variant.checkpoint_of is None:
            origin = _origin_of(environment_of(experiment, name))
            if origin is not None:
                variant_of_origin.setdefault(origin, name)
    if len(variant_of_origin) > 1:
        what = " and ".join(f"{origin} ({name})" for origin, name in variant_of_origin.items())
        where = f"{paths.CONFIG / 'experiments' / experiment}.yaml: variants"
        remedy = "write an experiment for each (docs/data.md)"
        raise UserError(f"data of different origin in one table: {what}", where, remedy)


@cache
def _origin_of(environment: str) -> str | None:
    """Whose data an environment's dataset is, which is the same at every scale."""
    dataset = resolve_dataset(environment, selection().scale).dataset
    if not discovery.defines(SOURCES, dataset["source"], "origin"):
        return None
    from memdt.data.sources import interface

    return interface.origin(dataset)
