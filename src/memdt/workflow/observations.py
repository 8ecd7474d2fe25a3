"""Sizes of observations and datasets, from which a plan counts bytes and multiplications.

The components are asked once, and their answers are kept beside the checked settings
(`settings/remembered.py`), so that planning imports neither torch nor a simulator.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from memdt.data.sources.size import Size
from memdt.settings import remembered
from memdt.settings.schema import EnvironmentSettings, RunSettings


@dataclass(frozen=True)
class Observation:
    """Shape and size of one observation."""

    shape: tuple[int, ...]
    bytes: int


@cache
def observation(experiment: str, variant: str, scale: str) -> Observation:
    """The observation of a run's environment, from the remembered answer if there is one."""
    note = remembered.note_of(experiment, variant, scale)
    if note is None:
        return _of(remembered.resolve(experiment, variant, scale).settings)
    return Observation(tuple(note["observation"]["shape"]), note["observation"]["bytes"])


@cache
def size(experiment: str, variant: str, scale: str) -> Size:
    """The expected size of a run's dataset, from the remembered answer if there is one."""
    note = remembered.note_of(experiment, variant, scale)
    if note is None:
        return size_of(remembered.resolve(experiment, variant, scale).settings.dataset)
    lengths = tuple((steps, count) for steps, count in note["size"]["lengths"])
    return Size(lengths, note["size"]["simulated_steps"])


def size_of(dataset: dict[str, Any]) -> Size:
    """The size that a dataset's source expects it to have."""
    from memdt.data.sources import interface

    source, settings = interface.settings_of(dataset)
    return source.expected(settings)


@cache
def observation_of(environment: str) -> Observation:
    """An environment's observation, given its settings as JSON; 0 bytes without its simulator."""
    import numpy as np

    from memdt.environments.task import Task

    task = Task.of(EnvironmentSettings.model_validate_json(environment))
    if task.missing:
        return Observation((), 0)
    space = task.spaces.observation
    shape, kind = space.shape or (), np.dtype(space.dtype or np.float32)
    return Observation(shape, int(np.prod(shape)) * kind.itemsize)


def note(settings: RunSettings) -> dict[str, Any]:
    """The answers to remember beside the settings of a run."""
    return {"observation": asdict(_of(settings)), "size": asdict(size_of(settings.dataset))}


def _of(settings: RunSettings) -> Observation:
    """The shape that a model sees, and the bytes of what the dataset holds, a single frame."""
    one = observation_of(settings.environment.model_dump_json())
    shape = (*one.shape[:-1], *(side * settings.inputs.frame_stack for side in one.shape[-1:]))
    return Observation(shape, one.bytes)
