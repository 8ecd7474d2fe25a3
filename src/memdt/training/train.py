"""Train one curriculum stage: the step behind the rule ``train``.

Stage k starts from the checkpoint of stage k-1 and trains on Q_k = q_1 u ... u q_k, the episodes of
at most k segments. Source: RATE section 4.2.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from memdt import discovery
from memdt.data.batches import Batches
from memdt.data.episodes import read_episodes
from memdt.data.segments import EpisodeTensors, Segment
from memdt.environments import interface as environments
from memdt.files import write_text
from memdt.models.interface import SequencePolicy, Spaces
from memdt.progress import Progress
from memdt.provenance import manifest, write_manifest
from memdt.seeding import generator, stream
from memdt.settings import slices
from memdt.settings.resolve import digest
from memdt.settings.schema import RunSettings
from memdt.training.checkpoints import load_checkpoint, save_checkpoint
from memdt.training.loop import Trainer, with_idle_segments
from memdt.training.losses import Score
from memdt.training.optimiser import AdamW
from memdt.training.schedules import learning_rate_factor

CURVE_HEADER = "stage,update,segments,loss,accuracy,learning_rate,gradient_norm\n"


@dataclass(frozen=True)
class Job:
    """Which stage of which run, and where its files lie."""

    settings: RunSettings
    stage: int
    seed: int
    dataset: Path
    start: Path | None  # checkpoint of the stage before
    out: Path
    source_digest: str = ""
    label: str = "train"


def train_stage(job: Job) -> None:
    """Train a stage; write checkpoint.safetensors, curve.csv and manifest.json to ``job.out``."""
    started = (time.perf_counter(), time.process_time())
    device = default_device()
    stage = slices.stage(job.settings, job.stage)
    batches = _batches(job, stage, device)
    policy = build_policy(job.settings, stream(job.seed, "weights")).to(device)
    if job.start is not None:
        before = digest(slices.train(job.settings, job.stage - 1))
        load_checkpoint(policy, job.start, before, f"snakemake --cores all {job.start} --force")
    updates = stage.updates or batches.updates(stage.epochs or 1)
    rows = _run(job, stage, policy, batches, updates)
    write_text(job.out / "curve.csv", CURVE_HEADER + "".join(rows))
    metadata = _metadata(job)
    save_checkpoint(policy, job.out / "checkpoint.safetensors", metadata)
    figures = manifest(started=started, seed=job.seed, device=str(device), **metadata)
    figures |= {"parameters": sum(p.numel() for p in policy.parameters()), "updates": updates}
    figures["updates_per_second"] = updates / figures["wall_seconds"]
    write_manifest(job.out / "manifest.json", figures)


def _metadata(job: Job) -> dict[str, Any]:
    content = slices.train(job.settings, job.stage)
    return {
        "settings_digest": digest(content),
        "source_digest": job.source_digest,
        "settings": content,
    }


def default_device() -> torch.device:
    """A GPU where there is one, else the CPU; MEMDT_DEVICE says otherwise."""
    wanted = os.environ.get("MEMDT_DEVICE", "")
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))


def build_policy(settings: RunSettings, weights_seed: int) -> SequencePolicy:
    """The model named in the settings, its weights drawn from the seed."""
    module = discovery.load("memdt.models", settings.model["name"])
    environment = environments.load(settings.environment.module)
    made = environment.make(environment.Settings(**settings.environment.parameters))
    spaces = Spaces(made.observation_space, made.action_space)
    made.close()
    torch.manual_seed(weights_seed)
    policy: SequencePolicy = module.build(module.Settings(**settings.model), spaces)
    return policy


def _batches(job: Job, stage: slices.Stage, device: torch.device) -> Batches:
    remedy = f"snakemake --cores all {job.dataset} --force"
    store = read_episodes(job.dataset, digest(slices.collect(job.settings)), remedy)
    return Batches(
        EpisodeTensors.from_store(store, device),
        segment_length=job.settings.segment_length,
        batch_size=job.settings.training.batch_size,
        minimum_segments=1,
        maximum_segments=stage.segments,
        start=job.settings.training.start,
        seed=stream(job.seed, "batches", stage.number),
    )


def _segments(
    job: Job, stage: slices.Stage, policy: SequencePolicy, batches: Batches
) -> Callable[[int], list[Segment]]:
    """A function from the update number to the segments that one update is trained on."""
    if policy.whole_episodes:
        return batches.windows
    idle = job.settings.training.idle_segments

    def segments_of(update: int) -> list[Segment]:
        draws = generator(job.seed, "idle", stage.number, update)
        return with_idle_segments(batches.batch(update), idle, draws)

    return segments_of


def _run(
    job: Job, stage: slices.Stage, policy: SequencePolicy, batches: Batches, updates: int
) -> list[str]:
    """All updates of the stage; returns the rows of the curve."""
    training = job.settings.training
    torch.manual_seed(stream(job.seed, "dropout", stage.number))
    optimiser = _optimiser(policy, training)
    noise = generator(job.seed, "memory noise", stage.number, device=str(default_device()))
    trainer = Trainer(policy.train(), training, optimiser, noise)
    segments_of = _segments(job, stage, policy, batches)
    progress = Progress(f"{job.label} stage {job.stage}/{job.settings.stages}", updates)
    rows: list[str] = []
    since: Score | None = None
    for update in range(updates):
        factor = learning_rate_factor(
            update, updates, training.warmup_updates, training.schedule,
            training.final_learning_rate_fraction,
        )  # fmt: skip
        for group in optimiser.param_groups if optimiser else ():
            group["lr"] = training.learning_rate * factor
        score, norm = trainer.update(segments_of(update))
        score = Score(score.loss.detach(), score.correct, score.steps)
        since = score if since is None else since + score
        progress.update(update + 1, loss=float(score.mean_loss), accuracy=score.accuracy)
        if (update + 1) % training.log_every == 0 or update + 1 == updates:
            loss, accuracy = float(since.mean_loss), since.accuracy
            rate = training.learning_rate * factor
            rows.append(
                f"{stage.number},{update + 1},{stage.segments},{loss:.6g},{accuracy:.6g},"
                f"{rate:.6g},{norm:.6g}\n"
            )
            since = None
    return rows


def _optimiser(policy: SequencePolicy, training: Any) -> AdamW | None:
    """AdamW, anew in each stage (Deviation D17); None for a policy without weights."""
    parameters = list(policy.parameters())
    if not parameters:
        return None
    return AdamW(
        parameters,
        lr=training.learning_rate,
        betas=(training.beta_1, training.beta_2),
        weight_decay=training.weight_decay,
    )
