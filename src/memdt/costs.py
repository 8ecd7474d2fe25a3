"""How long a job may take and how much memory it may use: what is asked of a cluster.

Estimates, made before anything runs, from measured speeds (`benchmarks/README.md`). A limit that is
too short costs a second attempt with a longer one, and training goes on where it was.

    seconds = steps of computation * FLOOR + multiplications / RATE        on a CPU or a GPU
    minutes = 20 + MARGIN * seconds / 60, rounded up to 10
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from memdt.settings import slices
from memdt.settings.remembered import resolve
from memdt.settings.resolve import scale_file
from memdt.settings.schema import RunSettings

MARGIN = 3.0  # a node may be slower than what was measured, and shared
MEGABYTES = {True: 2000, False: 8000}  # by `reduced`; two Snakemakes of 150 MB are in it


@dataclass(frozen=True)
class Speed:
    """What one device does in a second."""

    floor: float  # seconds that a layer takes for one segment or step, however small
    rate: float  # multiplications a second


# One thread: `python -m benchmarks training rollout`, two cores of November 2026, half of peak.
CPU = Speed(floor=0.3e-3, rate=50e9)
# Not measured yet. What a card of 2018 does with small products: better too long than too short.
GPU = Speed(floor=3e-3, rate=2e12)


def memory(scale: str) -> int:
    """Megabytes of a job that trains or plays, its Snakemakes included."""
    return MEGABYTES[scale_file(scale).reduced]


def training_minutes(scale: str, experiment: str, variant: str, number: int) -> int:
    """Minutes that a training stage may take."""
    settings = resolve(experiment, variant, scale).settings
    stage, training = slices.stage(settings, number), settings.training
    segments = stage.segments + training.idle_segments
    updates = stage.updates or _updates(settings, stage)
    tokens = segments * training.batch_size * _tokens(settings)
    # Forward, and twice as much backward.
    work = 3 * updates * tokens * _weights(settings.model)
    return _minutes(scale, 3 * updates * segments * _layers(settings.model), work)


def evaluation_minutes(scale: str, experiment: str, variant: str) -> int:
    """Minutes that all lengths and conditions of a checkpoint may take."""
    settings = resolve(experiment, variant, scale).settings
    evaluation = settings.evaluation
    lengths = [one.segments or evaluation.segments for one in evaluation.conditions.values()]
    steps = settings.segment_length * sum(map(sum, lengths))
    # Each step's tokens once more for each that a sliding window shows again.
    seen = max(one.context_segments or 1 for one in evaluation.conditions.values())
    work = steps * evaluation.episodes * 3 * seen * _weights(settings.model)
    return _minutes(scale, 3 * steps * _layers(settings.model), work)


def _minutes(scale: str, steps: int, multiplications: float) -> int:
    speed = CPU if scale_file(scale).reduced else GPU
    seconds = steps * speed.floor + multiplications / speed.rate
    return 10 * math.ceil((20 + MARGIN * seconds / 60) / 10)


def _updates(settings: RunSettings, stage: slices.Stage) -> int:
    """Updates of a budget in epochs; the dataset need not be there yet."""
    collection = settings.collection
    lengths = sum(length <= stage.segments for length in collection.segments)
    episodes = lengths * collection.episodes_per_segment_count
    return math.ceil((stage.epochs or 1) * episodes / settings.training.batch_size)


def _tokens(settings: RunSettings) -> int:
    """Tokens of a segment: return, observation and action a step, memory at both ends."""
    return 3 * settings.segment_length + 2 * int(settings.model.get("memory_tokens") or 0)


def _layers(model: dict[str, Any]) -> int:
    return int(model.get("layers") or 1)


def _weights(model: dict[str, Any]) -> int:
    """Weights that each token meets, near enough: attention's five products, and a hidden layer."""
    width = int(model.get("width") or 1)
    heads = int(model.get("heads") or 1) * int(model.get("head_width") or width)
    hidden = int(model.get("feed_forward_width") or 4 * width)
    return _layers(model) * width * (5 * heads + 2 * hidden)
