"""Collect a dataset: the environment's own policy plays, episodes of each length are kept.

First step of the flow. Source: RATE section 4.2 (q_n: successful episodes that span n segments).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from jaxtyping import Shaped
from pydantic import BaseModel

from memdt.data.episodes import EpisodeStore
from memdt.environments import interface
from memdt.environments.interface import CollectionPolicy, EnvironmentModule
from memdt.errors import UserError
from memdt.progress import Progress
from memdt.settings.schema import CollectionSettings

FIRST_SEED = 1_000_000  # evaluation counts its seeds up from 0 and stays below
SEEDS_PER_COLLECTION = 1_000_000_000  # so that no two collection seeds share an episode
ATTEMPTS_PER_EPISODE = 20  # a policy that succeeds more rarely than this is given up


def collect(
    module: EnvironmentModule,
    settings: BaseModel,
    collection: CollectionSettings,
    segment_length: int,
) -> Iterator[EpisodeStore]:
    """Play ``episodes_per_segment_count`` episodes of each length in ``collection.segments``.

    They come as they are played, as many at once as the environment allows side by side: all of
    them may not fit in memory. The seeds of one length are consecutive, so an environment that
    alternates its hint from seed to seed gives balanced hints.

    Raises:
        UserError: a simulator is missing, or too few episodes succeed.
    """
    name = module.__name__.rpartition(".")[2]
    absent = interface.missing(module)
    if absent:
        raise UserError(f"{name} needs {', '.join(absent)}", "collect", f"install {absent[0]}")
    wanted = collection.episodes_per_segment_count
    progress = Progress(f"collect {name}", wanted * len(collection.segments), unit="episodes")
    seeds, done = count(FIRST_SEED + collection.seed * SEEDS_PER_COLLECTION), 0
    for segments in collection.segments:
        spanning = module.parameters_for(settings, segments, segment_length)
        player = _Player(module, spanning, segment_length, collection)
        for store in player.collect(wanted, seeds):
            done += len(store)
            progress.update(done)
            yield store


@dataclass(frozen=True)
class _Player:
    """Plays one length of an environment."""

    module: EnvironmentModule
    settings: Any
    segment_length: int
    collection: CollectionSettings

    def collect(self, wanted: int, seeds: Iterator[int]) -> Iterator[EpisodeStore]:
        """``wanted`` episodes in batches, with the next seeds."""
        attempts, have = 0, 0
        while have < wanted:
            if attempts >= ATTEMPTS_PER_EPISODE * wanted:
                self._give_up(have, attempts, wanted)
            rows = min(wanted - have, interface.rows_at_once(self.module))
            store = self._play(list(islice(seeds, rows)))
            attempts += rows
            if self.collection.only_successful:
                store = store.select(self.module.success(store.returns, store.terminated))
            have += len(store)
            yield store

    def _play(self, seeds: Sequence[int]) -> EpisodeStore:
        environment = interface.make_collection_vector(self.module, self.settings, len(seeds))
        try:
            policy = self.module.collection_policy(self.settings)
            kept = self.collection.keep_segments
            most = None if kept is None else kept * self.segment_length
            return play(environment, policy, seeds, self.segment_length, most)
        finally:
            environment.close()

    def _give_up(self, have: int, attempts: int, wanted: int) -> None:
        name = self.module.__name__.rpartition(".")[2]
        raise UserError(
            f"only {have} of {attempts} episodes succeeded, {wanted} are wanted",
            f"collect {name}",
            "make the task easier, or set collection.only_successful to false",
        )


def play(
    environment: VectorEnv,
    policy: CollectionPolicy,
    seeds: Sequence[int],
    segment_length: int,
    most: int | None = None,
) -> EpisodeStore:
    """One whole episode in every row, as a store; row i begins with ``seeds[i]``.

    Of an episode longer than ``most`` steps only these are kept; the others are counted.
    """
    observations, info = environment.reset(seed=seeds)  # type: ignore[arg-type]
    policy.reset(seeds)
    running = np.ones(len(seeds), dtype=bool)
    later_steps, later_returns = np.zeros(len(seeds), dtype=np.int64), np.zeros(len(seeds))
    steps: list[tuple[np.ndarray, ...]] = []
    while running.any():
        actions = policy.act(observations, info)
        following, rewards, terminated, truncated, info = environment.step(actions)
        if most is None or len(steps) < most:
            rows = np.flatnonzero(running)
            told = (observations, actions, rewards, *_meant(policy))
            steps.append((rows, *(values[rows] for values in told)))
        else:
            later_steps += running
            later_returns += np.where(running, rewards, 0.0)
        observations, running = following, ~(terminated | truncated)
    ends = (terminated.copy(), later_steps, later_returns)
    return _store(steps, np.asarray(seeds), ends, segment_length)


def _meant(policy: CollectionPolicy) -> tuple[Shaped[np.ndarray, "rows ..."], ...]:
    """What the policy meant to do at its last step, if it tells."""
    meant = getattr(policy, "meant", None)
    return () if meant is None else (meant,)


def _store(
    steps: list[tuple[np.ndarray, ...]],
    seeds: Shaped[np.ndarray, " rows"],
    ends: tuple[np.ndarray, np.ndarray, np.ndarray],
    segment_length: int,
) -> EpisodeStore:
    """Steps recorded side by side, put one episode after the other.

    A row that has ended takes part in no later step, so its steps are numbered from 0 on. The
    steps are used up: two copies of their observations are enough.
    """
    lengths = np.bincount(np.concatenate([rows for rows, *_ in steps]), minlength=len(seeds))
    offsets = np.append(0, np.cumsum(lengths))
    columns = [np.empty((offsets[-1], *one.shape[1:]), one.dtype) for one in steps[0][1:]]
    for time in reversed(range(len(steps))):
        rows, *values = steps.pop()
        for column, value in zip(columns, values, strict=True):
            column[offsets[rows] + time] = value
    observations, actions, rewards, *labels = columns
    return EpisodeStore(
        observations=observations,
        actions=actions,
        rewards=rewards.astype(np.float32),
        offsets=offsets,
        seeds=seeds.astype(np.int64),
        segments=-(-lengths // segment_length),
        terminated=ends[0],
        later_steps=ends[1],
        later_returns=ends[2],
        labels=labels[0] if labels else None,
    )
