"""Observations standardised and returns scaled, by statistics that travel with the weights.

Training scales the dataset once and a rollout every step, so that no model knows of it.
Source: Decision Transformer (Chen et al. 2021), appendix A: states are standardised, returns
divided by a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from memdt.data.segments import EpisodeTensors, Observations
from memdt.environments.spaces import Spaces
from memdt.errors import UserError
from memdt.settings.schema import InputSettings

CONSTANT = 1e-6  # a dimension that deviates less is only centred


class InputScaling(nn.Module):
    """Mean and deviation of observations and the scale of returns, as buffers of a policy."""

    mean: Float[Tensor, " dimensions"]
    deviation: Float[Tensor, " dimensions"]
    return_scale: Float[Tensor, ""]

    def __init__(self, settings: InputSettings, spaces: Spaces) -> None:
        """UserError where observations to be standardised are no vectors."""
        super().__init__()
        self.settings = settings
        shape = spaces.observation.shape or ()
        if settings.observations == "standardized" and len(shape) != 1:
            what = f"observations of {spaces.observation} cannot be standardized"
            raise UserError(what, "inputs.observations", "leave them raw")
        size = shape[0] if len(shape) == 1 else 0
        scale = 1.0 if settings.return_scale == "dataset" else settings.return_scale
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.register_buffer("return_scale", torch.tensor(float(scale)))

    @torch.no_grad()
    def fit(self, statistics: Mapping[str, Any]) -> None:
        """Take the statistics of a dataset, as its file holds them."""
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
        return (observations - self.mean) / self.deviation

    def returns(self, returns: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns-to-go as the policy sees them."""
        return returns / self.return_scale

    def episodes(self, episodes: EpisodeTensors) -> EpisodeTensors:
        """A dataset as the policy sees it; rewards stay as they are."""
        held = episodes.observations
        return replace(
            episodes,
            observations=(
                self.observations(held) if isinstance(held, Tensor) else _ScaledOnDisk(held, self)
            ),
            final_observations=self.observations(episodes.final_observations),
            returns_to_go=self.returns(episodes.returns_to_go),
        )


@dataclass(frozen=True)
class _ScaledOnDisk:
    """Observations that stay on disk, scaled when they are read."""

    held: Observations
    scaling: InputScaling

    def __getitem__(self, index: Int[Tensor, "*batch time"]) -> Shaped[Tensor, "*batch time ..."]:
        return self.scaling.observations(self.held[index])
