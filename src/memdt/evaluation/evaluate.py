"""Evaluate a checkpoint under every condition and at every length: the step behind ``evaluate``.

One job evaluates all lengths of a checkpoint. Its table has one row for each episode.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memdt.data.access import open_episodes
from memdt.data.demonstrations import Demonstrations
from memdt.device import default_device
from memdt.environments.frame_stacks import stacked_vector
from memdt.environments.task import Task
from memdt.errors import UserError
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
    """A run, and the paths of its files."""

    settings: RunSettings
    seed: int
    checkpoint: Path
    out: Path  # episodes.csv; its manifest is written to the same folder
    source_digest: str = ""
    label: str = "evaluate"
    dataset: Path | None = None  # source of demonstrations, for models that use them


def evaluate_run(job: EvaluationJob) -> None:
    """Play all evaluation episodes of a checkpoint, and write episodes.csv and its manifest.

    Raises UserError if the checkpoint or the dataset does not fit the settings.
    """
    started = (time.perf_counter(), time.process_time())
    policy = load_policy(job.settings, job.checkpoint)
    demonstrations = load_demonstrations(job.settings, job.dataset, policy)
    shares, evaluation = _attention(job, policy), job.settings.evaluation
    rows = [
        {**row, **shares}
        for name, condition in evaluation.conditions.items()
        for segments in condition.segments or evaluation.segments
        for row in _rows(job, policy, demonstrations, name, condition, segments)
    ]
    task = Task.of(job.settings.environment)
    write_text(job.out, episode_table.text(rows, task.outcomes, (*task.measures, *shares)))
    content = manifest(
        job.seed, str(default_device()), [job.out],
        settings_digest=digest(slices.evaluate(job.settings)), source_digest=job.source_digest,
        settings=slices.evaluate(job.settings, full=True),
    )  # fmt: skip
    write_manifest(job.out.with_name("evaluation_manifest.json"), content, measured(started))


def _attention(job: EvaluationJob, policy: Policy) -> dict[str, float]:
    """Where the policy looks, as numbers, if the settings ask for them."""
    if not job.settings.evaluation.attention:
        return {}
    from memdt.evaluation.attention_shares import attention_shares  # which plays by this module

    return attention_shares(job.settings, policy, job.seed)


def load_policy(settings: RunSettings, checkpoint: Path) -> Policy:
    """Load the trained policy of a run in evaluation mode, on the default device.

    Raises UserError if the checkpoint is missing or does not fit the settings.
    """
    policy = build_policy(settings, weights_seed=0)
    remedy = f"snakemake --cores all {checkpoint} --force"
    load_checkpoint(policy, checkpoint, digest(slices.played(settings)), remedy)
    return policy.to(default_device()).eval()


def load_demonstrations(
    settings: RunSettings, dataset: Path | None, policy: Policy
) -> Demonstrations | None:
    """Load demonstrations from the environment's dataset; None for a model that uses none."""
    demonstration = slices.demonstration(settings)
    if demonstration is None:
        return None
    assert dataset is not None
    remedy = f"snakemake --cores all {dataset} --force"
    episodes = open_episodes(
        dataset, digest(slices.dataset(settings)), remedy, default_device(),
        frame_stack=settings.inputs.frame_stack,
    )  # fmt: skip
    if policy.inputs is not None:
        episodes = policy.inputs.episodes(episodes)
    return Demonstrations.of(episodes, demonstration)


def _rows(
    job: EvaluationJob,
    policy: Policy,
    demonstrations: Demonstrations | None,
    name: str,
    condition: Condition,
    segments: int,
) -> list[episode_table.Row]:
    """The rows of one condition at one length."""
    task, seeds = Task.of(job.settings.environment), evaluation_seeds(job.settings)
    results = play(
        job.settings, policy, condition, segments, job.seed, job.label, demonstrations
    )  # fmt: skip
    if not np.isfinite(results.returns).all():
        where = f"{job.label} {name} {segments} segments"
        raise UserError("a return is no finite number", where, "look at the environment's rewards")
    groups = task.groups(seeds)
    outcomes = task.judge(results.returns, results.terminated, groups)
    return [
        {
            "condition": name,
            "segments": segments,
            "episode": episode,
            "environment_seed": seed,
            "return": results.returns[episode],
            "steps": results.steps[episode],
            **{outcome: values[episode] for outcome, values in outcomes.items()},
            "group": groups[episode],
            **{measure: results.measures[measure][episode] for measure in task.measures},
        }
        for episode, seed in enumerate(seeds)
    ]


def evaluation_seeds(settings: RunSettings) -> range:
    """Return the environment seeds of all evaluation episodes."""
    first = settings.evaluation.first_seed
    return range(first, first + settings.evaluation.episodes)


def play(
    settings: RunSettings,
    policy: Policy,
    condition: Condition,
    segments: int,
    seed: int,
    label: str,
    demonstrations: Demonstrations | None = None,
) -> Outcomes:
    """Play all evaluation episodes that span ``segments`` segments, and return their outcomes."""
    batches, steps = seed_batches(settings), segments * settings.segment_length
    progress = Progress(f"{label} {segments} segments", steps * len(batches), unit="steps")
    outcomes = []
    for batch, seeds in enumerate(batches):
        rollout = rollout_of(
            settings, policy, condition, segments, seed, seeds, batch, demonstrations
        )
        outcomes.append(rollout.play(list(seeds), progress, batch * steps))
        rollout.environment.close()
    return Outcomes.joined(outcomes)


def seed_batches(settings: RunSettings) -> list[range]:
    """Return the environment seeds in batches that are played side by side."""
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
    demonstrations: Demonstrations | None = None,
) -> Rollout:
    """Prepare a rollout of one episode for each environment seed, side by side.

    Args:
        settings: of the run.
        policy: to evaluate.
        condition: of the evaluation.
        segments: length of each episode.
        seed: of the run.
        seeds: of the environment.
        batch: number of this batch; each batch has its own random numbers.
        demonstrations: for models that use them.
    """
    evaluation = settings.evaluation
    task = Task.of(settings.environment)
    protocol = Protocol(
        segment_length=settings.segment_length,
        target_return=evaluation.target_return,
        greedy=evaluation.action_selection == "greedy",
        condition=condition,
        context_steps=_context_steps(settings, condition),
        # Batch 0 adds no number, so that it draws as an evaluation in a single batch does.
        seed=stream(seed, "rollout", evaluation.seed, segments, *([batch] if batch else [])),
    )
    vector = stacked_vector(
        task.vector(len(seeds), segments * settings.segment_length), settings.inputs.frame_stack
    )
    rollout = Rollout(policy, vector, protocol)
    if demonstrations is not None:
        # Drawn with the environment's seed, so that all policies read the same demonstrations.
        draws = [(evaluation.seed, environment_seed) for environment_seed in seeds]
        rollout.demonstration = demonstrations.of_groups(task.groups(seeds), draws)
    return rollout


def _context_steps(settings: RunSettings, condition: Condition) -> int:
    """How many steps back a policy without recurrence looks."""
    segments = condition.context_segments or 1
    if condition.full_context:
        segments = settings.training.segments
    return segments * settings.segment_length
