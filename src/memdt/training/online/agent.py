"""Train the agent that collects an environment's datasets: the step behind the rule ``agent``.

The agent plays one episode after the other and learns after each step. Between episodes it is
evaluated, and its state is saved every minute. An episode depends only on its number, so a run that
was stopped and resumed ends with the same bytes as one that was not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memdt import stopping
from memdt.data.actors import write_actors
from memdt.data.agents import ACTORS, EVALUATION_SEED, FIRST_SEED, REPLAY, AgentSettings
from memdt.data.episode_file import write_episodes
from memdt.data.episodes import EpisodeStore
from memdt.data.sources.played import play
from memdt.environments.task import ALL, Task
from memdt.files import remove_temporaries
from memdt.progress import Progress
from memdt.training.learner import part
from memdt.training.online.td3 import Td3, Transitions
from memdt.training.resume import NAME, ResumeFile, ResumePoint, note, save_every_seconds
from memdt.training.stage_lock import hold_stage

MEDIUM, EXPERT = "medium", "expert"
PART_EPISODES = 100  # written at a time


@dataclass
class Learning:
    """Everything that changes while an agent learns."""

    settings: AgentSettings
    task: Task
    # The best policy of each kind so far, its score and its steps; NaN if there is none yet.
    kept: dict[str, list[Tensor]] = field(default_factory=dict, init=False)
    marks: dict[str, Tensor] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        spaces = self.task.spaces
        assert spaces.observation.shape is not None
        sizes = spaces.observation.shape[0], spaces.action_outputs
        self.td3 = Td3(self.settings, *sizes)
        self.transitions = Transitions(self.settings.steps, *sizes)
        # Number of episodes started, the step at which the next evaluation is due, and whether
        # the medium score has been reached.
        self.counters = torch.tensor([0, self.settings.evaluate_every, 0])
        for name in (MEDIUM, EXPERT):
            self.kept[name] = [one.detach().clone() for one in self.td3.actor]
            self.marks[name] = torch.full((2,), torch.nan, dtype=torch.float64)

    def play_episode(self, environment: Any) -> None:
        """Play one episode and learn after each step; stop where the budget of steps ends."""
        settings, random = self.settings, self.td3.random
        seen, _ = environment.reset(seed=FIRST_SEED + int(self.counters[0]))
        self.counters[0] += 1
        # The policy shares memory with the actor, so it changes with every update.
        ended, width, policy = False, self.task.spaces.action_outputs, self.td3.policy()
        while not ended and self.transitions.count < settings.steps:
            if self.transitions.count < settings.random_steps:
                action = (torch.rand(width, generator=random) * 2 - 1).numpy()
            else:
                noise = torch.randn(1, width, generator=random).numpy()
                action = policy.sample(seen[None], noise)[0]
            following, reward, terminated, truncated, _ = environment.step(action)
            self.transitions.add(seen, action, reward, following, terminated, truncated)
            if self.transitions.count > settings.random_steps:
                self.td3.update(self.transitions)
            seen, ended = following, terminated or truncated

    def evaluate(self) -> float:
        """The mean score of evaluation episodes with sampled actions."""
        count = self.settings.evaluation_episodes
        environment = self.task.vector(count)
        try:
            seeds = range(EVALUATION_SEED, EVALUATION_SEED + count)
            store = play(environment, self.td3.policy(), seeds)
        finally:
            environment.close()
        score = float(scores(self.task, store).mean())
        self.note(score)
        return score

    def note(self, score: float) -> None:
        """Keep a copy of the policy if its score makes it the medium one or the best."""
        target, steps = self.settings.medium_score, self.transitions.count
        before = float(self.marks[MEDIUM][0])
        nearer = np.isnan(before) or abs(score - target) <= abs(before - target)
        if nearer and not self.counters[2]:
            self._keep(MEDIUM, score, steps)
        # Not `>`: the first mark is NaN, with which every comparison is false.
        if not score <= float(self.marks[EXPERT][0]):
            self._keep(EXPERT, score, steps)
        self.counters[2] = int(bool(self.counters[2]) or score >= target)
        every = self.settings.evaluate_every
        self.counters[1] = (steps // every + 1) * every

    def _keep(self, name: str, score: float, steps: int) -> None:
        self.kept[name] = [one.detach().clone() for one in self.td3.actor]
        self.marks[name] = torch.tensor([score, steps], dtype=torch.float64)

    def state(self) -> dict[str, Tensor]:
        """All tensors that change while it learns."""
        tensors = {f"td3.{name}": one for name, one in self.td3.state().items()}
        tensors |= {
            f"{name}.{i}": one for name in self.kept for i, one in enumerate(self.kept[name])
        }
        tensors |= {f"mark.{name}": one for name, one in self.marks.items()}
        rows = {"rows": self.transitions.rows, "count": torch.tensor(self.transitions.count)}
        return tensors | rows | {"counters": self.counters}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what ``state`` gave, bit for bit."""
        self.td3.load(part(state, "td3"))
        for name in self.kept:
            self.kept[name] = [state[f"{name}.{i}"] for i in range(len(self.kept[name]))]
            self.marks[name] = state[f"mark.{name}"]
        self.transitions.rows, self.transitions.count = state["rows"], int(state["count"])
        self.counters = state["counters"]


@dataclass
class AgentJob:
    """The agent to train and the folder of its files."""

    task: Task
    settings: AgentSettings
    out: Path
    metadata: dict[str, Any]  # settings and digests, stored in its files
    label: str = "agent"


def train_agent(job: AgentJob) -> None:
    """Train an agent and write its experience and its policies (``data/agents.py``) to ``job.out``.

    A stopped job continues from its resume state and ends with the same bytes.
    """
    if hold_stage(job.out):
        remove_temporaries(job.out)
    learning = Learning(job.settings, job.task)
    belongs_to = {name: value for name, value in job.metadata.items() if name.endswith("_digest")}
    file = ResumeFile(job.out / NAME, belongs_to, learning, torch.device("cpu"))
    point = file.restore()
    environment = job.task.module.make(job.task.settings)
    try:
        _learn(job, learning, file, point, environment)
    finally:
        environment.close()
    _write(job, learning, point.curve.rows)
    file.remove()


def _learn(
    job: AgentJob, learning: Learning, file: ResumeFile, point: ResumePoint, environment: Any
) -> None:
    steps, transitions = job.settings.steps, learning.transitions
    if point.resumed:
        done = f"goes on from step {transitions.count:,}/{steps:,}"
        print(f"train {job.label} | {done}", file=sys.stderr, flush=True)
    progress = Progress(f"train {job.label}", steps, unit="steps", done=transitions.count)
    saved, shown = time.monotonic(), dict[str, float]()
    with stopping.noted() as signals:
        while transitions.count < steps:
            learning.play_episode(environment)
            if transitions.count >= min(int(learning.counters[1]), steps):
                shown["score"] = learning.evaluate()
                point.curve.rows.append(f"{transitions.count},{shown['score']:.3f}\n")
            point.updates = transitions.count
            progress.update(transitions.count, **shown)
            if signals or time.monotonic() - saved >= save_every_seconds():
                _save(file, point)
                saved = time.monotonic()
            if signals:
                done = f"{transitions.count:,}/{steps:,} steps are done"
                raise stopping.Stopped(signals[0], f"{done}; the same command goes on from there")


def _save(file: ResumeFile, point: ResumePoint) -> None:
    try:
        file.save(point)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error}), the one before is kept"
        note(f"{file.path}: {what} -> free some space; training goes on and tries again")


def _write(job: AgentJob, learning: Learning, curve: list[str]) -> None:
    """Write the experience up to the medium checkpoint, and both policies."""
    until = int(learning.marks[MEDIUM][1])
    write_episodes(_episodes(learning, until), job.out / REPLAY, job.metadata)
    actors = {name: learning.td3.policy(layers) for name, layers in learning.kept.items()}
    record = {
        "asked_score": job.settings.medium_score,
        "curve": [[float(cell) for cell in row.split(",")] for row in curve],
        **{
            name: {"score": float(mark[0]), "steps": int(mark[1])}
            for name, mark in learning.marks.items()
        },
    }
    write_actors(job.out / ACTORS, actors, {**job.metadata, **record})


def _episodes(learning: Learning, until: int) -> Iterator[EpisodeStore]:
    """The first ``until`` steps as episodes; evaluations happen only between episodes."""
    rows = learning.transitions.rows[:until]
    columns = [one.numpy() for one in rows.split(learning.transitions.sizes, dim=1)]
    terminated, truncated = (one[:, 0].astype(bool) for one in columns[4:])
    ends = np.flatnonzero(terminated | truncated) + 1
    if not len(ends) or ends[-1] != until:  # the budget ended within the last episode
        ends = np.append(ends, until)
    offsets = np.append(0, ends)
    for first in range(0, len(ends), PART_EPISODES):
        last = min(first + PART_EPISODES, len(ends))
        mine = slice(int(offsets[first]), int(offsets[last]))
        last_rows = ends[first:last] - 1
        yield EpisodeStore(
            observations=columns[0][mine],
            actions=columns[1][mine],
            rewards=columns[2][mine, 0],
            offsets=offsets[first : last + 1] - offsets[first],
            final_observations=columns[3][last_rows],
            terminated=terminated[last_rows],
            truncated=~terminated[last_rows],
            seeds=np.arange(FIRST_SEED + first, FIRST_SEED + last, dtype=np.int64),
            groups=np.full(last - first, ALL),
            later_steps=np.zeros(last - first, np.int64),
            later_returns=np.zeros(last - first),
        )


def scores(task: Task, store: EpisodeStore) -> Any:
    """The score of each episode."""
    return task.judge(store.returns, store.terminated, store.groups.tolist())["score"]
