"""What a dataset holds: episodes, lengths, returns and success by length and group, its origin.

Read by `report/render.py`. An environment may say more about its datasets: a function
``dataset_card(settings, store) -> dict[str, str]`` in its module adds lines of its own. Its store
holds observations and actions as they lie in the file: index them, they are not loaded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from memdt import paths
from memdt.data.episodes import EpisodeStore, read_metadata
from memdt.environments import interface
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


def dataset_card(name: str, module: str, scale: str) -> DatasetCard:
    """The card of a configured environment's dataset; UserError where its file is damaged."""
    path = paths.dataset(scale, name)
    if not path.is_file():
        return DatasetCard(name, str(path), collected=False)
    remedy = f"snakemake {path} --force --cores all"
    metadata = read_metadata(path, remedy)
    try:
        with h5py.File(path, "r") as file:
            store = _lean(file)
            lines, lengths = _lines(store, module, path, metadata), by_length(store, module)
            groups = by_group(store, module, metadata)
    except (OSError, KeyError) as error:
        raise UserError(f"damaged dataset ({error})", str(path), remedy) from error
    return DatasetCard(
        name,
        str(path),
        collected=True,
        lines=lines,
        by_length=lengths.to_dict("records"),
        by_group=groups.to_dict("records") if len(groups) > 1 else [],
        settings=flatten(json.loads(metadata.get("settings", "{}"))),
    )


def _lean(file: h5py.File) -> EpisodeStore:
    """The episodes with observations and actions left in the file: frames may exceed memory."""
    names = [one.name for one in fields(EpisodeStore) if one.name in file]
    wide = ("observations", "actions", "labels")
    return EpisodeStore(**{name: file[name] if name in wide else file[name][()] for name in names})


def by_length(store: EpisodeStore, module: str) -> pd.DataFrame:
    """One row for each number of segments, with the columns BY_LENGTH; lengths are in steps."""
    frame = pd.DataFrame(
        {
            "segments": store.segments,
            "length": store.lengths,
            "return": _told(store, store.returns),
            "success": _told(
                store, interface.load(module).success(store.returns, store.terminated)
            ),
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


def _told(
    store: EpisodeStore, values: Shaped[np.ndarray, " episodes"]
) -> Float[np.ndarray, " episodes"]:
    """What came of each episode; not a number where it was not played to its end."""
    return np.where(store.to_end, np.asarray(values, dtype=float), np.nan)


def by_group(store: EpisodeStore, module: str, metadata: dict[str, str]) -> pd.DataFrame:
    """One row for each group, with the columns BY_GROUP; ``attempts``: episodes played for it."""
    parameters = json.loads(metadata.get("settings", "{}")).get("parameters", {})
    frame = pd.DataFrame(
        {
            "group": interface.groups(interface.load(module), parameters, store.seeds.tolist()),
            "length": store.played,
            "return": _told(store, store.returns),
        }
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
    tried = json.loads(metadata.get("attempts", "{}"))
    # Of a dataset from before attempts were counted nothing is known.
    grouped["attempts"] = [tried.get(group) for group in grouped["group"]]
    return grouped[list(BY_GROUP)]


def _lines(
    store: EpisodeStore, module: str, path: Path, metadata: dict[str, str]
) -> dict[str, str]:
    environment = interface.load(module)
    collected = json.loads(metadata.get("settings", "{}"))
    settings = environment.Settings(**collected.get("parameters", {}))
    policy = environment.collection_policy(settings)
    own = getattr(environment, "dataset_card", None)
    return {
        "episodes": f"{len(store):,}",
        "steps": f"{len(store.rewards):,}",
        "observation": f"{store.observations.dtype} {list(store.observations.shape[1:])}",
        "action": f"{store.actions.dtype} {list(store.actions.shape[1:])}",
        "behaviour policy": _policy_words(policy),
        "size on disk": f"{path.stat().st_size / 1e6:,.2f} MB",
        **_simulators(metadata),
        "settings digest": metadata.get("settings_digest", "none"),
        "source digest": metadata.get("source_digest", "none"),
        **({} if own is None else own(settings, store)),
    }


def _simulators(metadata: dict[str, str]) -> dict[str, str]:
    """With which releases the episodes were played, where the environment has a simulator."""
    versions = json.loads(metadata.get("versions", "{}"))
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return {"simulator": told} if told else {}


def _policy_words(policy: object) -> str:
    """The name of the policy that collected, with the first sentence of what it says of itself."""
    told = " ".join((type(policy).__doc__ or "").partition("\n")[0].split())
    return f"{type(policy).__name__}: {told}" if told else type(policy).__name__
