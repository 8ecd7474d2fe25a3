"""What environments show at a step, so that a plan can count bytes and multiplications.

An environment is made once to find out, and what it showed is kept beside its checked settings
(`settings/remembered.py`): planning then imports neither torch nor a simulator.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from memdt.settings import remembered
from memdt.settings.schema import EnvironmentSettings, RunSettings


@dataclass(frozen=True)
class Observation:
    """Shape and size of one observation."""

    shape: tuple[int, ...]
    bytes: int


@cache
def observation(experiment: str, variant: str, scale: str) -> Observation:
    """What the run's environment shows, from memory where there is one."""
    note = remembered.note_of(experiment, variant, scale)
    if note is None:
        return _of(remembered.resolve(experiment, variant, scale).settings)
    return Observation(tuple(note["shape"]), note["bytes"])


@cache
def observation_of(environment: str) -> Observation:
    """What an environment shows, given its settings as JSON; nothing without its simulator."""
    import numpy as np

    from memdt.environments import interface

    settings = EnvironmentSettings.model_validate_json(environment)
    module = interface.load(settings.module)
    if interface.missing(module):
        return Observation((), 0)
    made = module.make(module.Settings(**settings.parameters))
    made.close()
    space = made.observation_space
    shape, kind = space.shape or (), np.dtype(space.dtype or np.float32)
    return Observation(shape, int(np.prod(shape)) * kind.itemsize)


def note(settings: RunSettings) -> dict[str, Any]:
    """The observation of a run's environment, as it is kept beside the settings."""
    return asdict(_of(settings))


def _of(settings: RunSettings) -> Observation:
    return observation_of(settings.environment.model_dump_json())
