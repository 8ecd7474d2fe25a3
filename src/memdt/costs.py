"""How long a job takes, and how long it may take and how much memory it may use on a cluster.

One estimate, made before anything runs, serves both: `memdt plan` shows it as it is, and what is
asked of a cluster is that with a margin. A limit that is too short costs a second attempt with a
longer one, and training goes on where it was.

    seconds = start + steps of computation * floor + multiplications / rate
    minutes = 20 + MARGIN * seconds / 60, rounded up to 10

Simulators and the convolutions of pictures are not in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from memdt.settings import slices
from memdt.settings.remembered import resolve
from memdt.settings.resolve import scale_file
from memdt.settings.schema import Condition, RunSettings

MARGIN = 3.0  # a node may be slower than what was measured, and shared
MEGABYTES = {True: 2000, False: 8000}  # by `reduced`; two Snakemakes of 150 MB are in it
BACKWARD = 3  # forward, and twice as much backward


@dataclass(frozen=True)
class Speed:
    """What one device does in a second."""

    start: float  # seconds before the first update
    floor: float  # seconds that a layer takes for one segment or step, however small
    rate: float  # multiplications a second
    origin: str  # where these come from, for people


# `python -m benchmarks training rollout start_up`, one thread, two cores of November 2026. The rate
# is between that of 2 layers x 4 heads x 16 (27e9) and of 8 layers x 10 heads x 64 (70e9).
CPU = Speed(1.5, 0.3e-3, 40e9, "estimated from speeds measured on two CPU cores")
# A layer starts some dozens of kernels; products as a card of 2018 does small ones in float32.
GPU = Speed(10.0, 1e-3, 2e12, "estimated, no GPU has been measured")


@dataclass(frozen=True)
class Work:
    """What a job computes: steps that wait for each other, and multiplications."""

    steps: float
    products: float

    def seconds(self, speed: Speed) -> float:
        """How long one device needs."""
        return speed.start + self.steps * speed.floor + self.products / speed.rate


def uses_gpu(scale: str) -> bool:
    """Whether training and evaluation ask for a graphics card."""
    return not scale_file(scale).reduced


def speed(scale: str) -> Speed:
    """That of the device that a scale is made for."""
    return GPU if uses_gpu(scale) else CPU


def memory(scale: str) -> int:
    """Megabytes of a job that trains or plays, its Snakemakes included."""
    return MEGABYTES[scale_file(scale).reduced]


def training_minutes(scale: str, experiment: str, variant: str, number: int) -> int:
    """Minutes that a training stage may take."""
    return _limit(training_seconds(scale, experiment, variant, number))


def evaluation_minutes(scale: str, experiment: str, variant: str) -> int:
    """Minutes that all lengths and conditions of a checkpoint may take."""
    return _limit(evaluation_seconds(scale, experiment, variant))


def training_seconds(scale: str, experiment: str, variant: str, number: int) -> float:
    """Seconds that a training stage is expected to take."""
    settings = resolve(experiment, variant, scale).settings
    return training_work(settings, number).seconds(speed(scale))


def evaluation_seconds(scale: str, experiment: str, variant: str) -> float:
    """Seconds that all lengths and conditions of a checkpoint are expected to take."""
    return evaluation_work(resolve(experiment, variant, scale).settings).seconds(speed(scale))


def training_work(settings: RunSettings, number: int) -> Work:
    """All updates of a stage."""
    stage, training, model = slices.stage(settings, number), settings.training, settings.model
    segments = stage.segments + training.idle_segments
    updates = stage.updates or _updates(settings, stage)
    if _window(model):  # whole episodes at once
        parts, products = 1, _products(model, segments * _tokens(settings))
    else:
        parts, products = segments, segments * _products(model, _tokens(settings))
    done = BACKWARD * updates
    return Work(done * parts * _layers(model), done * training.batch_size * products)


def evaluation_work(settings: RunSettings) -> Work:
    """All steps of all lengths and conditions."""
    found = [
        _play(settings, one, length)
        for one in settings.evaluation.conditions.values()
        for length in one.segments or settings.evaluation.segments
    ]
    return Work(sum(one.steps for one in found), sum(one.products for one in found))


def _play(settings: RunSettings, condition: Condition, length: int) -> Work:
    """All episodes of a length, side by side, one step after the other."""
    model, tokens = settings.model, _tokens(settings)
    seen = settings.training.segments if condition.full_context else condition.context_segments or 1
    steps = length * settings.segment_length
    products = length * _products(model, tokens)
    if _window(model) and length > seen:  # a window that slides is computed anew at each step
        slid = (length - seen) * settings.segment_length
        products = (1 + slid) * _products(model, seen * tokens)
    return Work(steps * _layers(model), settings.evaluation.episodes * products)


def _limit(seconds: float) -> int:
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


def _window(model: dict[str, Any]) -> bool:
    """Whether a model looks at a window of steps instead of segments with a memory."""
    return model.get("training_window") == "episode"


def _layers(model: dict[str, Any]) -> int:
    return int(model.get("layers") or 1)


def _products(model: dict[str, Any], tokens: int) -> float:
    """Multiplications of a forward pass over so many tokens, all pairs of them counted.

    Queries, keys, values and output; scores by content and by position, and values; a hidden layer.
    """
    width = int(model.get("width") or 1)
    inner = int(model.get("heads") or 0) * int(model.get("head_width") or 0)
    hidden = int(model.get("feed_forward_width", 4 * width))
    each = 4 * width * inner + 3 * tokens * inner + 2 * width * hidden
    return float(_layers(model) * tokens * each)
