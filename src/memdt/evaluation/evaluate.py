"""Evaluate a checkpoint under every condition and at every length: the step behind ``evaluate``.

One job does all lengths of a checkpoint, one row an episode.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from memdt.data.access import open_episodes
from memdt.data.demonstrations import Demonstrations
from memdt.device import default_device
from memdt.environments.task import Task
from memdt.evaluation import episode_table
from memdt.evaluation.rollout import Outcomes, Protocol, Rollout
from memdt.files import write_text
from memdt.models.building import build_policy
from memdt.models.interface import Policy
from memdt.progress import Progress
from memdt.provenance import manifest, measured, write_manifest
from memdt.seeding import stream
from memdt.settings import slices
from memdt.settings.resolve import digest
from memdt.settings.schema import Condition, RunSettings
from memdt.training.checkpoints import load_checkpoint


@dataclass(frozen=True)
class EvaluationJob:
    """Which run, and where its files lie."""

    settings: RunSettings
    seed: int
    checkpoint: Path
    out: Path  # episodes.csv; its manifest lies beside it
    source_digest: str = ""
    label: str = "evaluate"
    dataset: Path | None = None  # that demonstrations come from, if the model wants any


def evaluate_run(job: EvaluationJob) -> None:
    """Play all evaluation episodes of a checkpoint and write episodes.csv."""
    started = (time.perf_counter(), time.process_time())
    policy = load_policy(job.settings, job.checkpoint)
    shown = load_demonstrations(job.settings, job.dataset)
    looks = _attention(job, policy)
    rows = [
        {**row, **looks}
        for case in _cases(job.settings)
        for row in _rows(job, policy, shown, *case)
    ]
    task = Task.of(job.settings.environment)
    write_text(job.out, episode_table.text(rows, task.outcomes, (*task.measures, *looks)))
    made = manifest(
        job.seed, str(default_device()), [job.out],
        settings_digest=digest(slices.evaluate(job.settings)), source_digest=job.source_digest,
        settings=slices.evaluate(job.settings, full=True),
    )  # fmt: skip
    write_manifest(job.out.with_name("evaluation_manifest.json"), made, measured(started))


def _attention(job: EvaluationJob, policy: Policy) -> dict[str, float]:
    """Where the policy looks, as numbers, if the settings ask for them."""
    if not job.settings.evaluation.attention:
        return {}
    from memdt.evaluation.attention_shares import attention_shares  # which plays by this module

    return attention_shares(job.settings, policy, job.seed)


def load_policy(settings: RunSettings, checkpoint: Path) -> Policy:
    """The trained policy of a run, ready to act."""
    policy = build_policy(settings, weights_seed=0)
    wanted = digest(slices.played(settings))
    load_checkpoint(policy, checkpoint, wanted, f"snakemake --cores all {checkpoint} --force")
    return policy.to(default_device()).eval()


def load_demonstrations(settings: RunSettings, dataset: Path | None) -> Demonstrations | None:
    """What the policy can be shown of the environment's dataset; None where it wants nothing."""
    wanted = slices.demonstration(settings)
    if wanted is None:
        return None
    assert dataset is not None
    remedy = f"snakemake --cores all {dataset} --force"
    episodes = open_episodes(dataset, digest(slices.dataset(settings)), remedy, default_device())
    return Demonstrations.of(episodes, wanted)


def _cases(settings: RunSettings) -> Iterator[tuple[str, Condition, int]]:
    for name, condition in settings.evaluation.conditions.items():
        for segments in condition.segments or settings.evaluation.segments:
            yield name, condition, segments


def _rows(
    job: EvaluationJob,
    policy: Policy,
    shown: Demonstrations | None,
    name: str,
    condition: Condition,
    segments: int,
) -> list[episode_table.Row]:
    """The rows of one condition at one length."""
    task, seeds = Task.of(job.settings.environment), evaluation_seeds(job.settings)
    ends = play(job.settings, policy, condition, segments, job.seed, job.label, shown)
    groups = task.groups(seeds)
    outcomes = task.judge(ends.returns, ends.terminated, groups)
    return [
        {
            "condition": name,
            "segments": segments,
            "episode": episode,
            "environment_seed": seed,
            "return": ends.returns[episode],
            "steps": ends.steps[episode],
            **{outcome: values[episode] for outcome, values in outcomes.items()},
            "group": groups[episode],
            **{measure: ends.measures[measure][episode] for measure in task.measures},
        }
        for episode, seed in enumerate(seeds)
    ]


def evaluation_seeds(settings: RunSettings) -> range:
    """The environment seeds of an evaluation's episodes."""
    first = settings.evaluation.first_seed
    return range(first, first + settings.evaluation.episodes)


def play(
    settings: RunSettings,
    policy: Policy,
    condition: Condition,
    segments: int,
    seed: int,
    label: str,
    shown: Demonstrations | None = None,
) -> Outcomes:
    """What came of all evaluation episodes that span ``segments`` segments."""
    batches, steps = seed_batches(settings), segments * settings.segment_length
    progress = Progress(f"{label} {segments} segments", steps * len(batches), unit="steps")
    ends = []
    for batch, some in enumerate(batches):
        rollout = rollout_of(settings, policy, condition, segments, seed, some, batch, shown)
        ends.append(rollout.play(list(some), progress, batch * steps))
        rollout.environment.close()
    return Outcomes.joined(ends)


def seed_batches(settings: RunSettings) -> list[range]:
    """The environment seeds, those together that are played side by side."""
    seeds = evaluation_seeds(settings)
    rows = Task.of(settings.environment).rows_at_once
    return [seeds[first : first + rows] for first in range(0, len(seeds), rows)]


def rollout_of(
    settings: RunSettings,
    policy: Policy,
    condition: Condition,
    segments: int,
    seed: int,
    seeds: Sequence[int],
    batch: int = 0,
    shown: Demonstrations | None = None,
) -> Rollout:
    """A rollout of an episode for each of ``seeds`` side by side, each of ``segments`` segments.

    ``batch`` counts those that are played one after the other, each with draws of its own. Each
    episode is shown what its environment's seed draws, whoever plays it.
    """
    evaluation = settings.evaluation
    task = Task.of(settings.environment)
    protocol = Protocol(
        segment_length=settings.segment_length,
        target_return=evaluation.target_return,
        greedy=evaluation.action_selection == "greedy",
        condition=condition,
        context_steps=_context_steps(settings, condition),
        seed=stream(seed, "rollout", evaluation.seed, segments, *([batch] if batch else [])),
    )
    vector = task.vector(len(seeds), segments * settings.segment_length)
    rollout = Rollout(policy, vector, protocol)
    if shown is not None:
        draws = [(evaluation.seed, one) for one in seeds]
        rollout.demonstration = shown.of_groups(task.groups(seeds), draws)
    return rollout


def _context_steps(settings: RunSettings, condition: Condition) -> int:
    """How far back a policy without recurrence looks."""
    segments = condition.context_segments or 1
    if condition.full_context:
        segments = settings.training.segments
    return segments * settings.segment_length
