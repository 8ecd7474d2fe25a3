"""TAP: plans in the codes of an autoencoder of trajectories, anew at every step of the environment.

A beam search over codes that a prior thinks likely; the decoder says what each plan would earn.
Source: Jiang et al. 2023; their public code for the objective and the search. Deviation D114. Its
two phases are two runs: ``training.trainable`` names ``autoencoder.*``, then ``prior.*``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from memdt.data.segments import Segment
from memdt.errors import UserError
from memdt.models.interface import Choice, Policy, Segmentation, Spaces, State, Step
from memdt.models.parts.causal_blocks import CausalBlocks, Past, map_past
from memdt.models.parts.trajectory_autoencoder import Autoencoder, AutoencoderSettings
from memdt.seeding import stream

LEARNER = "trajectory_autoencoding"
PLANS_AT_ONCE = 4096  # of all rows together; more would leave the cache, or the memory of a card


class Settings(AutoencoderSettings):
    """Sizes, and how plans are searched for."""

    name: str
    horizon: int = Field(default=15, gt=0, multiple_of=3, description="steps of a plan")
    beams: int = Field(default=64, gt=0, description="plans that are kept")
    expansions: int = Field(default=4, gt=0, description="codes drawn to continue each of them")
    discount: float = Field(default=0.99, ge=0, le=1, description="of rewards, per step")
    least_probability: float = Field(
        default=0.05, gt=0, le=1, description="of a code; less likely plans are charged"
    )
    charge: float = Field(default=500.0, ge=0, description="for each unit of log-probability")


class Prior(nn.Module):
    """The probability of the next code, given the state and the codes before."""

    def __init__(self, settings: Settings, state_width: int) -> None:
        super().__init__()
        width = settings.width
        self.code = nn.Embedding(settings.codes, width)
        self.position = nn.Parameter(torch.zeros(settings.window // 3, width))
        self.state = nn.Linear(state_width, width)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = CausalBlocks(settings.layers, settings.heads, width, settings.dropout)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, settings.codes, bias=False)

    def forward(
        self,
        state: Float[Tensor, "rows state"],
        codes: Int[Tensor, "rows code"],
        past: Past | None = None,
    ) -> tuple[Float[Tensor, "rows code codes"], Past]:
        """Logits of what follows each code; a trajectory begins with code 0, as if with nothing."""
        first = 0 if past is None else past[0][0].shape[2]
        tokens = self.code(codes) + self.state(state)[:, None]
        tokens = tokens + self.position[first : first + codes.shape[1]]
        states, following = self.blocks(self.dropout(tokens), past)
        return self.output(self.norm(states)), following


@dataclass(frozen=True)
class Draws(State):
    """The number of each episode and of its step, which name what is drawn for its plans."""

    episodes: Int[Tensor, " batch"]
    step: int = 0

    def rows(self, rows: Bool[Tensor, " batch"]) -> Draws:
        """Those of the episodes marked true."""
        return Draws(self.episodes[rows.cpu()], self.step)

    def uniform(self, seed: int, count: int) -> Float[Tensor, "batch count"]:
        """Draws from [0, 1): those of an episode do not depend on the others."""
        generators = [
            torch.Generator().manual_seed(stream(seed, "plan", int(episode), self.step))
            for episode in self.episodes
        ]
        return torch.stack([torch.rand(count, generator=one) for one in generators])


@dataclass(frozen=True)
class Plans:
    """So many plans for each row of a batch; both dimensions are one in all but two tensors."""

    codes: Int[Tensor, "batch plan"]  # the last one of each
    log_probability: Float[Tensor, "batch plan"]  # of all its codes
    # Of every code that may follow the last one.
    next_log_probabilities: Float[Tensor, "plans codes"] | None = None
    steps: Float[Tensor, "plans time size"] | None = None  # decoded steps
    prior: Past | None = None
    decoder: Past | None = None

    def chosen(self, index: Int[Tensor, "batch new"]) -> Plans:
        """These plans of each row, in that order; one may come several times."""
        row = torch.arange(len(index), device=index.device)[:, None]

        following = self.next_log_probabilities

        def of(part: Tensor) -> Tensor:
            return part.unflatten(0, (len(index), -1))[row, index].flatten(0, 1)

        return Plans(
            codes=self.codes.gather(1, index),
            log_probability=self.log_probability.gather(1, index),
            next_log_probabilities=None if following is None else of(following),
            steps=None if self.steps is None else of(self.steps),
            prior=None if self.prior is None else map_past(of, self.prior),
            decoder=None if self.decoder is None else map_past(of, self.decoder),
        )


class TrajectoryAutoencodingPlanner(Policy):
    """Autoencoder, prior, and the search; returns-to-go are ignored."""

    def __init__(self, settings: Settings, spaces: Spaces) -> None:
        """UserError where observations or actions are no vectors, or a plan exceeds the window."""
        super().__init__(spaces)
        if spaces.discrete or len(spaces.observation.shape or ()) != 1:
            raise UserError("this model needs vectors to see and to do", "model.name")
        if settings.horizon > settings.window:
            what = f"model.horizon is {settings.horizon}, model.window {settings.window}"
            raise UserError(what, "model.horizon", "plan no further than a trajectory goes")
        self.settings = settings
        states, self.actions = int((spaces.observation.shape or (0,))[0]), spaces.action_outputs
        self.autoencoder = Autoencoder(settings, states, self.actions + 3)
        self.prior = Prior(settings, states)
        # Of action, reward and value in the dataset.
        self.register_buffer("mean", torch.zeros(self.actions + 2))
        self.register_buffer("deviation", torch.ones(self.actions + 2))

    def begin(
        self,
        rows: int,
        demonstration: Segment | None = None,
        segmentation: Segmentation | None = None,
    ) -> Draws:
        """Nothing is remembered but which draws come next."""
        return Draws(torch.arange(rows))

    def act(self, step: Step, state: State, choice: Choice) -> tuple[Tensor, State]:
        """The first action of the best plan found; greedy or not, the search draws its codes."""
        assert isinstance(state, Draws)
        # Deviation D114: the generator's seed and not its state, which depends on other rows.
        settings, seed = self.settings, choice.generator.initial_seed()
        plans, levels = settings.beams * settings.expansions, settings.horizon // 3
        draws = state.uniform(seed, levels * plans).unflatten(1, (levels, plans))
        rows = max(1, PLANS_AT_ONCE // plans)
        pairs = zip(step.observation.split(rows), draws.split(rows), strict=True)
        actions = torch.cat([self._planned(seen, drawn.to(seen.device)) for seen, drawn in pairs])
        return actions, Draws(state.episodes, state.step + 1)

    def _planned(
        self, state: Float[Tensor, "batch state"], draws: Float[Tensor, "batch level plan"]
    ) -> Float[Tensor, "batch action"]:
        """A beam search in which every level adds one code, so three steps, to each plan."""
        start = torch.zeros(len(state), 1, dtype=torch.int64, device=state.device)
        plans = self._with_next_codes(state, Plans(codes=start, log_probability=start.float()))
        for remaining in reversed(range(draws.shape[1])):
            plans = self._extended(state, plans, draws[:, -1 - remaining])
            kept = self.settings.beams if remaining else 1
            plans = plans.chosen(self.scores(plans).topk(kept, dim=1).indices)
            if remaining:
                plans = self._with_next_codes(state, plans)
        assert plans.steps is not None
        first = self.autoencoder.state_width
        action = plans.steps[:, 0, first : first + self.actions]
        return action * self.deviation[: self.actions] + self.mean[: self.actions]

    def _with_next_codes(self, state: Float[Tensor, "batch state"], plans: Plans) -> Plans:
        """The plans with the probabilities of what may follow their last code."""
        states = state.repeat_interleave(plans.codes.shape[1], dim=0)
        logits, past = self.prior(states, plans.codes.flatten()[:, None], plans.prior)
        return replace(plans, next_log_probabilities=logits[:, -1].log_softmax(-1), prior=past)

    def _extended(
        self, state: Float[Tensor, "batch state"], plans: Plans, draws: Float[Tensor, "batch plan"]
    ) -> Plans:
        """Several plans for each, one code longer; each parent gets equally many."""
        assert plans.next_log_probabilities is not None
        log_probabilities = plans.next_log_probabilities.unflatten(0, (len(state), -1))
        each = torch.arange(log_probabilities.shape[1], device=state.device)
        parents = each.repeat_interleave(draws.shape[1] // len(each)).expand(len(state), -1)
        codes = drawn_codes(log_probabilities, draws)
        plans = plans.chosen(parents)
        assert plans.next_log_probabilities is not None
        gained = plans.next_log_probabilities.gather(1, codes.flatten()[:, None]).view_as(codes)
        states = state.repeat_interleave(codes.shape[1], dim=0)
        vectors = self.autoencoder.codebook.codes[codes.flatten()][:, None]
        new, past = self.autoencoder.decode(states, vectors, plans.decoder)
        steps = new if plans.steps is None else torch.cat([plans.steps, new], dim=1)
        total = plans.log_probability + gained
        return replace(plans, codes=codes, log_probability=total, steps=steps, decoder=past)

    def scores(self, plans: Plans) -> Float[Tensor, "batch plan"]:
        """What a plan promises to earn, less a charge for plans that the data make unlikely.

        Rewards of all steps but the last, and the value after that; whether the decoder thinks that
        the episode ended is not asked. The threshold is that of a whole plan at every level.
        """
        assert plans.steps is not None
        settings, time = self.settings, plans.steps.shape[1]
        first = self.autoencoder.state_width + self.actions
        promised = plans.steps[..., first : first + 2] * self.deviation[-2:] + self.mean[-2:]
        powers = settings.discount ** torch.arange(1, time + 1, device=promised.device)
        earned = (promised[:, :-1, 0] * powers[:-1]).sum(1) + promised[:, -1, 1] * powers[-1]
        threshold = settings.horizon // 3 * math.log(settings.least_probability)
        charged = settings.charge * plans.log_probability.clamp(max=threshold)
        return earned.view_as(charged) + charged


def drawn_codes(
    log_probabilities: Float[Tensor, "batch parent codes"], draws: Float[Tensor, "batch plan"]
) -> Int[Tensor, "batch plan"]:
    """Draw a code for each new plan; every parent gets equally many.

    ``draws`` are uniform in [0, 1).
    """
    reached = log_probabilities.exp().cumsum(-1)
    targets = draws.unflatten(1, (log_probabilities.shape[1], -1)) * reached[..., -1:]
    drawn = torch.searchsorted(reached, targets.contiguous(), right=True)
    # In float32 a draw just below 1 may become 1, which lies beyond the last code.
    return drawn.clamp(max=log_probabilities.shape[-1] - 1).flatten(1)


def build(settings: Settings, spaces: Spaces) -> TrajectoryAutoencodingPlanner:
    """A planner."""
    return TrajectoryAutoencodingPlanner(settings, spaces)
