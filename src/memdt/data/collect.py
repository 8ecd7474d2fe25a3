"""Collect a dataset: the environment's own policy plays, episodes of each length are kept.

First step of the flow. Source: RATE section 4.2 (q_n: successful episodes that span n segments).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from jaxtyping import Shaped
from pydantic import BaseModel

from memdt.data.episodes import NOT_PLAYED, EpisodeStore
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
    attempts: Counter[str] | None = None,
) -> Iterator[EpisodeStore]:
    """Play ``episodes_per_segment_count`` episodes of each length in ``collection.segments``.

    They come as they are played, as many at once as the environment allows side by side: all of
    them may not fit in memory. ``attempts`` is filled with how many were played of each group;
    what does not come has failed.

    Seeds are taken in order. Of each group of the environment as many episodes are kept as among
    that many consecutive seeds, whichever group fails more often: an environment that alternates
    its hint or its task from seed to seed gives balanced ones.

    Raises:
        UserError: a simulator is missing, or too few episodes succeed.
    """
    name = module.__name__.rpartition(".")[2]
    absent = interface.missing(module)
    if absent:
        raise UserError(f"{name} needs {', '.join(absent)}", "collect", f"install {absent[0]}")
    attempts = Counter() if attempts is None else attempts
    wanted = collection.episodes_per_segment_count
    progress = Progress(f"collect {name}", wanted * len(collection.segments), unit="episodes")
    seed, done = FIRST_SEED + collection.seed * SEEDS_PER_COLLECTION, 0
    for segments in collection.segments:
        spanning = module.parameters_for(settings, segments, segment_length)
        player = _Player(module, spanning, segment_length, collection, seed, attempts)
        for store in player.collect(wanted):
            done += len(store)
            progress.update(done)
            yield store
        seed = player.seed


@dataclass
class _Player:
    """Plays one length of an environment."""

    module: EnvironmentModule
    settings: Any
    segment_length: int
    collection: CollectionSettings
    seed: int  # the next one
    attempts: Counter[str]  # of all lengths
    later: list[float] = field(default_factory=list)  # earned after the steps kept, if played

    def collect(self, wanted: int) -> Iterator[EpisodeStore]:
        """``wanted`` episodes in batches."""
        lacking = Counter(self._groups(range(self.seed, self.seed + wanted)))
        quotas, tried = lacking.copy(), Counter[str]()
        while lacking:
            self._give_up_where_hopeless(lacking, tried, quotas)
            seeds = self._next(lacking)
            store = self._play(seeds)
            groups = self._groups(seeds)
            tried.update(groups)
            self.attempts.update(groups)
            if self.collection.only_successful:
                store = store.select(self.module.success(store.returns, store.terminated))
            lacking -= Counter(self._groups(store.seeds.tolist()))
            yield store

    def _groups(self, seeds: Sequence[int]) -> list[str]:
        return interface.groups(self.module, self.settings.model_dump(), seeds)

    def _next(self, lacking: Counter[str]) -> list[int]:
        """The next seeds to play side by side: no more of a group than it lacks."""
        room, seeds = lacking.copy(), list[int]()
        rows = min(lacking.total(), interface.rows_at_once(self.module))
        while len(seeds) < rows:
            group = self._groups([self.seed])[0]
            if room[group]:
                room[group] -= 1
                seeds.append(self.seed)
            self.seed += 1
        return seeds

    def _play(self, seeds: Sequence[int]) -> EpisodeStore:
        environment = interface.make_collection_vector(self.module, self.settings, len(seeds))
        try:
            policy = self.module.collection_policy(self.settings)
            kept = self.collection.keep_segments
            most = None if kept is None else kept * self.segment_length
            to_end = self.collection.played_to_end
            enough = to_end is not None and len(self.later) >= to_end
            store = play(environment, policy, seeds, self.segment_length, most, stop=enough)
        finally:
            environment.close()
        return self._as_others(store)

    def _as_others(self, store: EpisodeStore) -> EpisodeStore:
        """Who was stopped is taken to earn later what others did in the mean (Deviation D52)."""
        self.later += store.later_returns[store.later_steps > 0].tolist()
        mean = np.mean(self.later) if self.later else 0.0
        later = np.where(store.to_end, store.later_returns, mean)
        return replace(store, later_returns=later)

    def _give_up_where_hopeless(
        self, lacking: Counter[str], attempts: Counter[str], quotas: Counter[str]
    ) -> None:
        name = self.module.__name__.rpartition(".")[2]
        for group, short in lacking.items():
            if attempts[group] >= ATTEMPTS_PER_EPISODE * quotas[group]:
                which = "" if len(quotas) == 1 else f" of {group}"
                have = quotas[group] - short
                raise UserError(
                    f"only {have} of {attempts[group]} episodes{which} succeeded, "
                    f"{quotas[group]} are wanted",
                    f"collect {name}",
                    "make the task easier, or set collection.only_successful to false",
                )


def play(
    environment: VectorEnv,
    policy: CollectionPolicy,
    seeds: Sequence[int],
    segment_length: int,
    most: int | None = None,
    stop: bool = False,
) -> EpisodeStore:
    """One whole episode in every row, as a store; row i begins with ``seeds[i]``.

    Of an episode longer than ``most`` steps only these are kept; the others are counted, or with
    ``stop`` not played, which ``later_steps`` tells.
    """
    observations, info = environment.reset(seed=seeds)  # type: ignore[arg-type]
    policy.reset(seeds)
    running = np.ones(len(seeds), dtype=bool)
    later_steps, later_returns = np.zeros(len(seeds), dtype=np.int64), np.zeros(len(seeds))
    steps: list[tuple[np.ndarray, ...]] = []
    while running.any() and not (stop and len(steps) == most):
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
    later_steps[running] = NOT_PLAYED
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
