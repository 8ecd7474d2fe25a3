"""Episodes like D4RL's, played here by trained policies, or what an agent saw while it learned.

D4RL's recipe: one checkpoint plays with sampled actions, whole episodes are appended and cut at a
number of steps; medium-replay is the whole experience up to that checkpoint; medium-expert is one
set after the other. Policies are those of an agent that is trained here, from nothing, or weights
that others have published. Source: Fu et al. 2020, section 5; D4RL, ``scripts/generation/mujoco``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field, model_validator

from memdt import paths
from memdt.data import agents, download
from memdt.data.actors import READERS, Actor, read_actors
from memdt.data.agents import AgentSettings
from memdt.data.episode_file import read_episodes
from memdt.data.episodes import EpisodeStore
from memdt.data.sources.played import play
from memdt.data.sources.record import Record
from memdt.data.sources.size import RawFile, Size
from memdt.environments.task import Task
from memdt.errors import UserError, closest
from memdt.progress import Progress
from memdt.settings.schema import Frozen

FIRST_SEED = 1_000_000  # evaluation counts its seeds up from 0 and stays below
SEEDS_PER_PART = 100_000_000  # so that no two parts share an episode
MOST_ROWS = 20  # episodes that are played side by side
STATISTICS = paths.PUBLISHED / "d4rl_observation_statistics.json"
LARGEST_SHIFT = 0.25  # deviations; by the policies that made D4RL's medium sets up to 0.23 was seen
REMEDY = "memdt agent --environment NAME, or snakemake, which makes it first"


class Weights(Frozen):
    """A file that holds the weights of a policy."""

    address: str = Field(description="where it is fetched from")
    size: int | None = Field(default=None, gt=0, description="bytes; null: not checked")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the file")
    format: Literal["d4rl", "stable_baselines3"] = Field(
        description="d4rl: metadata/policy of an HDF5 file; stable_baselines3: a zip of SAC or TQC"
    )

    @property
    def name(self) -> str:
        """Of the file where it is kept: two addresses may end alike."""
        return f"{self.sha256[:8]}_{self.address.rpartition('/')[2]}"


class Part(Frozen):
    """Episodes of one kind."""

    agent: Literal["medium", "expert", "replay"] | None = Field(
        default=None,
        description="the agent's policy at its medium level or its best, or all that it saw up to "
        "its medium level; null: weights are given",
    )
    weights: Weights | None = Field(default=None, description="of a policy of somebody else")
    steps: int | None = Field(
        default=None, gt=0, description="episodes are played as long as they fit; null: replay"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Part:
        if (self.agent is None) == (self.weights is None):
            raise ValueError("a part needs exactly one of agent and weights")
        if (self.agent == "replay") != (self.steps is None):
            raise ValueError("a part needs steps, and replay has its own")
        return self


class Settings(Frozen):
    """Who plays, and how much."""

    source: str
    parts: tuple[Part, ...] = Field(min_length=1, description="one after the other")
    most_steps: int | None = Field(
        default=None, gt=0, description="of a part, for small sets; null: what each part says"
    )
    agent: AgentSettings | None = Field(
        default=None, description="that is trained for the parts that name it"
    )
    statistics: str | None = Field(
        default=None,
        description="id of the published set whose observations these are held against in the card",
    )

    def steps_of(self, part: Part) -> int:
        """Steps that a part is played for; none of what an agent saw while it learned."""
        requested = part.steps or 0
        return requested if self.most_steps is None else min(requested, self.most_steps)

    @model_validator(mode="after")
    def _one_origin(self) -> Settings:
        kinds = {part.weights is None for part in self.parts}
        if len(kinds) > 1:
            raise ValueError("dataset.parts mix an agent from nothing with published policies")
        if kinds == {True} and self.agent is None:
            raise ValueError("dataset.parts name an agent: dataset.agent is missing")
        return self


def origin(settings: Settings) -> str:
    """Whether everything was made here, or by policies of others."""
    return "from nothing" if settings.parts[0].weights is None else "public policy"


def agent(settings: Settings) -> dict[str, Any] | None:
    """What shapes the agent that is trained before; None where none is."""
    if settings.parts[0].weights is not None or settings.agent is None:
        return None
    return settings.agent.model_dump(mode="json", exclude_defaults=True)


def raw_files(settings: Settings) -> list[RawFile]:
    """The weights of others."""
    return [
        RawFile(download.fetched(w.name, "policies"), w.address, w.size, w.sha256)
        for w in (part.weights for part in settings.parts)
        if w is not None
    ]


def expected(settings: Settings) -> Size:
    """Episodes of 1,000 steps; where some end before, there are more of them.

    An agent's experience is at most as long as it learns.
    """
    most = settings.agent.steps if settings.agent is not None else 0
    counts = [settings.steps_of(part) or most for part in settings.parts]
    return Size(
        lengths=((1000, max(1, sum(counts) // 1000)),),
        simulated_steps=sum(settings.steps_of(part) for part in settings.parts),
    )


def episodes(
    task: Task, settings: Settings, files: Sequence[Path], record: Record
) -> Iterator[EpisodeStore]:
    """All parts in turn.

    Args:
        task: an environment of continuous actions that knows scores.
        settings: checked.
        files: the weights of each part, or the agent's files (``data/agents.py``).
        record: filled with who played, and how well.

    Raises:
        UserError: a file is missing, is not what its digest says, or is of another environment.
    """
    for file in raw_files(settings):
        download.check(file)
    if settings.parts[0].weights is None:
        if len(files) != len(agents.FILES):
            raise UserError("the agent that plays is not there", "dataset", REMEDY)
        policies, report = read_actors(files[1], REMEDY)
        record.notes |= _about_agent(settings, report)
    moments = Moments()
    for number, part in enumerate(settings.parts):
        if part.agent == "replay":
            stores = iter([read_episodes(files[0], None, REMEDY)])
        elif part.weights is not None:
            policy = READERS[part.weights.format](files[number])
            stores = play_until(task, policy, settings.steps_of(part), number)
        else:
            policy = policies[str(part.agent)]
            stores = play_until(task, policy, settings.steps_of(part), number)
        for store in _counted(stores, task, part, number, record):
            moments.add(store.observations)
            yield store
    if settings.statistics is not None:
        record.notes["observations"] = moments.held_against(settings.statistics)


@dataclass
class Moments:
    """The mean of observations that come in parts."""

    count: int = 0
    total: Any = 0.0

    def add(self, observations: Float[np.ndarray, "steps width"]) -> None:
        """More of them."""
        self.count += len(observations)
        self.total = self.total + observations.sum(axis=0, dtype=np.float64)

    def held_against(self, name: str) -> str:
        """Say how far the means lie from those of a published set, in its standard deviations.

        Raises UserError for a set whose statistics are not known.
        """
        sets = json.loads(STATISTICS.read_text(encoding="utf-8"))["sets"]
        if name not in sets:
            raise UserError(f"no statistics of {name!r}", str(STATISTICS), closest(name, sets))
        mean, deviation = (np.array(sets[name][key]) for key in ("mean", "deviation"))
        shifts = np.abs(self.total / self.count - mean) / deviation
        verdict = "accepted" if shifts.max() <= LARGEST_SHIFT else "NOT accepted"
        return (
            f"{verdict}: means at most {shifts.max():.3f} deviations from those of {name} "
            f"(median {np.median(shifts):.3f}); {LARGEST_SHIFT:g} are allowed"
        )


def play_until(task: Task, policy: Actor, steps: int, number: int) -> Iterator[EpisodeStore]:
    """Whole episodes with sampled actions, as many as fit into ``steps``.

    D4RL cuts the last episode at that step; its readers leave that one out, so it is not kept here.
    Raises UserError if the policy is one of other observations or actions.
    """
    spaces = task.spaces
    if policy.shape != (*(spaces.observation.shape or ()), spaces.action_outputs):
        what = f"the policy sees and does {policy.shape}, another environment's"
        raise UserError(what, f"dataset of {task.name}", "mend dataset.parts")
    progress = Progress(f"play {task.name}", steps, unit="steps")
    rows = max(1, min(MOST_ROWS, steps // 1000))
    environment = task.vector(rows)
    seed, done = FIRST_SEED + number * SEEDS_PER_PART, 0
    try:
        while done < steps:
            store = play(environment, policy, range(seed, seed + rows))
            fits = done + np.cumsum(store.lengths) <= steps
            if fits.any():
                yield store.select(fits)
            # Whatever still fitted after this one would be chosen for being short.
            if not fits.all():
                break
            done += int(store.lengths.sum())
            seed += rows
            progress.update(done)
    finally:
        environment.close()
    progress.update(steps)


def _counted(
    stores: Iterator[EpisodeStore], task: Task, part: Part, number: int, record: Record
) -> Iterator[EpisodeStore]:
    """The same, with the score of the part's episodes for the card."""
    scores: list[np.ndarray] = []
    for store in stores:
        judged = task.judge(store.returns, store.terminated, store.groups.tolist())
        scores.append(judged.get("score", store.returns))
        yield store
    if not scores:
        what = "not one episode fits into the steps of a part"
        raise UserError(what, f"dataset of {task.name}", "raise its steps, or most_steps")
    all_scores = np.concatenate(scores)
    who = part.agent or f"{part.weights.name if part.weights else ''}, sampled actions"
    error = all_scores.std() / np.sqrt(len(all_scores))
    record.notes[f"part {number + 1}"] = (
        f"{who}: {len(all_scores):,} episodes, score {all_scores.mean():.1f} +- {error:.1f}"
    )


def _about_agent(settings: Settings, report: dict[str, Any]) -> dict[str, str]:
    """How good the agent's checkpoints were when they were taken."""
    requested = f"asked for {report['asked_score']:g}"
    return {
        f"agent, {name}": f"score {report[name]['score']:.1f} after {report[name]['steps']:,} steps"
        + (f", {requested}" if name == "medium" else "")
        for name in ("medium", "expert")
    }
