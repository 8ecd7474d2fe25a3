"""Made-up episodes, and the datasets of made-up runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from memdt.data.episodes import EpisodeStore
from memdt.data.make import make_dataset
from memdt.settings.schema import DatasetSettings, RunSettings


def episodes(
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    lengths: Sequence[int],
    **arrays: Any,
) -> EpisodeStore:
    """Whole episodes of these lengths, all of one group; ``arrays`` say otherwise."""
    count = len(lengths)
    others = {
        "final_observations": np.zeros((count, *observations.shape[1:]), observations.dtype),
        "terminated": np.ones(count, dtype=bool),
        "truncated": np.zeros(count, dtype=bool),
        "seeds": np.arange(count),
        "groups": np.full(count, "all"),
        "later_steps": np.zeros(count, dtype=np.int64),
        "later_returns": np.zeros(count),
    }
    return EpisodeStore(
        observations=observations,
        actions=actions,
        rewards=rewards.astype(np.float32),
        offsets=np.append(0, np.cumsum(lengths)),
        **{**others, **arrays},
    )


def played(lengths: Sequence[int], each: int, **more: Any) -> dict[str, Any]:
    """A ``dataset:`` block: so many episodes of each of these lengths are played."""
    return {"source": "played", "lengths": tuple(lengths), "episodes_per_length": each, **more}


def make(run: RunSettings, path: Path) -> Path:
    """Write the dataset that a run asks for, as the step of the workflow does."""
    settings = DatasetSettings(environment=run.environment, dataset=run.dataset)
    make_dataset(settings, path, source_digest="s")
    return path


def drawn(
    lengths: Sequence[int], seed: int = 0, frames: bool = False, labels: bool = True
) -> EpisodeStore:
    """Episodes of random numbers in every array."""
    generator = np.random.default_rng(seed)
    steps, count = sum(lengths), len(lengths)

    def seen(rows: int) -> np.ndarray:
        if frames:
            return generator.integers(0, 256, size=(rows, 5, 6, 3), dtype=np.uint8)
        return generator.normal(size=(rows, 4)).astype(np.float32)

    return episodes(
        seen(steps),
        generator.integers(0, 4, size=steps),
        generator.normal(size=steps),
        lengths,
        final_observations=seen(count),
        terminated=generator.integers(0, 2, size=count).astype(bool),
        truncated=generator.integers(0, 2, size=count).astype(bool),
        seeds=generator.integers(0, 2**40, size=count),
        groups=generator.choice(["up", "down", "sideways"], size=count),
        later_steps=generator.integers(0, 9, size=count),
        later_returns=generator.normal(size=count),
        labels=generator.integers(0, 4, size=steps) if labels else None,
    )
