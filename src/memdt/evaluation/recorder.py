"""Record evaluation episodes (memory, measures, actions, frames): the step behind ``record``.

The episodes are the first ones of the evaluation at its longest length. Seeds, batches and random
numbers are the same, so the recorded episodes are also in ``episodes.csv``.
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

EPISODES = 32  # recorded at least, rounded up to whole batches
FRAMES = 150  # at most, of a filmed episode
FRAME_WIDTH = 256  # pixels
QUALITY = 80  # of WebP, 0 to 100
FEATURES = 1024  # at most, of a memory; a random projection reduces larger ones


@dataclass(frozen=True)
class RecordingJob:
    """A run, and the paths of its files."""

    settings: RunSettings
    seed: int
    checkpoint: Path
    out: Path  # recording.npz
    label: str = "record"
    dataset: Path | None = None  # source of demonstrations, for models that use them


def record_run(job: RecordingJob) -> None:
    """Play some evaluation episodes of a checkpoint, and write recording.npz."""
    policy = load_policy(job.settings, job.checkpoint)
    shown = load_demonstrations(job.settings, job.dataset, policy)
    write_recording(record(job.settings, policy, job.seed, job.label, shown), job.out)


def record(
    settings: RunSettings,
    policy: Policy,
    seed: int,
    label: str = "",
    demonstrations: Demonstrations | None = None,
) -> Recording:
    """Record the first evaluation episodes, at the longest length of ``longest``.

    The first episode of each group is filmed.
    """
    condition, segments = longest(settings)
    batches, task = seed_batches(settings), Task.of(settings.environment)
    needed = -(-min(EPISODES, settings.evaluation.episodes) // len(batches[0]))
    steps = segments * settings.segment_length
    progress = Progress(f"{label} {segments} segments", steps * needed, unit="steps")
    parts, filmed = [], set()
    for batch, seeds in enumerate(batches[:needed]):
        rollout = rollout_of(
            settings, policy, condition, segments, seed, seeds, batch, demonstrations
        )
        groups = task.groups(seeds)
        new = {group: groups.index(group) for group in groups[::-1] if group not in filmed}
        filmed |= set(new)
        recorder = rollout.observer = Recorder(rollout.environment, sorted(new.values()), steps)
        outcomes = rollout.play(list(seeds), progress, batch * steps)
        rollout.environment.close()
        parts.append(_recording(settings, recorder, outcomes, seeds, groups))
    return joined(parts)


def longest(settings: RunSettings) -> tuple[Condition, int]:
    """Return the condition ``as_published``, or else the first one, and its longest length."""
    conditions = settings.evaluation.conditions
    condition = conditions.get("as_published", next(iter(conditions.values())))
    return condition, max(condition.segments or settings.evaluation.segments)


class Recorder(Observer):
    """Records the steps of a batch, and films some of its rows."""

    def __init__(self, environment: VectorEnv, filmed: Sequence[int], steps: int) -> None:
        self.environment, self.filmed = environment, list(filmed)
        self.film_every = -(-steps // FRAMES)
        self.infos: list[dict[str, Any]] = []
        self.actions: list[NDArray[Any]] = []
        self.returns_to_go: list[NDArray[np.float32]] = []
        self.memory: list[list[NDArray[np.float32]]] = []
        self.films: list[list[bytes]] = [[] for _ in filmed]

    def on_step(
        self, alive: NDArray[np.int64], step: Step, actions: Tensor, info: dict[str, Any]
    ) -> None:
        """Record the step, and a frame every ``film_every`` steps."""
        if len(self.infos) % self.film_every == 0:
            self._film(alive)
        rows = self.environment.num_envs
        taken = actions.cpu().numpy()
        self.infos.append(info)
        self.actions.append(np.zeros((rows, *taken.shape[1:]), taken.dtype))
        self.actions[-1][alive] = taken
        self.returns_to_go.append(np.full(rows, np.nan, np.float32))
        self.returns_to_go[-1][alive] = step.return_to_go.cpu().numpy()

    def on_segment_end(self, alive: NDArray[np.int64], memory: Memory) -> None:
        """Record the content of the memory."""
        self.memory.append([])
        for part in content(memory):
            rows = (self.environment.num_envs, *part.shape[1:])
            self.memory[-1].append(np.full(rows, np.nan, np.float32))
            self.memory[-1][-1][alive] = part

    def _film(self, alive: NDArray[np.int64]) -> None:
        running = [row for row in self.filmed if row in alive]
        screen_of = dict(zip(running, screens(self.environment, running), strict=True))
        for film, row in zip(self.films, self.filmed, strict=True):
            screen = screen_of.get(row)
            film.append(b"" if screen is None else compressed(screen))


def content(memory: Memory) -> list[Float[np.ndarray, "rows ..."]]:
    """Return the tensors that ``Memory.edit`` changes."""
    parts: list[NDArray[Any]] = []

    def keep(part: Tensor) -> Tensor:
        parts.append(part.detach().float().cpu().numpy())
        return part

    memory.edit(keep)
    return parts


def vectors(
    borders: Sequence[Sequence[Float[np.ndarray, "rows ..."]]], rows: int
) -> Float[np.ndarray, "borders rows features"]:
    """Return the memory after each segment, as one vector of at most FEATURES numbers per row.

    A part that is shorter after the first segments (a cache that fills) has zeros in front. A
    larger memory is multiplied by a fixed random matrix. This preserves distances to about 3 %, and
    thus what a linear probe can distinguish.
    """
    flat = [_same_length(list(part)).reshape(len(borders), rows, -1)
            for part in zip(*borders, strict=True)]  # fmt: skip
    if not flat:
        return np.zeros((len(borders), rows, 0), np.float32)
    numbers = np.concatenate(flat, axis=2)
    if numbers.shape[2] > FEATURES:
        shape = (numbers.shape[2], FEATURES)
        projection = np.random.default_rng(0).standard_normal(shape, np.float32)
        projection /= np.float32(np.sqrt(FEATURES))
        numbers = np.stack([border @ projection for border in numbers])
    return np.asarray(numbers, np.float32)


def _same_length(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """One part of the memory after all segments; its second dimension may have grown."""
    if parts[0].ndim < 3:
        return np.stack(parts)
    longest = max(part.shape[1] for part in parts)
    rest = [(0, 0)] * (parts[0].ndim - 2)
    return np.stack([np.pad(part, [(0, 0), (longest - part.shape[1], 0), *rest]) for part in parts])


def compressed(screen: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encode a screen as WebP, at most FRAME_WIDTH pixels wide."""
    image = Image.fromarray(screen)
    if image.width > FRAME_WIDTH:
        size = (FRAME_WIDTH, round(image.height * FRAME_WIDTH / image.width))
        image = image.resize(size, Image.Resampling.BOX)
    file = BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def _recording(
    settings: RunSettings,
    recorder: Recorder,
    outcomes: Outcomes,
    seeds: Sequence[int],
    groups: Sequence[str],
) -> Recording:
    """The arrays of a batch, after its rollout."""
    task = Task.of(settings.environment)
    names = task.measures
    moments = [[info[name] for name in names] for info in (*recorder.infos, outcomes.measures)]
    hint = task.hint_steps
    frames = [frame for film in recorder.films for frame in film]
    sizes = np.array([len(frame) for frame in frames], np.int64)
    measures = np.array(moments, np.int32).reshape(len(moments), len(names), len(seeds))
    frames_per_film = -(-len(recorder.infos) // recorder.film_every)
    return Recording(
        seeds=np.array(seeds, np.int64),
        groups=np.array(groups),
        lengths=outcomes.steps,
        measure_names=np.array(names, np.str_),
        measures=measures.transpose(0, 2, 1),
        actions=np.stack(recorder.actions),
        returns_to_go=np.stack(recorder.returns_to_go),
        memory=vectors(recorder.memory, len(seeds)),
        segment_length=np.array(settings.segment_length),
        hint=np.array([hint.start, hint.stop]),
        filmed=np.array(recorder.filmed, np.int64),
        film_every=np.array(recorder.film_every),
        frame_bytes=sizes.reshape(len(recorder.filmed), frames_per_film),
        frames=np.frombuffer(b"".join(frames), np.uint8),
    )
