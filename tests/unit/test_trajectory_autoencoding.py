"""TAP: cached decoding is decoding at once, codes follow their points, values, the search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces

from made_up.episodes import episodes
from memdt.data.segments import EpisodeTensors
from memdt.environments.spaces import Spaces
from memdt.errors import UserError
from memdt.models.interface import Choice, Step
from memdt.models.parts.trajectory_autoencoder import Codebook
from memdt.models.trajectory_autoencoding_planner import (
    Plans,
    Settings,
    TrajectoryAutoencodingPlanner,
    drawn_codes,
)
from memdt.training.learners.trajectory_autoencoding import _values

SPACES = Spaces(gym_spaces.Box(-1, 1, (3,), np.float32), gym_spaces.Box(-1, 1, (2,), np.float32))
SIZES = {"layers": 2, "heads": 2, "width": 8, "codes": 5, "code_width": 4, "window": 6,
         "horizon": 6, "beams": 4, "expansions": 2, "dropout": 0.0}  # fmt: skip


def planner(**changes: object) -> TrajectoryAutoencodingPlanner:
    torch.manual_seed(0)
    made = TrajectoryAutoencodingPlanner(Settings(name="tap", **{**SIZES, **changes}), SPACES)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return made.eval()


@torch.no_grad()
def test_cached_decoding_is_decoding_at_once() -> None:
    policy, state = planner(), torch.randn(3, 3)
    codes = torch.randint(0, 5, (3, 2))
    whole, _ = policy.autoencoder.decode(state, policy.autoencoder.codebook.codes[codes])
    vectors = policy.autoencoder.codebook.codes[codes]
    first, past = policy.autoencoder.decode(state, vectors[:, :1])
    second, _ = policy.autoencoder.decode(state, vectors[:, 1:], past)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-5)
    logits, _ = policy.prior(state, codes)
    one, past = policy.prior(state, codes[:, :1])
    two, _ = policy.prior(state, codes[:, 1:], past)
    torch.testing.assert_close(torch.cat([one, two], 1), logits, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_plan_does_not_look_at_its_later_codes() -> None:
    policy, state = planner(), torch.randn(1, 3)
    one, other = torch.tensor([[1, 2]]), torch.tensor([[1, 4]])
    made = [policy.autoencoder.decode(state, policy.autoencoder.codebook.codes[c])[0]
            for c in (one, other)]  # fmt: skip
    assert torch.equal(made[0][:, :3], made[1][:, :3])
    assert not torch.equal(made[0][:, 3:], made[1][:, 3:])


def test_codes_follow_the_mean_of_their_points_without_smoothing() -> None:
    book = Codebook(2, 1, decay=0.5)
    book.codes.copy_(torch.tensor([[0.0], [10.0]]))
    book.sums.copy_(book.codes)
    points = torch.tensor([[9.0], [11.0], [13.0]])
    numbers = book.nearest(points)
    assert numbers.tolist() == [1, 1, 1]
    book.follow(points, numbers)
    # counts: (1 + 0) / 2 and (1 + 3) / 2; sums: 0 and (10 + 33) / 2
    torch.testing.assert_close(book.codes, torch.tensor([[0.0], [21.5 / 2]]))


def test_values_begin_with_the_next_reward_and_end_with_the_episode() -> None:
    rewards = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    store = episodes(np.zeros((5, 3), np.float32), np.zeros((5, 2), np.float32), rewards, [3, 2],
                     terminated=np.array([True, False]))  # fmt: skip
    values = _values(EpisodeTensors.from_store(store), 0.5, final_reward=-100.0)
    # The first episode ended by itself, so that its last reward is replaced; the other was cut.
    assert values.tolist() == [2 - 50, -100, 0, 16, 0]


def test_codes_are_drawn_in_proportion_to_their_probability() -> None:
    known = torch.tensor([[[0.1, 0.6, 0.3]]]).log()
    draws = torch.rand(1, 20_000, generator=torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn_codes(known, draws)[0], minlength=3) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.6, 0.3]), rtol=0, atol=0.02)
    assert drawn_codes(known, torch.tensor([[1.0 - 1e-8]])).item() == 2


def test_unlikely_plans_are_charged_and_likely_ones_all_alike() -> None:
    policy = planner(least_probability=0.5, charge=10.0)  # two codes: log 0.25
    made = torch.zeros(3, 6, 3 + 2 + 3)
    made[2, 0, 5] = 100.0  # the first reward
    plans = Plans(torch.zeros(1, 3, dtype=torch.int64), torch.tensor([[-3.0, -0.1, -0.1]]),
                  steps=made)  # fmt: skip
    threshold = 2 * float(np.log(0.5))
    expected = torch.tensor([[-30.0, 10 * threshold, 10 * threshold + 99.0]])
    torch.testing.assert_close(policy.scores(plans), expected)


def test_the_search_finds_the_plan_that_earns_most() -> None:
    """With as many plans as there are, the action is that of the best of all pairs of codes."""
    policy = planner(beams=200, expansions=40, charge=0.0)
    state = torch.randn(2, 3)
    with torch.inference_mode():
        action, _ = policy.act(Step(state, torch.zeros(2)), policy.begin(2),
                               Choice(True, torch.Generator().manual_seed(1)))  # fmt: skip
        pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
        for row in range(2):
            vectors = policy.autoencoder.codebook.codes[pairs]
            made, _ = policy.autoencoder.decode(state[row].expand(25, -1), vectors)
            plans = Plans(pairs[None, :, 1], torch.zeros(1, 25), steps=made)
            best = made[int(policy.scores(plans).argmax()), 0, 3:5]
            torch.testing.assert_close(action[row], best, rtol=0, atol=1e-5)


def test_a_plan_longer_than_a_trajectory_is_refused() -> None:
    with pytest.raises(UserError, match="horizon"):
        planner(horizon=9)
