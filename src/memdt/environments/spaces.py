"""The spaces of observations and actions, and their JSON form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces


@dataclass(frozen=True)
class Spaces:
    """The spaces of an environment. Models choose their encoders and heads by these alone."""

    observation: spaces.Space[Any]
    action: spaces.Space[Any]

    @property
    def discrete(self) -> bool:
        """Whether actions are discrete, and not vectors."""
        return isinstance(self.action, spaces.Discrete)

    @property
    def action_outputs(self) -> int:
        """Size of the action head: number of choices, or dimensions of a continuous action."""
        if isinstance(self.action, spaces.Discrete):
            return int(self.action.n)
        assert isinstance(self.action, spaces.Box)
        return int(self.action.shape[0])

    def as_json(self) -> str:
        """Return both spaces as JSON text; equal spaces give equal text."""
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
    """The bounds as JSON values; a single number if all are equal, as they are for frames."""
    distinct = [float(value) for value in np.unique(values)]
    bound = distinct[0] if len(distinct) == 1 else values.tolist()
    # JSON has no infinity, so bounds that are infinite become text.
    return json.loads(json.dumps(bound).replace("-Infinity", '"-inf"').replace("Infinity", '"inf"'))
