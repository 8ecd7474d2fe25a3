"""How long a job takes, and how long it may take and how much memory it may use on a cluster.

One estimate, made before anything runs, serves both: `memdt plan` shows it as it is, and what is
asked of a cluster is that with a margin. A limit that is too short costs a second attempt with a
longer one, and training goes on where it was.

    seconds = start + steps of computation * floor + multiplications / rate + simulated
    minutes = 20 + MARGIN * seconds / 60, rounded up to 10

Multiplications are those of transformers, and of the encoders of pictures, which have a rate of
their own. Simulated steps take time where an environment's module says ``STEPS_PER_SECOND``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from memdt import discovery
from memdt.models.parts import convolutions
from memdt.settings import slices
from memdt.settings.remembered import resolve
from memdt.settings.resolve import resolve_dataset, scale_file
from memdt.settings.schema import Condition, DatasetSettings, RunSettings
from memdt.workflow import disk
from memdt.workflow.observations import Observation, observation, size, size_of

MARGIN = 3.0  # a node may be slower than what was measured, and shared
MEGABYTES = {True: 2000, False: 8000}  # by `reduced`; two Snakemakes of 150 MB are in it
BACKWARD = 3  # forward, and twice as much backward


@dataclass(frozen=True)
class Speed:
    """What one device does in a second."""

    start: float  # seconds before the first update
    floor: float  # seconds that a layer takes for one segment or step, however small
    rate: float  # multiplications a second
    pictures: float  # the same of the encoders of pictures
    origin: str  # where these come from, for people

    def at(self, peak: float) -> Speed:
        """That of a machine with another peak, whose products run so much faster or slower.

        What starts and what waits does not follow the peak: it stays as it is.
        """
        factor = peak / REFERENCE_PEAK
        rates = {"rate": self.rate * factor, "pictures": self.pictures * factor}
        return replace(self, **rates)


# `python -m benchmarks training rollout start_up`, one thread, two cores of November 2026. The rate
# is between that of 2 layers x 4 heads x 16 (27e9) and of 8 layers x 10 heads x 64 (70e9).
# Pictures: `benchmarks frames`, one core that others used too, 11e9 to 19e9 by the pictures' size.
CPU = Speed(1.5, 0.3e-3, 40e9, 15e9, "estimated from speeds measured on two CPU cores")
REFERENCE_PEAK = 200e9  # operations a second of one of those cores, as `peak.py` measures them
# A layer starts some dozens of kernels; products as a card of 2018 does small ones in float32.
GPU = Speed(10.0, 1e-3, 2e12, 2e12, "estimated, no GPU has been measured")


@dataclass(frozen=True)
class Work:
    """What a job computes: steps that wait for each other, and multiplications."""

    steps: float
    products: float
    pictures: float = 0.0  # products of the encoders of pictures
    simulated: float = 0.0  # seconds of a simulator

    def seconds(self, speed: Speed) -> float:
        """How long one device needs."""
        computed = self.products / speed.rate + self.pictures / speed.pictures
        return speed.start + self.steps * speed.floor + computed + self.simulated

    def __add__(self, other: Work) -> Work:
        """One after the other."""
        return Work(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def uses_gpu(scale: str) -> bool:
    """Whether training and evaluation ask for a graphics card."""
    return not scale_file(scale).reduced


def speed(scale: str) -> Speed:
    """That of the device that a scale is made for."""
    return GPU if uses_gpu(scale) else CPU


def memory(scale: str) -> int:
    """Megabytes of a job that plays, its Snakemakes included."""
    return MEGABYTES[scale_file(scale).reduced]


def training_memory(scale: str, experiment: str, variant: str) -> int:
    """Megabytes of a job that trains: it holds all of its dataset, once.

    To 100 MB, so that a small dataset adds nothing: nodes have round amounts, and twice what is
    just above half of one would not fit on it.
    """
    held = disk.dataset_bytes(
        size(experiment, variant, scale), observation(experiment, variant, scale)
    )
    return memory(scale) + 100 * round(held / 1e8)


def collection_minutes(scale: str, environment: str) -> int:
    """Minutes that collecting a dataset may take; an hour at least, oracles are not counted."""
    return max(60, _limit(collection_seconds(resolve_dataset(environment, scale))))


def training_minutes(scale: str, experiment: str, variant: str, number: int) -> int:
    """Minutes that a training stage may take."""
    return _limit(training_seconds(scale, experiment, variant, number))


def evaluation_minutes(scale: str, experiment: str, variant: str) -> int:
    """Minutes that all lengths and conditions of a checkpoint may take."""
    return _limit(evaluation_seconds(scale, experiment, variant))


def training_seconds(
    scale: str, experiment: str, variant: str, number: int, device: Speed | None = None
) -> float:
    """Seconds that a training stage is expected to take, on the scale's device if not given."""
    settings = resolve(experiment, variant, scale).settings
    seen = observation(experiment, variant, scale)
    return training_work(settings, number, seen).seconds(device or speed(scale))


def evaluation_seconds(
    scale: str, experiment: str, variant: str, device: Speed | None = None
) -> float:
    """Seconds that all lengths and conditions of a checkpoint are expected to take."""
    settings = resolve(experiment, variant, scale).settings
    seen = observation(experiment, variant, scale)
    return evaluation_work(settings, seen).seconds(device or speed(scale))


def collection_seconds(settings: DatasetSettings) -> float:
    """Seconds of the simulator while a dataset is collected."""
    return _simulated(settings, size_of(settings.dataset).simulated_steps)


def training_work(settings: RunSettings, number: int, seen: Observation) -> Work:
    """All updates of a stage."""
    stage, training, model = slices.stage(settings, number), settings.training, settings.model
    segments = stage.segments + training.idle_segments
    if stage.horizon is not None:
        segments = min(segments, math.ceil(stage.horizon / settings.segment_length))
    updates = stage.updates or _updates(settings, stage)
    if _window(model):  # whole episodes at once
        parts, products = 1, _products(model, segments * _tokens(settings))
    else:
        parts, products = segments, segments * _products(model, _tokens(settings))
    done, rows = BACKWARD * updates, stage.batch_size
    pictures = segments * settings.segment_length * _picture(model, seen)
    return Work(done * parts * _layers(model), done * rows * products, done * rows * pictures)


def evaluation_work(settings: RunSettings, seen: Observation) -> Work:
    """All steps of all lengths and conditions."""
    found = [
        _play(settings, one, length, seen)
        for one in settings.evaluation.conditions.values()
        for length in one.segments or settings.evaluation.segments
    ]
    return sum(found, Work(0.0, 0.0))


def _play(settings: RunSettings, condition: Condition, length: int, seen: Observation) -> Work:
    """All episodes of a length, side by side, one step after the other."""
    model, tokens = settings.model, _tokens(settings)
    window = (
        settings.training.segments if condition.full_context else condition.context_segments or 1
    )
    steps = length * settings.segment_length
    products = length * _products(model, tokens)
    if _window(model) and length > window:  # a window that slides is computed anew at each step
        slid = (length - window) * settings.segment_length
        products = (1 + slid) * _products(model, window * tokens)
    episodes = settings.evaluation.episodes
    return Work(
        steps * _layers(model),
        episodes * products,
        episodes * steps * _picture(model, seen),
        _simulated(settings, episodes * steps),
    )


def _simulated(settings: RunSettings | DatasetSettings, steps: int) -> float:
    """Seconds that the environment's simulator takes for so many steps of all rows together."""
    module = settings.environment.module
    return steps / (discovery.number("memdt.environments", module, "STEPS_PER_SECOND") or math.inf)


def _picture(model: dict[str, Any], seen: Observation) -> int:
    """Multiplications that encode one observation; none are counted where it is no picture."""
    return convolutions.products(seen.shape, _width(model)) if len(seen.shape) == 3 else 0


def _limit(seconds: float) -> int:
    return 10 * math.ceil((20 + MARGIN * seconds / 60) / 10)


def _updates(settings: RunSettings, stage: slices.Stage) -> int:
    """Updates of a budget in epochs; the dataset need not be there yet."""
    longest = stage.segments * settings.segment_length
    episodes = sum(count for steps, count in size_of(settings.dataset).lengths if steps <= longest)
    return math.ceil((stage.epochs or 1) * episodes / stage.batch_size)


def _tokens(settings: RunSettings) -> int:
    """Tokens of a segment: return, observation and action a step, memory at both ends."""
    return 3 * settings.segment_length + 2 * int(settings.model.get("memory_tokens") or 0)


def _window(model: dict[str, Any]) -> bool:
    """Whether a model looks at a window of steps instead of segments with a memory."""
    return model.get("training_window") == "episode"


def _layers(model: dict[str, Any]) -> int:
    return int(model.get("layers") or 1)


def _width(model: dict[str, Any]) -> int:
    return int(model.get("width") or 1)


def _products(model: dict[str, Any], tokens: int) -> float:
    """Multiplications of a forward pass over so many tokens, all pairs of them counted.

    Queries, keys, values and output; scores by content and by position, and values; a hidden layer.
    """
    # `torch.utils.flop_counter` counts a model that is built and run, and importing torch takes two
    # seconds. A plan has neither: it asks for thousands of jobs at once. A test compares the two.
    width = _width(model)
    inner = int(model.get("heads") or 0) * int(model.get("head_width") or 0)
    hidden = int(model.get("feed_forward_width", 4 * width))
    each = 4 * width * inner + 3 * tokens * inner + 2 * width * hidden
    return float(_layers(model) * tokens * each)
