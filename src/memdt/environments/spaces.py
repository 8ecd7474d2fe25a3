"""The spaces of observations and actions, and their form in files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces


@dataclass(frozen=True)
class Spaces:
    """What a model knows of an environment: encoders and heads are chosen from these alone."""

    observation: spaces.Space[Any]
    action: spaces.Space[Any]

    @property
    def discrete(self) -> bool:
        """Whether actions are numbers of choices, not vectors."""
        return isinstance(self.action, spaces.Discrete)

    @property
    def action_outputs(self) -> int:
        """Size of the action head: choices, or dimensions of a continuous action."""
        if isinstance(self.action, spaces.Discrete):
            return int(self.action.n)
        assert isinstance(self.action, spaces.Box)
        return int(self.action.shape[0])

    def as_json(self) -> str:
        """Both spaces as JSON text; equal spaces give equal text."""
        both = {"observation": _described(self.observation), "action": _described(self.action)}
        return json.dumps(both, sort_keys=True)


def _described(space: spaces.Space[Any]) -> dict[str, Any]:
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.Box):
        return {
            "type": "Box",
            "shape": list(space.shape),
            "dtype": str(space.dtype),
            "low": _bound(space.low),
            "high": _bound(space.high),
        }
    return {"type": type(space).__name__, "text": str(space)}


def _bound(values: np.ndarray) -> Any:
    """One number where all are equal, as of frames; JSON has no infinity, so text stands for it."""
    flat = [float(value) for value in np.unique(values)]
    found = flat[0] if len(flat) == 1 else values.tolist()
    return json.loads(json.dumps(found).replace("-Infinity", '"-inf"').replace("Infinity", '"inf"'))
