"""The models that are measured, and input for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from memdt import discovery
from memdt.data.segments import Segment
from memdt.models.interface import SequencePolicy, Spaces
from memdt.settings.schema import TrainingSettings
from memdt.training.learners.behaviour_cloning import BehaviourCloning
from memdt.training.optimiser import AdamW

SEGMENT_LENGTH = 30
SPACES = Spaces(spaces.Box(-1, 1, (4,), np.float32), spaces.Discrete(4))  # those of T-Maze


@dataclass(frozen=True, eq=False)
class Size:
    """A model with its sizes."""

    label: str
    model: str
    parts: dict[str, Any]

    def build(self, spaces_of: Spaces = SPACES) -> SequencePolicy:
        """The policy, with random weights; its first choice is always to walk on."""
        module = discovery.load("memdt.models", self.model)
        torch.manual_seed(0)
        policy: SequencePolicy = module.build(
            module.Settings(name=self.model, **self.parts), spaces_of
        )
        with torch.no_grad():
            policy.head.bias[0] = 100.0
        return policy


_SMALL = {"layers": 2, "heads": 4, "width": 64, "head_width": 16, "feed_forward_width": 128}
_BIG = {"layers": 8, "heads": 10, "width": 64, "head_width": 64, "feed_forward_width": 0}
SMALL = Size("RATE 2 x 4 x 16", "rate", {**_SMALL, "memory_tokens": 5})
BIG = Size("RATE 8 x 10 x 64", "rate", {**_BIG, "memory_tokens": 5})
SMALL_WINDOW = Size("DT 2 x 4 x 16", "decision_transformer", _SMALL)


def trainer_of(policy: SequencePolicy, rows: int) -> BehaviourCloning:
    """What updates a policy on batches of so many rows."""
    settings = TrainingSettings(
        segments=1, updates_per_stage=(1,), batch_size=rows, learning_rate=1e-3, weight_decay=0.0
    )
    optimiser = AdamW(policy.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    return BehaviourCloning(policy, settings, optimiser, torch.Generator(), SEGMENT_LENGTH)


def batch_of(segments: int, rows: int, steps: int = SEGMENT_LENGTH) -> list[Segment]:
    """Random segments of full length."""
    draws = torch.Generator().manual_seed(0)
    return [
        Segment(
            observations=torch.randn(rows, steps, 4, generator=draws),
            actions=torch.randint(0, 4, (rows, steps), generator=draws),
            returns_to_go=torch.ones(rows, steps),
            mask=torch.ones(rows, steps, dtype=torch.bool),
        )
        for _ in range(segments)
    ]
