"""Record evaluation episodes: memory, counts, actions and frames, behind the step ``record``.

The episodes are the first ones of the evaluation at its longest, played exactly as there: the same
seeds, batches and draws, so that what is recorded is what ``episodes.csv`` tells of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from memdt.data.demonstrations import Demonstrations
from memdt.environments.task import Task
from memdt.environments.vectors import screens
from memdt.evaluation.evaluate import load_demonstrations, load_policy, rollout_of, seed_batches
from memdt.evaluation.recordings import Recording, joined, write_recording
from memdt.evaluation.rollout import Observer, Outcomes
from memdt.models.interface import Memory, Policy, Step
from memdt.progress import Progress
from memdt.settings.schema import Condition, RunSettings

EPISODES = 32  # so many at least, in whole batches, if the evaluation has them
FRAMES = 150  # of a filmed episode at most
FRAME_WIDTH = 256
QUALITY = 80  # of WebP, 0 to 100
FEATURES = 1024  # of a memory at most; larger ones are projected at random


@dataclass(frozen=True)
class RecordingJob:
    """Which run, and where its files lie."""

    settings: RunSettings
    seed: int
    checkpoint: Path
    out: Path  # recording.npz
    label: str = "record"
    dataset: Path | None = None  # that demonstrations come from, if the model wants any


def record_run(job: RecordingJob) -> None:
    """Play some evaluation episodes of a checkpoint and write recording.npz."""
    policy = load_policy(job.settings, job.checkpoint)
    shown = load_demonstrations(job.settings, job.dataset, policy)
    write_recording(record(job.settings, policy, job.seed, job.label, shown), job.out)


def record(
    settings: RunSettings,
    policy: Policy,
    seed: int,
    label: str = "",
    shown: Demonstrations | None = None,
) -> Recording:
    """The first episodes of the evaluation at its longest, under its plain condition."""
    condition, segments = longest(settings)
    batches, task = seed_batches(settings), Task.of(settings.environment)
    needed = -(-min(EPISODES, settings.evaluation.episodes) // len(batches[0]))
    steps = segments * settings.segment_length
    progress = Progress(f"{label} {segments} segments", steps * needed, unit="steps")
    parts, seen = [], set()
    for batch, seeds in enumerate(batches[:needed]):
        rollout = rollout_of(settings, policy, condition, segments, seed, seeds, batch, shown)
        groups = task.groups(seeds)
        new = {group: groups.index(group) for group in groups[::-1] if group not in seen}
        seen |= set(new)
        observer = rollout.observer = Recorder(rollout.environment, sorted(new.values()), steps)
        ends = rollout.play(list(seeds), progress, batch * steps)
        rollout.environment.close()
        parts.append(_recording(settings, observer, ends, seeds, groups))
    return joined(parts)


def longest(settings: RunSettings) -> tuple[Condition, int]:
    """The plain condition (the first one, where none is called so) and its longest length."""
    conditions = settings.evaluation.conditions
    condition = conditions.get("as_published", next(iter(conditions.values())))
    return condition, max(condition.segments or settings.evaluation.segments)


class Recorder(Observer):
    """Keeps what happens in a batch, and films some of its rows."""

    def __init__(self, environment: VectorEnv, filmed: Sequence[int], steps: int) -> None:
        self.environment, self.filmed = environment, list(filmed)
        self.film_every = -(-steps // FRAMES)
        self.infos: list[dict[str, Any]] = []
        self.actions: list[NDArray[Any]] = []
        self.returns_to_go: list[NDArray[np.float32]] = []
        self.memory: list[list[NDArray[np.float32]]] = []
        self.films: list[list[bytes]] = [[] for _ in filmed]

    def acts(
        self, alive: NDArray[np.int64], seen: Step, actions: Tensor, info: dict[str, Any]
    ) -> None:
        """Keep the step, and a frame now and then."""
        if len(self.infos) % self.film_every == 0:
            self._film(alive)
        rows = self.environment.num_envs
        done = actions.cpu().numpy()
        self.infos.append(info)
        self.actions.append(np.zeros((rows, *done.shape[1:]), done.dtype))
        self.actions[-1][alive] = done
        self.returns_to_go.append(np.full(rows, np.nan, np.float32))
        self.returns_to_go[-1][alive] = seen.return_to_go.cpu().numpy()

    def closes(self, alive: NDArray[np.int64], memory: Memory) -> None:
        """Keep what the memory holds."""
        self.memory.append([])
        for part in content(memory):
            rows = (self.environment.num_envs, *part.shape[1:])
            self.memory[-1].append(np.full(rows, np.nan, np.float32))
            self.memory[-1][-1][alive] = part

    def _film(self, alive: NDArray[np.int64]) -> None:
        there = [row for row in self.filmed if row in alive]
        shown_by_row = dict(zip(there, screens(self.environment, there), strict=True))
        for film, row in zip(self.films, self.filmed, strict=True):
            shown = shown_by_row.get(row)
            film.append(b"" if shown is None else compressed(shown))


def content(memory: Memory) -> list[Float[np.ndarray, "rows ..."]]:
    """What an edit of the memory would change, part by part."""
    parts: list[NDArray[Any]] = []

    def keep(part: Tensor) -> Tensor:
        parts.append(part.detach().float().cpu().numpy())
        return part

    memory.edit(keep)
    return parts


def vectors(
    borders: Sequence[Sequence[Float[np.ndarray, "rows ..."]]], rows: int
) -> Float[np.ndarray, "borders rows features"]:
    """What the memory held at every border, one vector of at most FEATURES a row.

    A part that is shorter at the first borders (a cache that fills) has zeros in front. A memory of
    more numbers is multiplied by a fixed random matrix, which keeps distances to some 3 %, and so
    what a linear probe can tell apart.
    """
    flat = [_same_length(list(part)).reshape(len(borders), rows, -1)
            for part in zip(*borders, strict=True)]  # fmt: skip
    if not flat:
        return np.zeros((len(borders), rows, 0), np.float32)
    held = np.concatenate(flat, axis=2)
    if held.shape[2] > FEATURES:
        drawn = np.random.default_rng(0).standard_normal((held.shape[2], FEATURES), np.float32)
        drawn /= np.float32(np.sqrt(FEATURES))
        held = np.stack([border @ drawn for border in held])
    return np.asarray(held, np.float32)


def _same_length(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """One part of the memory at all borders; its second dimension may have grown."""
    if parts[0].ndim < 3:
        return np.stack(parts)
    longest = max(part.shape[1] for part in parts)
    rest = [(0, 0)] * (parts[0].ndim - 2)
    return np.stack([np.pad(part, [(0, 0), (longest - part.shape[1], 0), *rest]) for part in parts])


def compressed(screen: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """A screen as WebP, no wider than FRAME_WIDTH."""
    image = Image.fromarray(screen)
    if image.width > FRAME_WIDTH:
        size = (FRAME_WIDTH, round(image.height * FRAME_WIDTH / image.width))
        image = image.resize(size, Image.Resampling.BOX)
    file = BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def _recording(
    settings: RunSettings,
    kept: Recorder,
    ends: Outcomes,
    seeds: Sequence[int],
    groups: Sequence[str],
) -> Recording:
    """What the kept kept, as arrays."""
    task = Task.of(settings.environment)
    names = task.measures
    moments = [[info[name] for name in names] for info in (*kept.infos, ends.measures)]
    hint = task.hint_steps
    frames = [frame for film in kept.films for frame in film]
    sizes = np.array([len(frame) for frame in frames], np.int64)
    counted = np.array(moments, np.int32).reshape(len(moments), len(names), len(seeds))
    return Recording(
        seeds=np.array(seeds, np.int64),
        groups=np.array(groups),
        lengths=ends.steps,
        measure_names=np.array(names, np.str_),
        measures=counted.transpose(0, 2, 1),
        actions=np.stack(kept.actions),
        returns_to_go=np.stack(kept.returns_to_go),
        memory=vectors(kept.memory, len(seeds)),
        segment_length=np.array(settings.segment_length),
        hint=np.array([hint.start, hint.stop]),
        filmed=np.array(kept.filmed, np.int64),
        film_every=np.array(kept.film_every),
        frame_bytes=sizes.reshape(len(kept.filmed), -(-len(kept.infos) // kept.film_every)),
        frames=np.frombuffer(b"".join(frames), np.uint8),
    )
