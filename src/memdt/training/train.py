"""Train one curriculum stage: the step behind the rule ``train``.

Stage k starts from the checkpoint of stage k-1 and trains on Q_k = q_1 u ... u q_k, the episodes
with at most k segments. Source: RATE section 4.2.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from memdt.data.access import open_episodes, read_ahead
from memdt.data.episode_file import read_metadata, read_statistics
from memdt.device import default_device
from memdt.files import remove_temporaries, sha256, write_text
from memdt.models.building import build_policy
from memdt.models.interface import Policy
from memdt.models.parts.adapters import Trainable, merge
from memdt.provenance import manifest, measured, write_manifest
from memdt.seeding import stream
from memdt.settings import slices
from memdt.settings.resolve import digest
from memdt.settings.schema import RunSettings
from memdt.training.checkpoints import load_checkpoint, save_checkpoint
from memdt.training.course import Course
from memdt.training.freezing import freeze
from memdt.training.learner import StageContext, build_learner
from memdt.training.resume import NAME, ResumeFile
from memdt.training.stage_lock import hold_stage

# The attributes of a dataset that say which one it is.
OF_DATASET = ("settings_digest", "source_digest", "content_digest")


@dataclass(frozen=True)
class TrainingJob:
    """One stage of a run, and the paths of its files."""

    settings: RunSettings
    stage: int
    seed: int
    dataset: Path
    start: Path | None  # checkpoint of the stage before, or of the run that the first starts from
    out: Path
    source_digest: str = ""
    label: str = "train"


def train_stage(job: TrainingJob) -> None:
    """Train a stage, and write checkpoint.safetensors, curve.csv and manifest.json to ``job.out``.

    A stage that was stopped continues from its resume state and ends with the same bytes. Raises
    UserError if the dataset or the starting checkpoint does not fit the settings, or if another
    process trains the stage.
    """
    started = (time.perf_counter(), time.process_time())
    # Without a lock, temporary files may be those of another process that is alive.
    if hold_stage(job.out):
        remove_temporaries(job.out)
    device = default_device()
    be_deterministic(device)
    stage, training = slices.stage(job.settings, job.stage), job.settings.training
    episodes = open_episodes(
        job.dataset, digest(slices.dataset(job.settings)), _remedy(job.dataset), device,
        training.data_fraction, best_fraction=training.best_fraction,
        frame_stack=job.settings.inputs.frame_stack,
    )  # fmt: skip
    policy = build_policy(job.settings, stream(job.seed, "weights")).to(device)
    if job.start is not None:
        start_digest = digest(slices.started(job.settings, job.stage))
        load_checkpoint(policy, job.start, start_digest, _remedy(job.start))
    if policy.inputs is not None:
        if job.start is None:
            policy.inputs.fit(read_statistics(job.dataset, _remedy(job.dataset)), episodes)
        episodes = policy.inputs.episodes(episodes)
    # Each use of torch's generator has a seed of its own, so that one cannot shift another.
    torch.manual_seed(stream(job.seed, "adapters", stage.number))
    trained = freeze(policy, training)
    learner = build_learner(policy, StageContext(job.settings, stage, job.seed, device))
    sampler = learner.sampler(episodes, stage)
    updates = stage.updates or sampler.updates(stage.epochs or 1)
    batch_of = read_ahead(sampler) if episodes.on_disk else sampler
    torch.manual_seed(stream(job.seed, "dropout", stage.number))
    what = f"{job.label} stage {job.stage}/{job.settings.stages}"
    file = ResumeFile(job.out / NAME, _belongs_to(job, device), learner, device)
    course = Course(what, stage, updates, training.log_every, learner, batch_of, file, started)
    course.run()
    merge(policy)
    _write(job, course, policy, trained, started)
    file.remove()


def _write(
    job: TrainingJob,
    course: Course,
    policy: Policy,
    trained: Trainable,
    started: tuple[float, float],
) -> None:
    """Write curve, checkpoint and manifest of a finished stage."""
    point = course.point
    metadata: dict[str, Any] = {
        "settings_digest": digest(slices.train(job.settings, job.stage)),
        "source_digest": job.source_digest,
        "settings": slices.train(job.settings, job.stage, full=True),
    }
    files = [job.out / "checkpoint.safetensors", job.out / "curve.csv"]
    write_text(job.out / "curve.csv", point.curve.text(course.learner.columns))
    save_checkpoint(policy, job.out / "checkpoint.safetensors", metadata)
    content = manifest(
        job.seed, str(default_device()), files,
        stage=job.stage, parameters=sum(p.numel() for p in policy.parameters()),
        trained_parameters=trained.trainable, updates=course.updates,
        **vars(course.learner.effort(course.updates)), **metadata,
    )  # fmt: skip
    figures = measured(started, before=point.seconds, resumed=point.resumed, updates=course.updates)
    write_manifest(job.out / "manifest.json", content, figures)


def be_deterministic(device: torch.device) -> None:
    """Make a GPU compute sums in a fixed order, unless MEMDT_DETERMINISTIC is 0."""
    if device.type == "cuda" and os.environ.get("MEMDT_DETERMINISTIC", "1") != "0":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # must precede CUDA's start
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Filling memory costs a kernel for every new tensor, and no code here reads it unwritten.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _remedy(path: Path) -> str:
    return f"snakemake --cores all {path} --force"


def _belongs_to(job: TrainingJob, device: torch.device) -> dict[str, Any]:
    """Everything that shapes the result of a stage; a resume state must agree in all of it."""
    dataset = read_metadata(job.dataset, _remedy(job.dataset))
    return {
        "settings": digest(slices.train(job.settings, job.stage)),
        "source": job.source_digest,
        "seed": job.seed,
        "stage": job.stage,
        "start": None if job.start is None else sha256(job.start),
        "dataset": [dataset.get(name) for name in OF_DATASET],
        "device": device.type,
    }
