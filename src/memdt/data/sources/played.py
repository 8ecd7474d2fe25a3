"""Episodes played by the environment's own policy, a fixed number of each length.

Source: RATE section 4.2 (q_n: successful episodes that span n segments).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from gymnasium.vector import VectorEnv
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import Field, model_validator

from memdt.data.episodes import NOT_PLAYED, EpisodeStore
from memdt.data.sources.record import Record
from memdt.data.sources.size import Size
from memdt.environments.interface import CollectionPolicy
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.progress import Progress
from memdt.settings.schema import Frozen, Seed

NEEDS = ("collection_policy",)  # of the environment's module
FIRST_SEED = 1_000_000  # evaluation seeds count up from 0 and stay below
SEEDS_PER_COLLECTION = 1_000_000_000  # so that two collection seeds never share an episode
ATTEMPTS_PER_EPISODE = 20  # collection gives up on a policy that succeeds less often than this


class Settings(Frozen):
    """The episodes of a dataset, and how they are collected."""

    source: str
    lengths: tuple[Annotated[int, Field(gt=0, le=10_000_000)], ...] = Field(
        min_length=1, description="lengths of the episodes, in steps"
    )
    episodes_per_length: int = Field(
        gt=0, le=10_000_000, description="number of episodes of each length"
    )
    only_successful: bool = Field(default=True, description="keep only episodes that succeed")
    keep_steps: int | None = Field(
        default=None,
        gt=0,
        description="number of first steps to keep of each episode; it is still played to its end "
        "unless played_to_end is set; null: all",
    )
    played_to_end: int | None = Field(
        default=None,
        gt=0,
        description="smallest number of episodes that are played to their end; the others stop "
        "after the kept steps, and their later return is the mean of the former; null: all",
    )
    seed: Seed = Field(default=0, description="seed of the collection")

    @model_validator(mode="after")
    def _something_is_kept(self) -> Settings:
        if self.played_to_end is not None and self.keep_steps is None:
            raise ValueError("dataset.played_to_end needs dataset.keep_steps")
        if self.played_to_end is not None and self.only_successful:
            raise ValueError(
                "dataset.played_to_end needs dataset.only_successful: false, since success is only "
                "known at the end"
            )
        return self


def expected(settings: Settings) -> Size:
    """Return the size of the dataset. Simulated steps do not include episodes that fail."""
    count = settings.episodes_per_length
    kept = [min(length, settings.keep_steps or length) for length in settings.lengths]
    whole = min(count, settings.played_to_end or count)
    return Size(
        lengths=tuple((length, count) for length in kept),
        simulated_steps=whole * sum(settings.lengths) + (count - whole) * sum(kept),
    )


def seeds(settings: Settings) -> range:
    """The environment seeds that may be played, however many episodes fail."""
    first = FIRST_SEED + settings.seed * SEEDS_PER_COLLECTION
    tries = (ATTEMPTS_PER_EPISODE + 1) * settings.episodes_per_length
    return range(first, first + tries * len(settings.lengths))


def episodes(
    task: Task, settings: Settings, files: Sequence[Path], record: Record
) -> Iterator[EpisodeStore]:
    """Play ``episodes_per_length`` episodes of each length, and yield them in batches.

    A batch has as many episodes as the environment can play side by side.

    Seeds are used in order. Groups have the shares that they have among consecutive seeds, even if
    episodes of one group fail more often. If an environment alternates its hint or task from seed
    to seed, the dataset is therefore balanced.

    Raises:
        UserError: a simulator is missing, or too few episodes succeed.
    """
    if task.missing:
        remedy = f"install {task.missing[0]}"
        raise UserError(f"{task.name} needs {', '.join(task.missing)}", "dataset", remedy)
    count = settings.episodes_per_length
    progress = Progress(f"play {task.name}", count * len(settings.lengths), unit="episodes")
    seed, done = FIRST_SEED + settings.seed * SEEDS_PER_COLLECTION, 0
    for length in settings.lengths:
        player = _Player(task.lengthened(length), settings, seed, record.attempts)
        for store in player.collect(count):
            done += len(store)
            progress.update(done)
            yield store
        seed = player.seed


@dataclass
class _Player:
    """Plays episodes of one length."""

    task: Task
    settings: Settings
    seed: int  # the next one
    attempts: Counter[str]  # of all lengths
    later: list[float] = field(default_factory=list)  # returns after the kept steps, if played

    def collect(self, count: int) -> Iterator[EpisodeStore]:
        """Yield ``count`` episodes in batches. Raises UserError if too few episodes succeed."""
        lacking = Counter(self.task.groups(range(self.seed, self.seed + count)))
        quotas, tried = lacking.copy(), Counter[str]()
        while lacking:
            self._check_success_rate(lacking, tried, quotas)
            store = self._play(self._next_seeds(lacking))
            groups = store.groups.tolist()
            tried.update(groups)
            self.attempts.update(groups)
            if self.settings.only_successful:
                store = store.select(self.task.success(store.returns, store.terminated))
            lacking -= Counter(store.groups.tolist())
            yield store

    def _next_seeds(self, lacking: Counter[str]) -> list[int]:
        """The next seeds to play side by side, no more of a group than it lacks."""
        remaining, seeds = lacking.copy(), list[int]()
        rows = min(lacking.total(), self.task.rows_at_once)
        while len(seeds) < rows:
            group = self.task.groups([self.seed])[0]
            if remaining[group]:
                remaining[group] -= 1
                seeds.append(self.seed)
            self.seed += 1
        return seeds

    def _play(self, seeds: Sequence[int]) -> EpisodeStore:
        environment = self.task.collection_vector(len(seeds))
        to_end = self.settings.played_to_end
        enough = to_end is not None and len(self.later) >= to_end
        try:
            policy = self.task.collection_policy()
            store = play(environment, policy, seeds, self.settings.keep_steps, stop=enough)
        finally:
            environment.close()
        store = replace(store, groups=np.array(self.task.groups(seeds)))
        # Deviation D52: the later return of a stopped episode is the mean of the others.
        self.later += store.later_returns[store.later_steps > 0].tolist()
        mean = np.mean(self.later) if self.later else 0.0
        return replace(store, later_returns=np.where(store.to_end, store.later_returns, mean))

    def _check_success_rate(
        self, lacking: Counter[str], attempts: Counter[str], quotas: Counter[str]
    ) -> None:
        for group, missing in lacking.items():
            if attempts[group] >= ATTEMPTS_PER_EPISODE * quotas[group]:
                which = "" if len(quotas) == 1 else f" of {group}"
                successes = quotas[group] - missing
                raise UserError(
                    f"only {successes} of {attempts[group]} episodes{which} succeeded, "
                    f"{quotas[group]} are needed",
                    f"dataset of {self.task.name}",
                    "make the task easier, or set dataset.only_successful to false",
                )


def play(
    environment: VectorEnv,
    policy: CollectionPolicy,
    seeds: Sequence[int],
    most: int | None = None,
    stop: bool = False,
) -> EpisodeStore:
    """Play one whole episode in every row, and return them as a store.

    Args:
        environment: a vector environment with a row for each seed.
        policy: chooses the actions.
        seeds: of the episodes.
        most: steps to keep of each episode; later steps only count in ``later_steps`` and
            ``later_returns``. None: all are kept.
        stop: stop after ``most`` steps, and set ``later_steps`` to ``NOT_PLAYED``.
    """
    observations, info = environment.reset(seed=seeds)  # type: ignore[arg-type]
    policy.reset(seeds)
    running = np.ones(len(seeds), dtype=bool)
    later_steps, later_returns = np.zeros(len(seeds), dtype=np.int64), np.zeros(len(seeds))
    final = np.empty_like(observations)
    steps: list[tuple[np.ndarray, ...]] = []
    while running.any() and not (stop and len(steps) == most):
        actions = policy.act(observations, info)
        next_observations, rewards, terminated, truncated, info = environment.step(actions)
        if most is None or len(steps) < most:
            rows = np.flatnonzero(running)
            meant = getattr(policy, "meant", None)
            columns = (observations, actions, rewards, *(() if meant is None else (meant,)))
            steps.append((rows, *(values[rows] for values in columns)))
            final[rows] = next_observations[rows]
        else:
            later_steps += running
            later_returns += np.where(running, rewards, 0.0)
        observations, running = next_observations, ~(terminated | truncated)
    later_steps[running] = NOT_PLAYED
    ends = _Ends(final, terminated.copy(), truncated.copy(), later_steps, later_returns)
    return _store(steps, np.asarray(seeds), ends)


@dataclass(frozen=True)
class _Ends:
    """The end of the episode in each row."""

    observations: Shaped[np.ndarray, "rows ..."]  # after the last kept step
    terminated: Bool[np.ndarray, " rows"]
    truncated: Bool[np.ndarray, " rows"]
    later_steps: Int[np.ndarray, " rows"]
    later_returns: Float[np.ndarray, " rows"]


def _store(
    steps: list[tuple[np.ndarray, ...]], seeds: Shaped[np.ndarray, " rows"], ends: _Ends
) -> EpisodeStore:
    """Rearrange steps recorded side by side into one episode after the other.

    A row that has ended is in no later step, so the number of a step is also its number within the
    episode. The list is emptied on the way, so that memory never holds more than two copies of the
    observations.
    """
    lengths = np.bincount(np.concatenate([rows for rows, *_ in steps]), minlength=len(seeds))
    offsets = np.append(0, np.cumsum(lengths))
    columns = [np.empty((offsets[-1], *rows.shape[1:]), rows.dtype) for rows in steps[0][1:]]
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
        final_observations=ends.observations,
        terminated=ends.terminated,
        truncated=ends.truncated,
        seeds=seeds.astype(np.int64),
        groups=np.full(len(seeds), ""),
        later_steps=ends.later_steps,
        later_returns=ends.later_returns,
        labels=labels[0] if labels else None,
    )
