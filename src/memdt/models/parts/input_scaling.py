"""Observations and returns scaled, by statistics that travel with the weights.

Training scales the dataset once and a rollout every step, so that no model knows of it.
Source: Decision Transformer (Chen et al. 2021), appendix A: states are standardised, returns
divided by a constant. Frames minus their mean frame: Deviation D130.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from memdt.data.segments import EpisodeTensors, Observations
from memdt.environments.spaces import Spaces
from memdt.errors import UserError
from memdt.settings.schema import InputSettings

CONSTANT = 1e-6  # a dimension that deviates less is only centred
SAMPLED_FRAMES = 4096  # at most so many, spread evenly over the episodes, make the mean frame
AT_ONCE = 1024  # frames that are centred together, which bounds the memory for their floats


class InputScaling(nn.Module):
    """Mean and deviation of observations and the scale of returns, as buffers of a policy."""

    mean: Float[Tensor, "*dimensions"]  # of vectors, or of single frames
    deviation: Float[Tensor, " dimensions"]
    return_scale: Float[Tensor, ""]

    def __init__(self, settings: InputSettings, spaces: Spaces) -> None:
        """UserError if what is standardized is no vector, or what is centered no frame of bytes."""
        super().__init__()
        self.settings = settings
        space = spaces.observation
        shape = space.shape or ()
        frames = len(shape) == 3 and space.dtype == np.uint8
        fits = {"raw": True, "standardized": len(shape) == 1, "centered": frames}
        if not fits[settings.observations]:
            what = f"observations of {space} cannot be {settings.observations}"
            raise UserError(what, "inputs.observations", "leave them raw")
        size = shape[0] if len(shape) == 1 else 0
        single = (*shape[:-1], shape[-1] // settings.frame_stack) if frames else (size,)
        scale = 1.0 if settings.return_scale == "dataset" else settings.return_scale
        centered = settings.observations == "centered"
        self.register_buffer("mean", torch.zeros(single if centered else size))
        self.register_buffer("deviation", torch.ones(size))
        self.register_buffer("return_scale", torch.tensor(float(scale)))

    @torch.no_grad()
    def fit(self, statistics: Mapping[str, Any], episodes: EpisodeTensors) -> None:
        """Take the statistics that the dataset's file holds, and the mean frame of ``episodes``."""
        if self.settings.observations == "centered":
            steps = len(episodes.actions)
            every = -(-steps // SAMPLED_FRAMES)
            sampled = torch.arange(0, steps, every, device=episodes.actions.device)[:, None]
            self.mean.copy_(episodes.observations[sampled].flatten(0, 1).float().mean(0))
        if self.settings.observations == "standardized":
            moments = statistics["observations"]
            deviation = torch.tensor(moments["deviation"])
            self.mean.copy_(torch.tensor(moments["mean"]))
            self.deviation.copy_(torch.where(deviation > CONSTANT, deviation, 1.0))
        if self.settings.return_scale == "dataset":
            returns = statistics["returns"]
            self.return_scale.fill_(max(abs(returns["least"]), abs(returns["most"])) or 1.0)

    def observations(self, observations: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Observations as the policy sees them."""
        if self.settings.observations == "raw":
            return observations
        if self.settings.observations == "centered":
            return _centered(observations, self.mean)
        return (observations - self.mean) / self.deviation

    def returns(self, returns: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns-to-go as the policy sees them."""
        return returns / self.return_scale

    def episodes(self, episodes: EpisodeTensors) -> EpisodeTensors:
        """A dataset as the policy sees it; rewards stay as they are."""
        held = episodes.observations
        if not isinstance(held, Tensor):
            held = _ScaledOnDisk(held, self)
        elif self.settings.observations != "raw":
            seen = torch.empty_like(held)
            for raw, scaled in zip(held.split(AT_ONCE), seen.split(AT_ONCE), strict=True):
                scaled.copy_(self.observations(raw))
            held = seen
        return replace(
            episodes,
            observations=held,
            final_observations=self.observations(episodes.final_observations),
            returns_to_go=self.returns(episodes.returns_to_go),
        )


def _centered(
    frames: Shaped[Tensor, "... height columns channels"],
    mean: Float[Tensor, "height columns single"],
) -> Shaped[Tensor, "... height columns channels"]:
    """Subtract the mean frame; half of the difference, shifted by 128, still fits into a byte."""
    background = mean.repeat(1, 1, frames.shape[-1] // mean.shape[-1])
    halved = ((frames - background) / 2 + 128).round_()
    return halved.clamp_(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class _ScaledOnDisk:
    """Observations that stay on disk, scaled when they are read."""

    held: Observations
    scaling: InputScaling

    def __getitem__(self, index: Int[Tensor, "*batch time"]) -> Shaped[Tensor, "*batch time ..."]:
        return self.scaling.observations(self.held[index])
