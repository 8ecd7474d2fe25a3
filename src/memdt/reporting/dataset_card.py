"""What a dataset holds: episodes, lengths, returns and success by number of segments, and its origin.

Read by `reporting/render.py`. An environment may say more about its datasets: a function
``dataset_card(store) -> dict[str, str]`` in its module adds lines of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from memdt import paths
from memdt.data.episodes import EpisodeStore, read_episodes, read_metadata
from memdt.environments import interface
from memdt.settings.layers import flatten

BY_LENGTH = ("segments", "episodes", "shortest", "longest", "mean_return", "success")


@dataclass(frozen=True)
class DatasetCard:
    """One dataset for the report; ``lines`` are names and values, ``by_length`` a row a length."""

    name: str
    path: str
    collected: bool
    lines: dict[str, str] = field(default_factory=dict)
    by_length: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)  # dotted keys


def dataset_card(name: str, module: str, scale: str) -> DatasetCard:
    """The card of a configured environment's dataset; UserError where its file is damaged."""
    path = paths.dataset(scale, name)
    if not path.is_file():
        return DatasetCard(name, str(path), collected=False)
    remedy = f"snakemake {path} --force --cores all"
    metadata = read_metadata(path, remedy)
    store = read_episodes(path, None, remedy)
    return DatasetCard(
        name,
        str(path),
        collected=True,
        lines=_lines(store, module, path, metadata),
        by_length=by_length(store, module).to_dict("records"),
        settings=flatten(json.loads(metadata.get("settings", "{}"))),
    )


def by_length(store: EpisodeStore, module: str) -> pd.DataFrame:
    """One row for each number of segments, with the columns BY_LENGTH; lengths are in steps."""
    frame = pd.DataFrame(
        {
            "segments": store.segments,
            "length": store.lengths,
            "return": store.returns,
            "success": np.asarray(interface.load(module).success(store.returns), dtype=float),
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


def _lines(store: EpisodeStore, module: str, path: Path, metadata: dict[str, str]) -> dict[str, str]:
    environment = interface.load(module)
    policy = environment.collection_policy(environment.Settings())
    own = getattr(environment, "dataset_card", None)
    return {
        "episodes": f"{len(store):,}",
        "steps": f"{len(store.rewards):,}",
        "observation": f"{store.observations.dtype} {list(store.observations.shape[1:])}",
        "action": f"{store.actions.dtype} {list(store.actions.shape[1:])}",
        "behaviour policy": _policy_words(policy),
        "size on disk": f"{path.stat().st_size / 1e6:,.2f} MB",
        "settings digest": metadata.get("settings_digest", "none"),
        "source digest": metadata.get("source_digest", "none"),
        **({} if own is None else own(store)),
    }


def _policy_words(policy: object) -> str:
    """The name of the policy that collected, with the first sentence of what it says of itself."""
    told = " ".join((type(policy).__doc__ or "").partition("\n")[0].split())
    return f"{type(policy).__name__}: {told}" if told else type(policy).__name__
