"""Estimate how long a job takes, and the time and memory that a cluster should grant it.

The estimate is made before anything runs. `memdt plan` shows it as it is; the limit asked of a
cluster adds a margin. A limit that is too short costs a second attempt with a longer one, and
training resumes where it stopped.

    seconds = start + steps of computation * floor + multiplications / rate + simulated
    minutes = 20 + MARGIN * seconds / 60, rounded up to 10

Multiplications are those of transformers and of image encoders, which have their own rate.
Simulated steps take time where an environment's module defines ``STEPS_PER_SECOND``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from memdt import discovery
from memdt.models.parts import convolutions
from memdt.settings import slices
from memdt.settings.files import scale_file
from memdt.settings.remembered import resolve
from memdt.settings.resolve import resolve_dataset
from memdt.settings.schema import Condition, DatasetSettings, RunSettings
from memdt.workflow import disk
from memdt.workflow.observations import Observation, observation, size, size_of

MARGIN = 3.0  # a node may be slower than what was measured, and shared
MEGABYTES = {True: 2000, False: 8000}  # by `reduced`; two Snakemakes of 150 MB are in it
AGENT_STEPS_PER_SECOND = 200.0  # with an update each, on one core of November 2026
BACKWARD = 3  # forward, and twice as much backward


@dataclass(frozen=True)
class Speed:
    """How fast one device computes."""

    start: float  # seconds before the first update
    floor: float  # seconds that a layer needs for one segment or step, however small
    rate: float  # multiplications per second
    pictures: float  # multiplications per second of image encoders
    origin: str  # where these figures come from, shown by `memdt plan`

    def at(self, peak: float) -> Speed:
        """That of a machine with another peak, whose products run so much faster or slower.

        What starts and what waits does not follow the peak: it stays as it is.
        """
        factor = peak / REFERENCE_PEAK
        return replace(self, rate=self.rate * factor, pictures=self.pictures * factor)


# `python -m benchmarks training rollout start_up`, one thread, two cores of November 2026. The rate
# is between that of 2 layers x 4 heads x 16 (27e9) and of 8 layers x 10 heads x 64 (70e9).
# Pictures: `benchmarks frames`, one core that others used too, 11e9 to 19e9 by the pictures' size.
CPU = Speed(1.5, 0.3e-3, 40e9, 15e9, "estimated from speeds measured on two CPU cores")
REFERENCE_PEAK = 200e9  # operations a second of one of those cores, as `peak.py` measures them
# A layer starts some dozens of kernels; products as a card of 2018 does small ones in float32.
GPU = Speed(10.0, 1e-3, 2e12, 2e12, "estimated, no GPU has been measured")


@dataclass(frozen=True)
class Work:
    """What a job computes: sequential steps, and multiplications."""

    steps: float
    products: float
    pictures: float = 0.0  # multiplications of image encoders
    simulated: float = 0.0  # seconds that the simulator takes

    def seconds(self, speed: Speed) -> float:
        """Seconds that one device needs for this work."""
        computed = self.products / speed.rate + self.pictures / speed.pictures
        return speed.start + self.steps * speed.floor + computed + self.simulated

    def __add__(self, other: Work) -> Work:
        """The work of doing both, one after the other."""
        return Work(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def uses_gpu(scale: str) -> bool:
    """Whether training and evaluation request a GPU."""
    return not scale_file(scale).reduced


def speed(scale: str) -> Speed:
    """The speed of the device that a scale is made for."""
    return GPU if uses_gpu(scale) else CPU


def memory(scale: str) -> int:
    """Megabytes of a job that plays episodes, including the Snakemakes around it."""
    return MEGABYTES[scale_file(scale).reduced]


def training_memory(scale: str, experiment: str, variant: str) -> int:
    """Megabytes of a training job, which holds one copy of its dataset.

    The dataset's share is rounded to 100 MB. Nodes have round amounts of memory: a request just
    above half a node's would keep a second job off it, so a small dataset must add nothing.
    """
    held = disk.dataset_bytes(
        size(experiment, variant, scale), observation(experiment, variant, scale)
    )
    return memory(scale) + 100 * round(held / 1e8)


def collection_minutes(scale: str, environment: str) -> int:
    """Minutes that collecting a dataset may take: at least an hour, as oracles are not counted."""
    return max(60, _limit(collection_seconds(resolve_dataset(environment, scale))))


def agent_minutes(scale: str, environment: str) -> int:
    """Minutes that training an agent may take."""
    return _limit(agent_seconds(resolve_dataset(environment, scale)))


def training_minutes(scale: str, experiment: str, variant: str, number: int) -> int:
    """Minutes that a training stage may take."""
    return _limit(training_seconds(scale, experiment, variant, number))


def evaluation_minutes(scale: str, experiment: str, variant: str) -> int:
    """Minutes that evaluating a checkpoint may take, over all lengths and conditions."""
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
    """Seconds that the simulator takes to collect a dataset."""
    return _simulated(settings, size_of(settings.dataset).simulated_steps)


def agent_seconds(settings: DatasetSettings) -> float:
    """Seconds in which the agent of a dataset learns; none where there is no agent."""
    agent = settings.dataset.get("agent") or {}
    return float(agent.get("steps", 0)) / AGENT_STEPS_PER_SECOND


def training_work(settings: RunSettings, number: int, seen: Observation) -> Work:
    """The work of all updates of a stage."""
    stage, training, model = slices.stage(settings, number), settings.training, settings.model
    segments = stage.segments + training.idle_segments
    if stage.horizon is not None:
        segments = min(segments, math.ceil(stage.horizon / settings.segment_length))
    updates = stage.updates or _updates(settings, stage)
    frames = segments * settings.segment_length
    passes = discovery.number("memdt.models", str(model.get("name")), "PASSES_OF_A_ROW")
    if passes is not None:  # it trains on single steps
        parts, frames = 1, int(passes)
        products = float(frames * _layers(model) * _width(model) ** 2)
    elif _window(model):  # it trains on whole episodes, so their tokens form one sequence
        parts, products = 1, _products(model, segments * _tokens(settings))
    else:
        parts, products = segments, segments * _products(model, _tokens(settings))
    done, rows = BACKWARD * updates, stage.batch_size
    pictures = frames * _picture(model, seen)
    return Work(done * parts * _layers(model), done * rows * products, done * rows * pictures)


def evaluation_work(settings: RunSettings, seen: Observation) -> Work:
    """The work of playing all lengths and conditions."""
    plays = [
        _play(settings, one, length, seen)
        for one in settings.evaluation.conditions.values()
        for length in one.segments or settings.evaluation.segments
    ]
    return sum(plays, Work(0.0, 0.0))


def _play(settings: RunSettings, condition: Condition, length: int, seen: Observation) -> Work:
    """The work of playing all episodes of one length in parallel, step by step."""
    model, tokens = settings.model, _tokens(settings)
    window = (
        settings.training.segments if condition.full_context else condition.context_segments or 1
    )
    steps = length * settings.segment_length
    products = length * _products(model, tokens)
    if _window(model) and length > window:  # a sliding window is recomputed at each step
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
    """Seconds that the simulator takes for ``steps``, counted over all parallel episodes."""
    module = settings.environment.module
    return steps / (discovery.number("memdt.environments", module, "STEPS_PER_SECOND") or math.inf)


def _picture(model: dict[str, Any], seen: Observation) -> int:
    """Multiplications that encode one observation; 0 unless it is an image."""
    return convolutions.products(seen.shape, _width(model)) if len(seen.shape) == 3 else 0


def _limit(seconds: float) -> int:
    return 10 * math.ceil((20 + MARGIN * seconds / 60) / 10)


def _updates(settings: RunSettings, stage: slices.Stage) -> int:
    """Updates of a budget in epochs; the dataset need not exist yet."""
    longest = stage.segments * settings.segment_length
    episodes = sum(count for steps, count in size_of(settings.dataset).lengths if steps <= longest)
    return math.ceil((stage.epochs or 1) * episodes / stage.batch_size)


def _tokens(settings: RunSettings) -> int:
    """Tokens of a segment: return, observation and action per step, memory at both ends."""
    return 3 * settings.segment_length + 2 * int(settings.model.get("memory_tokens") or 0)


def _window(model: dict[str, Any]) -> bool:
    """Whether a model attends to a window of steps instead of segments with a memory."""
    return model.get("training_window") == "episode"


def _layers(model: dict[str, Any]) -> int:
    return int(model.get("layers") or 1)


def _width(model: dict[str, Any]) -> int:
    return int(model.get("width") or 1)


def _products(model: dict[str, Any], tokens: int) -> float:
    """Multiplications of a forward pass over ``tokens``, counting all pairs of them.

    Counts queries, keys, values and output; scores by content and by position, and the weighted
    values; and the hidden layer.
    """
    # `torch.utils.flop_counter` needs a model that is built and run, and importing torch takes two
    # seconds. A plan estimates thousands of jobs at once, so it can afford neither. A test compares
    # the two counts.
    width = _width(model)
    inner = int(model.get("heads") or 0) * int(model.get("head_width") or 0)
    hidden = int(model.get("feed_forward_width", 4 * width))
    each = 4 * width * inner + 3 * tokens * inner + 2 * width * hidden
    return float(_layers(model) * tokens * each)
