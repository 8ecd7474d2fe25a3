"""What a dataset holds: episodes, lengths, returns and success by length and group, its origin.

Read by `report/render.py`. An environment may say more about its datasets: a function
``dataset_card(settings, collected) -> dict[str, str]`` in its module adds lines of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from memdt import paths
from memdt.data.episode_checks import is_as_written
from memdt.data.episode_file import WIDE, names_of, read_metadata
from memdt.data.episodes import EpisodeStore
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.settings.layers import flatten

BY_LENGTH = ("segments", "episodes", "shortest", "longest", "mean_return", "success")
BY_GROUP = ("group", "episodes", "attempts", "shortest", "longest", "mean_return")


@dataclass(frozen=True)
class DatasetCard:
    """One dataset for the report; ``lines`` are names and values, the tables lists of rows."""

    name: str
    path: str
    collected: bool
    lines: dict[str, str] = field(default_factory=dict)
    by_length: list[dict[str, Any]] = field(default_factory=list)
    by_group: list[dict[str, Any]] = field(default_factory=list)  # empty where there are none
    settings: dict[str, Any] = field(default_factory=dict)  # dotted keys


def dataset_card(name: str, module: str, scale: str, segment_length: int) -> DatasetCard:
    """The card of an environment's dataset; empty without a file, UserError for a damaged one.

    Args:
        name: a file under workflow/config/environments.
        module: its module under src/memdt/environments.
        scale: a file under workflow/config/scales.
        segment_length: steps in a segment, by which the episodes are counted.
    """
    path = paths.dataset(scale, name)
    if not path.is_file():
        return DatasetCard(name, str(path), collected=False)
    remedy = f"snakemake {path} --force --cores all"
    metadata = read_metadata(path, remedy)
    settings = json.loads(metadata.get("settings", "{}"))
    task = Task.named(module, settings.get("parameters", {}))
    try:
        # Without HDF5's lock: some network disks have none, and a finished file never changes.
        with h5py.File(path, "r", locking=False) as file:
            if is_as_written(file) is False:
                raise UserError("damaged dataset (not what was written)", str(path), remedy)
            # Observations and actions stay in the file, because frames may exceed the memory.
            names = [one.name for one in fields(EpisodeStore) if one.name in file]
            read = {key: file[key] if key in WIDE else file[key][()] for key in names}
            store = EpisodeStore(**read | {"groups": names_of(file)[read["groups"]]})
            lines = _lines(store, task, path, metadata)
            lengths = by_length(store, task, segment_length)
            groups = by_group(store, json.loads(metadata.get("attempts", "{}")))
    except (OSError, KeyError) as error:
        raise UserError(f"damaged dataset ({error})", str(path), remedy) from error
    return DatasetCard(
        name,
        str(path),
        collected=True,
        lines=lines,
        # None where nothing is known, which the page shows as a dash.
        by_length=lengths.astype(object).where(lengths.notna(), None).to_dict("records"),
        by_group=groups.to_dict("records") if len(groups) > 1 else [],
        settings=flatten(settings),
    )


def by_length(store: EpisodeStore, task: Task, segment_length: int) -> pd.DataFrame:
    """One row for each number of segments, with the columns BY_LENGTH; lengths are in steps.

    ``success`` is not a number where the environment does not know it.
    """
    knows = "success" in task.outcomes
    success = (
        task.success(store.returns, store.terminated) if knows else np.full(len(store), np.nan)
    )
    frame = pd.DataFrame(
        {
            "segments": -(-store.lengths // segment_length),
            "length": store.lengths,
            "return": _of_whole(store, store.returns),
            "success": _of_whole(store, success),
        }
    )
    return (
        frame.groupby("segments")
        .agg(
            episodes=("length", "size"),
            shortest=("length", "min"),
            longest=("length", "max"),
            mean_return=("return", "mean"),
            success=("success", "mean"),
        )
        .reset_index()
    )


def _of_whole(
    store: EpisodeStore, values: Shaped[np.ndarray, " episodes"]
) -> Float[np.ndarray, " episodes"]:
    """What came of each episode; not a number where it was not played to its end."""
    return np.where(store.to_end, np.asarray(values, dtype=float), np.nan)


def by_group(store: EpisodeStore, attempts: Mapping[str, int]) -> pd.DataFrame:
    """One row for each group, with the columns BY_GROUP; ``attempts``: episodes played for it."""
    frame = pd.DataFrame(
        {"group": store.groups, "length": store.played, "return": _of_whole(store, store.returns)}
    )
    grouped = (
        frame.groupby("group")
        .agg(
            episodes=("length", "size"),
            shortest=("length", "min"),
            longest=("length", "max"),
            mean_return=("return", "mean"),
        )
        .reset_index()
    )
    # Of episodes that came from a file nobody knows how many were tried.
    grouped["attempts"] = [attempts.get(group) for group in grouped["group"]]
    return grouped[list(BY_GROUP)]


def _lines(store: EpisodeStore, task: Task, path: Path, metadata: dict[str, str]) -> dict[str, str]:
    own = getattr(task.module, "dataset_card", None)
    dataset = json.loads(metadata.get("settings", "{}")).get("dataset", {})
    return {
        "episodes": f"{len(store):,}",
        "steps": f"{len(store.rewards):,}",
        "observation": f"{store.observations.dtype} {list(store.observations.shape[1:])}",
        "action": f"{store.actions.dtype} {list(store.actions.shape[1:])}",
        "source": str(dataset.get("source", "unknown")),
        **_behaviour_policy(task, dataset),
        **_score(task, store),
        **json.loads(metadata.get("notes", "{}")),
        "size on disk": f"{path.stat().st_size / 1e6:,.2f} MB",
        **_simulators(metadata),
        "settings digest": metadata.get("settings_digest", "none"),
        "source digest": metadata.get("source_digest", "none"),
        **({} if own is None else own(task.settings, store)),
    }


def _score(task: Task, store: EpisodeStore) -> dict[str, str]:
    """How good the episodes are, where the environment has a scale for that."""
    if "score" not in task.outcomes:
        return {}
    whole = store.to_end
    groups = store.groups[whole].tolist()
    scores = task.judge(store.returns[whole], store.terminated[whole], groups)["score"]
    return {"mean score": f"{scores.mean():.1f}"}


def _simulators(metadata: dict[str, str]) -> dict[str, str]:
    """With which releases the episodes were played, where the environment has a simulator."""
    versions = json.loads(metadata.get("versions", "{}"))
    simulators = ", ".join(f"{name} {version}" for name, version in versions.items())
    return {"simulator": simulators} if simulators else {}


def _behaviour_policy(task: Task, dataset: Mapping[str, Any]) -> dict[str, str]:
    """Who played, where episodes were played here, with the first sentence of its docstring."""
    if dataset.get("source") != "played":
        return {}
    policy = type(task.collection_policy())
    sentence = " ".join((policy.__doc__ or "").partition("\n")[0].split())
    return {"behaviour policy": f"{policy.__name__}: {sentence}" if sentence else policy.__name__}
