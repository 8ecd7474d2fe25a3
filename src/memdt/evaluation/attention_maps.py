"""Record attention of a trained policy in one evaluation episode: the step behind ``attention``.

The policy plays the episode as in evaluation. Then ``forward`` runs over its segments again and
records the attention probabilities of every layer and head. Source: RATE Figure 6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from memdt.data.demonstrations import Demonstrations
from memdt.data.segments import Segment
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.evaluation.evaluate import load_demonstrations, load_policy, rollout_of
from memdt.evaluation.rollout import Observer
from memdt.files import atomic_path
from memdt.models.interface import AttentionMaps, Policy, SequencePolicy, Step
from memdt.settings.schema import Condition, RunSettings


@dataclass(frozen=True)
class AttentionJob:
    """A run, and the paths of its files."""

    settings: RunSettings
    seed: int
    checkpoint: Path
    out: Path  # attention.npz
    dataset: Path | None = None  # source of demonstrations, for models that use them


def record_attention(job: AttentionJob) -> None:
    """Play the first evaluation episode at the training length, and write its attention weights.

    Raises UserError for a model without attention.
    """
    policy = load_policy(job.settings, job.checkpoint)
    demonstrations = load_demonstrations(job.settings, job.dataset, policy)
    segments = play_episode(job.settings, policy, job.seed, demonstrations)
    maps = attention_of(policy, segments) if isinstance(policy, SequencePolicy) else []
    if not maps:
        name = job.settings.model["name"]
        raise UserError(f"{name} has no attention to show", "figures.yaml", "name a transformer")
    weights = stack([segment_map.weights[0].float().cpu().numpy() for segment_map in maps])
    hint = Task.of(job.settings.environment).hint_steps
    numbers = {
        "memory_tokens": maps[0].memory_tokens,
        "cache": weights.shape[-1] - weights.shape[-2],
        "segment_length": job.settings.segment_length,
        "hint_start": hint.start,
        "hint_stop": hint.stop,
        "decision_step": sum(int(segment.mask.sum()) for segment in segments) - 1,
    }
    with atomic_path(job.out) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {name: np.array(value) for name, value in numbers.items()}
        np.savez_compressed(file, weights=weights, **arrays)


def play_episode(
    settings: RunSettings, policy: Policy, seed: int, demonstrations: Demonstrations | None = None
) -> list[Segment]:
    """Play the first evaluation episode, and return its segments of one row each.

    The episode is as long as the longest one of training. ``seed`` is that of the run.
    """
    environment_seeds = [settings.evaluation.first_seed]
    length = settings.training.segments
    rollout = rollout_of(
        settings, policy, Condition(), length, seed, environment_seeds,
        demonstrations=demonstrations,
    )  # fmt: skip
    observer = rollout.observer = _Steps(policy)
    rollout.play(environment_seeds)
    rollout.environment.close()
    steps = observer.steps[: length * settings.segment_length]  # not every task can be shortened
    segments = _as_segments(steps, settings.segment_length)
    return [replace(segment, demonstration=rollout.demonstration) for segment in segments]


class _Steps(Observer):
    """Records observation, action and return-to-go of every step, as the policy sees them."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.steps: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_step(self, alive: Any, step: Step, actions: Tensor, info: dict[str, Any]) -> None:
        step = self.policy.scaled(step)
        self.steps.append((step.observation, actions, step.return_to_go))


def _as_segments(steps: list[tuple[Tensor, Tensor, Tensor]], length: int) -> list[Segment]:
    """The steps of one episode, cut into padded segments of one row."""
    segments = []
    for first in range(0, len(steps), length):
        chunk = steps[first : first + length]
        real = len(chunk)
        chunk = chunk + [chunk[-1]] * (length - real)
        observations, actions, returns = (
            torch.stack(parts, dim=1) for parts in zip(*chunk, strict=True)
        )
        mask = torch.arange(length, device=returns.device)[None] < real
        segments.append(Segment(observations, actions, returns, mask))
    return segments


@torch.inference_mode()
def attention_of(policy: SequencePolicy, segments: list[Segment]) -> list[AttentionMaps]:
    """Return the attention in each segment of an episode; empty for a policy without attention."""
    memory, maps = policy.memory_after(segments[0].demonstration, 1), []
    for segment in segments:
        attention = policy.attention(segment, memory)
        if attention is None:
            return []
        maps.append(attention[0])
        memory = attention[1]
    return maps


def stack(
    maps: list[Float[np.ndarray, "layers heads queries keys"]],
) -> Float[np.ndarray, "segments layers heads queries widest"]:
    """Join the maps of all segments. The first segments have a shorter cache, filled with zeros."""
    keys = max(weights.shape[-1] for weights in maps)
    return np.stack([np.pad(w, [(0, 0)] * 3 + [(keys - w.shape[-1], 0)]) for w in maps])
