"""Record what a trained policy attends to in one evaluation episode: the step behind ``attention``.

The policy plays the episode as in evaluation; then its segments are run through ``forward`` once
more, and the attention probabilities of every layer and head are kept. Source: RATE Figure 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from memdt.data.segments import Segment
from memdt.environments import interface as environments
from memdt.errors import UserError
from memdt.evaluation.evaluate import load_policy
from memdt.files import atomic_path
from memdt.models.interface import Step
from memdt.models.segment_transformer import SegmentTransformer
from memdt.models.transformer import Recording
from memdt.settings.schema import RunSettings


@dataclass(frozen=True)
class Job:
    """Which run, and where its files lie."""

    settings: RunSettings
    seed: int
    checkpoint: Path
    out: Path  # attention.npz


def record_attention(job: Job) -> None:
    """Play the first evaluation episode of the trained length and write its attention weights."""
    policy = load_policy(job.settings, job.checkpoint)
    if not isinstance(policy, SegmentTransformer):
        name = job.settings.model["name"]
        raise UserError(f"{name} has no attention to show", "figures.yaml", "name a transformer")
    segments = play_episode(job.settings, policy)
    weights = attention_weights(policy, segments)
    marks = {
        "memory_tokens": policy.settings.memory_tokens,
        "cache": weights.shape[-1] - weights.shape[-2],
        "segment_length": job.settings.segment_length,
        "hint_step": 0,
        "decision_step": _last_step(segments),
    }
    with atomic_path(job.out) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {name: np.array(value) for name, value in marks.items()}
        np.savez_compressed(file, weights=weights, **arrays)


@torch.inference_mode()
def play_episode(settings: RunSettings, policy: SegmentTransformer) -> list[Segment]:
    """The first evaluation episode, as long as training's longest, as segments of one row."""
    module = environments.load(settings.environment.module)
    parameters = module.Settings(**settings.environment.parameters)
    length = settings.segment_length
    parameters = module.parameters_for(parameters, settings.training.segments, length)
    environment = module.make(parameters)
    observation, _ = environment.reset(seed=settings.evaluation.first_seed)
    left = torch.tensor([settings.evaluation.target_return], dtype=torch.float32)
    state = policy.begin_segment(policy.initial_memory(1), length)
    steps: list[tuple[Tensor, Tensor, Tensor]] = []
    previous: Tensor | None = None
    ended = False
    while not ended:
        if previous is not None and policy.recurrent and len(steps) % length == 0:
            state = policy.begin_segment(policy.end_segment(previous, state), length)
            previous = None
        seen = torch.as_tensor(observation)[None]
        outputs, state = policy.step(Step(seen, left, previous), state)
        previous = outputs.argmax(-1) if policy.spaces.discrete else outputs
        steps.append((seen, previous, left))
        observation, reward, terminated, truncated, _ = environment.step(_native(previous))
        left = left - float(reward)
        ended = terminated or truncated
    return _as_segments(steps, length)


def _native(action: Tensor) -> int | Float[np.ndarray, " action"]:
    return int(action) if action.dim() == 1 else action[0].numpy()


def _as_segments(steps: list[tuple[Tensor, Tensor, Tensor]], length: int) -> list[Segment]:
    """Steps of one episode cut into padded segments of one row."""
    segments = []
    for first in range(0, len(steps), length):
        chunk = steps[first : first + length]
        real = len(chunk)
        chunk = chunk + [chunk[-1]] * (length - real)
        observations, actions, returns = (
            torch.stack(parts, dim=1) for parts in zip(*chunk, strict=True)
        )
        mask = torch.arange(length)[None] < real
        segments.append(Segment(observations, actions, returns, mask))
    return segments


@torch.inference_mode()
def attention_weights(
    policy: SegmentTransformer, segments: list[Segment]
) -> Float[np.ndarray, "segments layers heads queries keys"]:
    """Attention probabilities of every segment; the first segments have no cache (zeros there)."""
    memory = policy.initial_memory(1)
    maps = []
    for segment in segments:
        recording = Recording(weights=[])
        _, memory = policy(segment, memory, recording)
        assert recording.weights is not None
        maps.append(torch.stack([layer[0] for layer in recording.weights]).float().numpy())
    keys = max(weights.shape[-1] for weights in maps)
    padded = [np.pad(w, [(0, 0)] * 3 + [(keys - w.shape[-1], 0)]) for w in maps]
    return np.stack(padded)


def _last_step(segments: list[Segment]) -> int:
    return sum(int(segment.mask.sum()) for segment in segments) - 1
