"""Frames on their way through training and rollouts: as bytes, encoded once, also in bfloat16."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces

from memdt import discovery
from memdt.data.segments import Segment
from memdt.models.interface import SequencePolicy, Spaces, Step
from memdt.settings.schema import TrainingSettings
from memdt.training.learners.behaviour_cloning import BehaviourCloning
from memdt.training.optimiser import AdamW
from memdt.training.train import be_deterministic

ROWS, STEPS, SEGMENTS = 3, 4, 2
SHAPE = (36, 64, 3)
SPACES = Spaces(gym_spaces.Box(0, 255, SHAPE, np.uint8), gym_spaces.Discrete(5))
SIZES = {"layers": 1, "heads": 2, "width": 16, "head_width": 8, "feed_forward_width": 16}


def policy_of(name: str, **parts: Any) -> SequencePolicy:
    module = discovery.load("memdt.models", name)
    torch.manual_seed(0)
    policy: SequencePolicy = module.build(module.Settings(name=name, **SIZES, **parts), SPACES)
    return policy


def segments() -> list[Segment]:
    draws = torch.Generator().manual_seed(0)
    size = (ROWS, STEPS)
    return [
        Segment(
            torch.randint(0, 256, (*size, *SHAPE), generator=draws, dtype=torch.uint8),
            torch.randint(0, 5, size, generator=draws),
            torch.rand(size, generator=draws),
            torch.ones(size, dtype=torch.bool),
        )
        for _ in range(SEGMENTS)
    ]


def learner_of(policy: SequencePolicy, precision: str) -> BehaviourCloning:
    settings = TrainingSettings(
        segments=SEGMENTS, updates_per_stage=(1,), batch_size=ROWS, learning_rate=1e-3,
        weight_decay=0.0, precision=precision,
    )  # fmt: skip
    optimiser = AdamW(policy.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    return BehaviourCloning(policy, settings, optimiser, torch.Generator(), STEPS)


class Watch:
    """What goes into the encoder of frames and into its first layer."""

    def __init__(self, policy: SequencePolicy) -> None:
        self.frames: list[torch.Tensor] = []
        self.images: list[torch.Tensor] = []
        encoder = policy.steps.observation
        encoder.register_forward_pre_hook(lambda _, given: self.frames.append(given[0]))
        first = encoder.convolutions[0]
        first.register_forward_pre_hook(lambda _, given: self.images.append(given[0]))

    @property
    def count(self) -> int:
        """Frames that were encoded."""
        return sum(image.shape[0] for image in self.images)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_update_encodes_every_frame_once_from_its_bytes(precision: str) -> None:
    policy = policy_of("rate", memory_tokens=2)
    watch = Watch(policy)
    learner_of(policy, precision).update(0, segments())
    assert watch.count == ROWS * STEPS * SEGMENTS
    assert {frames.dtype for frames in watch.frames} == {torch.uint8}
    # Pixels beside each other in memory, as they come: convolutions on a GPU want them so.
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in watch.images)


def test_bfloat16_changes_an_update_on_frames_only_a_little() -> None:
    norms = {}
    for precision in ("float32", "bfloat16"):
        policy = policy_of("rate", memory_tokens=2)
        figures = learner_of(policy, precision).update(0, segments())
        norms[precision] = float(figures["gradient_norm"])
        assert {p.dtype for p in policy.parameters()} == {torch.float32}
        norms[f"loss {precision}"] = float(figures["loss"][0] / figures["loss"][1])
    assert norms["bfloat16"] != norms["float32"]
    assert norms["bfloat16"] == pytest.approx(norms["float32"], rel=0.1)
    assert norms["loss bfloat16"] == pytest.approx(norms["loss float32"], rel=0.02)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "parts"), [("rate", {"memory_tokens": 2}), ("decision_transformer", {})]
)
def test_a_rollout_encodes_every_frame_once_also_where_a_window_slides(
    name: str, parts: dict[str, Any]
) -> None:
    policy = policy_of(name, **parts).eval()
    watch, frames = Watch(policy), segments()[0].observations
    state = policy.begin_segment(policy.initial_memory(ROWS), context_steps=2)
    steps = 2 if policy.recurrent else STEPS
    for time in range(steps):
        previous = torch.zeros(ROWS, dtype=torch.int64) if time else None
        _, state = policy.step(Step(frames[:, time], torch.ones(ROWS), previous), state)
    assert watch.count == ROWS * steps


def test_the_deterministic_mode_warns_and_does_not_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    filled = torch.utils.deterministic.fill_uninitialized_memory
    try:
        be_deterministic(torch.device("cpu"))
        assert not torch.are_deterministic_algorithms_enabled()
        be_deterministic(torch.device("cuda"))
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = filled
