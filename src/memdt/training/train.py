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
from memdt.data.demonstrations import Demonstrations
from memdt.data.episode_file import read_episodes, read_metadata
from memdt.data.episodes import EpisodeStore
from memdt.data.segments import EpisodeTensors, Segment
from memdt.device import default_device
from memdt.environments.task import Task
from memdt.files import remove_temporaries, sha256, write_text
from memdt.models.interface import SequencePolicy
from memdt.models.parts.adapters import merge
from memdt.provenance import manifest, measured, write_manifest
from memdt.seeding import generator, stream
from memdt.settings import slices
from memdt.settings.resolve import digest
from memdt.settings.schema import RunSettings
from memdt.training.checkpoints import load_checkpoint, save_checkpoint
from memdt.training.course import Course
from memdt.training.freezing import freeze
from memdt.training.loop import Trainer, with_idle_segments
from memdt.training.optimiser import AdamW
from memdt.training.resume import NAME, ResumeState
from memdt.training.stage_lock import hold_stage

CURVE_HEADER = "stage,update,segments,loss,accuracy,learning_rate,gradient_norm\n"


@dataclass(frozen=True)
class TrainingJob:
    """Which stage of which run, and where its files lie."""

    settings: RunSettings
    stage: int
    seed: int
    dataset: Path
    start: Path | None  # checkpoint of the stage before, or of the run that the first starts from
    out: Path
    source_digest: str = ""
    label: str = "train"


def train_stage(job: TrainingJob) -> None:
    """Train a stage; write checkpoint.safetensors, curve.csv and manifest.json to ``job.out``.

    A stage that was stopped goes on from its resume state, to the same bytes.
    """
    started = (time.perf_counter(), time.process_time())
    if hold_stage(job.out):
        remove_temporaries(job.out)
    device = default_device()
    be_deterministic(device)
    stage = slices.stage(job.settings, job.stage)
    batches = _batches(job, stage, device)
    policy = build_policy(job.settings, stream(job.seed, "weights")).to(device)
    if job.start is not None:
        before = digest(slices.started(job.settings, job.stage))
        load_checkpoint(policy, job.start, before, _mend(job.start))
    torch.manual_seed(stream(job.seed, "adapters", stage.number))
    trained = freeze(policy, job.settings.training)
    updates = stage.updates or batches.updates(stage.epochs or 1)
    course = _course(job, stage, policy, batches, updates, started)
    past = course.run()  # .spent and .resumed: seconds before this process, and how many there were
    merge(policy)
    write_text(job.out / "curve.csv", CURVE_HEADER + "".join(past.rows))
    metadata = _metadata(job)
    save_checkpoint(policy, job.out / "checkpoint.safetensors", metadata)
    files = [job.out / "checkpoint.safetensors", job.out / "curve.csv"]
    parameters = sum(p.numel() for p in policy.parameters())
    made = manifest(
        job.seed, str(device), files,
        stage=job.stage, parameters=parameters, trained_parameters=trained.trainable,
        updates=updates, **metadata,
    )  # fmt: skip
    figures = measured(started, before=past.spent, resumed=past.resumed, updates=updates)
    write_manifest(job.out / "manifest.json", made, figures)
    course.state.remove()


def _metadata(job: TrainingJob) -> dict[str, Any]:
    return {
        "settings_digest": digest(slices.train(job.settings, job.stage)),
        "source_digest": job.source_digest,
        "settings": slices.train(job.settings, job.stage, full=True),
    }


def be_deterministic(device: torch.device) -> None:
    """Let a GPU add up in the same order each time; MEMDT_DETERMINISTIC=0 leaves it free."""
    if device.type == "cuda" and os.environ.get("MEMDT_DETERMINISTIC", "1") != "0":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Off: a kernel for every new tensor, for those who read what nobody has written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def build_policy(settings: RunSettings, weights_seed: int) -> SequencePolicy:
    """The model named in the settings, its weights drawn from the seed."""
    module = discovery.load("memdt.models", settings.model["name"])
    spaces = Task.of(settings.environment).spaces
    torch.manual_seed(weights_seed)
    policy: SequencePolicy = module.build(module.Settings(**settings.model), spaces)
    return policy


def _mend(path: Path) -> str:
    return f"snakemake --cores all {path} --force"


def _batches(job: TrainingJob, stage: slices.Stage, device: torch.device) -> Batches:
    store = _episodes(job)
    tensors = EpisodeTensors.from_store(store, device)
    return Batches(
        tensors,
        segment_length=job.settings.segment_length,
        batch_size=stage.batch_size,
        horizon=stage.horizon,
        minimum_segments=1,
        maximum_segments=stage.segments,
        start=job.settings.training.start,
        seed=stream(job.seed, "batches", stage.number),
        demonstrations=demonstrations_in(job.settings, store, tensors),
    )


def _episodes(job: TrainingJob) -> EpisodeStore:
    """The dataset, or a share of the episodes of each of its groups."""
    settings, mend = job.settings, _mend(job.dataset)
    store = read_episodes(job.dataset, digest(slices.dataset(settings)), mend)
    if settings.training.data_fraction == 1:
        return store
    return store.select(store.share_of_each_group(settings.training.data_fraction))


def demonstrations_in(
    settings: RunSettings, store: EpisodeStore, tensors: EpisodeTensors
) -> Demonstrations | None:
    """What the model can be shown of these episodes; None where it wants none."""
    wanted = slices.demonstration(settings)
    if wanted is None:
        return None
    groups = store.groups.tolist()
    return Demonstrations(tensors, groups, wanted.demonstration_steps, wanted.demonstration_part)


def _segments(
    job: TrainingJob, stage: slices.Stage, policy: SequencePolicy, batches: Batches
) -> Callable[[int], list[Segment]]:
    """A function from the update number to the segments that one update is trained on."""
    if policy.whole_episodes:
        return batches.windows
    idle = job.settings.training.idle_segments

    def segments_of(update: int) -> list[Segment]:
        draws = generator(job.seed, "idle", stage.number, update)
        return with_idle_segments(batches.batch(update), idle, draws)

    return segments_of


def _course(
    job: TrainingJob,
    stage: slices.Stage,
    policy: SequencePolicy,
    batches: Batches,
    updates: int,
    started: tuple[float, float],
) -> Course:
    """The updates of a stage, at their beginning or where they were stopped."""
    training, device = job.settings.training, default_device()
    torch.manual_seed(stream(job.seed, "dropout", stage.number))
    optimiser = _optimiser(policy, training)
    noise = generator(job.seed, "memory noise", stage.number, device=str(device))
    trainer = Trainer(policy.train(), training, optimiser, noise)
    state = ResumeState(job.out / NAME, _belongs_to(job, device), policy, optimiser, noise)
    segments_of = _segments(job, stage, policy, batches)
    what = f"{job.label} stage {job.stage}/{job.settings.stages}"
    return Course(what, stage, updates, trainer, segments_of, state, started)


def _belongs_to(job: TrainingJob, device: torch.device) -> dict[str, Any]:
    """All that shapes the result of a stage, for the eyes of whoever goes on with it."""
    dataset = read_metadata(job.dataset, _mend(job.dataset))
    return {
        "settings": digest(slices.train(job.settings, job.stage)),
        "source": job.source_digest,
        "seed": job.seed,
        "stage": job.stage,
        "start": None if job.start is None else sha256(job.start),
        "dataset": [dataset.get("settings_digest"), dataset.get("source_digest")],
        "device": device.type,
    }


def _optimiser(policy: SequencePolicy, training: Any) -> AdamW | None:
    """AdamW, anew in each stage (Deviation D17); None for a policy without weights."""
    parameters = [p for p in policy.parameters() if p.requires_grad]
    if not parameters:
        return None
    return AdamW(
        parameters,
        lr=training.learning_rate,
        betas=(training.beta_1, training.beta_2),
        weight_decay=training.weight_decay,
    )
