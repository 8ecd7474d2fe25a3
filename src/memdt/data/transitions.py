"""Transitions (observation, action, reward, next observation), for learners of values.

An episode of three steps that reached a terminal state, in a window of five steps (f: its final
observation):

    observations        o0 o1 o2 o2 o2      padding repeats the last step
    actions             a0 a1 a2 .  .
    rewards             r0 r1 r2 .  .
    next_observations   o1 o2 f  f  f
    terminal            F  F  T  T  T       True: no later rewards are possible
    mask                T  T  T  F  F

An episode that was cut off by a time limit, or whose first steps alone were kept, has no terminal
step. A learner must estimate the value of its final observation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from memdt.data.segments import EpisodeTensors


@dataclass(frozen=True)
class Transitions:
    """Steps of several episodes side by side, each with its reward and next observation."""

    observations: Shaped[Tensor, "batch time ..."]
    actions: Shaped[Tensor, "batch time ..."]
    rewards: Float[Tensor, "batch time"]
    next_observations: Shaped[Tensor, "batch time ..."]
    terminal: Bool[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]  # True: a real step


def transitions(
    tensors: EpisodeTensors,
    first: Int[np.ndarray, " batch"],
    last: Int[np.ndarray, " batch"],
    steps: int,
) -> Transitions:
    """Return the steps ``first .. first + steps - 1`` of every row, padded from ``last`` on.

    Args:
        tensors: the dataset.
        first: number of each row's first step, counted over the whole dataset.
        last: one past the last real step of each row; in the same episode.
        steps: width of the window; 1 for single transitions.
    """
    device = tensors.actions.device
    window = tensors.window(first, last, steps)
    index = torch.as_tensor(first, device=device)[:, None] + torch.arange(steps, device=device)
    index = torch.minimum(index, torch.as_tensor(last, device=device)[:, None] - 1)
    borders = torch.as_tensor(tensors.offsets, device=device)
    episode = torch.searchsorted(borders, index, right=True) - 1
    ends = index + 1 == borders[episode + 1]
    return Transitions(
        observations=window.observations,
        actions=window.actions,
        rewards=tensors.rewards[index].masked_fill(~window.mask, 0.0),
        next_observations=_next_observations(tensors, index, episode, ends),
        terminal=ends & tensors.terminated[episode],
        mask=window.mask,
    )


def _next_observations(
    tensors: EpisodeTensors,
    index: Int[Tensor, "batch time"],
    episode: Int[Tensor, "batch time"],
    ends: Bool[Tensor, "batch time"],
) -> Shaped[Tensor, "batch time ..."]:
    """The observation after each step; at the end of an episode its final observation."""
    final = tensors.final_observations[episode]
    if tensors.frame_stack > 1:  # the newest frame replaces the oldest one
        final = torch.cat([tensors.observed(index)[..., final.shape[-1] :], final], dim=-1)
    # At an end, the row below is of another episode; its own row stands in, and is replaced.
    following = tensors.observed(torch.where(ends, index, index + 1))
    return torch.where(ends.view(*ends.shape, *(1,) * (following.dim() - 2)), final, following)
