"""TAP's autoencoder: three steps of a trajectory as one of a few hundred codes, given the state.

Source: Jiang et al. 2023, section 3, and their public code where the paper leaves it open.

    steps        x_0 x_1 x_2 | x_3 x_4 x_5 | ...     x = state, action, reward, value, ended
    encoder      causal blocks, the largest of each three states, nearest code
    codes            c_0     |     c_1     | ...
    decoder      (s_0, c_0) three times | (s_0, c_1) three times | ..., causal blocks
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from memdt.models.parts.causal_blocks import CausalBlocks, Past
from memdt.settings.schema import Frozen


class AutoencoderSettings(Frozen):
    """Sizes that autoencoder and prior share."""

    STEPS_OF_CODE: ClassVar[int] = 3  # L in Jiang et al. 2023

    layers: int = Field(default=4, gt=0, description="of encoder, decoder and prior each")
    heads: int = Field(default=4, gt=0)
    width: int = Field(default=512, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    codes: int = Field(default=512, gt=0)
    code_width: int = Field(default=512, gt=0)
    window: int = Field(default=24, gt=0, multiple_of=3, description="steps of a trajectory")
    code_decay: float = Field(default=0.99, gt=0, lt=1, description="of a code's moving average")

    @model_validator(mode="after")
    def _heads_fit(self) -> AutoencoderSettings:
        if self.width % self.heads:
            raise ValueError(f"model.width {self.width} is not divisible by {self.heads} heads")
        return self


class Codebook(nn.Module):
    """Codes that follow the means of what is nearest to them, by moving averages.

    Without smoothing, counts from 1, and pulled towards are codes after their update: vector-
    quantize-pytorch can be told none of the three (docs/decisions/0009).
    Source: van den Oord et al. 2017, appendix A.1.
    """

    def __init__(self, codes: int, width: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        drawn = torch.empty(codes, width).uniform_(-1 / codes, 1 / codes)
        self.register_buffer("codes", drawn)
        self.register_buffer("sums", drawn.clone())
        # Never 0, so that a code that no point is near to can be divided by its count.
        self.register_buffer("counts", torch.ones(codes))

    def nearest(self, points: Float[Tensor, "*rows width"]) -> Int[Tensor, " *rows"]:
        """The number of the code that is closest to each point."""
        squares = self.codes.square().sum(-1)
        # The square of the point itself is the same for all codes.
        return (squares - 2 * points @ self.codes.T).argmin(-1)

    @torch.no_grad()
    def follow(self, points: Float[Tensor, "rows width"], numbers: Int[Tensor, " rows"]) -> None:
        """Move every code towards the mean of its points."""
        counts = torch.zeros_like(self.counts).index_add_(0, numbers, points.new_ones(len(points)))
        sums = torch.zeros_like(self.sums).index_add_(0, numbers, points)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        self.codes.copy_(self.sums / self.counts[:, None])


class Autoencoder(nn.Module):
    """Encoder, codebook and decoder of steps of ``state_width`` + ``others`` numbers."""

    def __init__(self, settings: AutoencoderSettings, state_width: int, others: int) -> None:
        super().__init__()
        width, size = settings.width, state_width + others
        self.state_width, self.each = state_width, settings.STEPS_OF_CODE
        shape = (settings.layers, settings.heads, width, settings.dropout)
        self.position = nn.Parameter(torch.zeros(settings.window, width))  # of both halves
        self.dropout = nn.Dropout(settings.dropout)
        self.step = nn.Linear(size, width)
        self.encoder = CausalBlocks(*shape)
        self.to_code = nn.Linear(width, settings.code_width)
        self.codebook = Codebook(settings.codes, settings.code_width, settings.code_decay)
        self.from_code = nn.Linear(state_width + settings.code_width, width)
        self.decoder = CausalBlocks(*shape)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, size)

    def points(self, steps: Float[Tensor, "batch time size"]) -> Float[Tensor, "batch code width"]:
        """Where a trajectory lies among the codes, every three steps."""
        tokens = self.dropout(self.step(steps) + self.position[: steps.shape[1]])
        states, _ = self.encoder(tokens)
        pooled = functional.max_pool1d(states.transpose(1, 2), self.each, self.each)
        return self.to_code(pooled.transpose(1, 2))

    def forward(
        self, steps: Float[Tensor, "batch time size"]
    ) -> tuple[Float[Tensor, "batch time size"], Int[Tensor, "batch code"], Float[Tensor, ""]]:
        """The trajectory again, its codes, and the squared distance of points from their codes.

        In training the codes follow, and gradient passes through the choice of a code.
        """
        points = self.points(steps)
        numbers = self.codebook.nearest(points)
        chosen = self.codebook.codes[numbers]
        if self.training:
            self.codebook.follow(points.detach().flatten(0, 1), numbers.flatten())
        distance = functional.mse_loss(points, self.codebook.codes[numbers].detach())
        # Straight-through: the value of the code, with the gradient of the point.
        straight = points + (chosen - points).detach()
        made, _ = self.decode(steps[:, 0, : self.state_width], straight)
        return made, numbers, distance

    def decode(
        self,
        state: Float[Tensor, "rows state"],
        codes: Float[Tensor, "rows code width"],
        past: Past | None = None,
    ) -> tuple[Float[Tensor, "rows time size"], Past]:
        """Three steps for each code after those of ``past``; whether they ended as a logit."""
        given = torch.cat([state[:, None].expand(-1, codes.shape[1], -1), codes], dim=-1)
        tokens = self.from_code(given).repeat_interleave(self.each, dim=1)
        first = 0 if past is None else past[0][0].shape[2]
        position = self.position[first : first + tokens.shape[1]]
        states, following = self.decoder(self.dropout(tokens + position), past)
        made = self.output(self.norm(states))
        # States are predicted as differences from the given one.
        shift = functional.pad(state, (0, made.shape[-1] - self.state_width))
        return made + shift[:, None], following
