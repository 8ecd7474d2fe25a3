"""Atari: protocols as settings, names of games, scores, and agents that look ahead."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from memdt.data.sources.played import play
from memdt.environments import atari
from memdt.environments.atari_parts.collection import Collector, assigned, card, drawn
from memdt.environments.atari_parts.emulator import Emulator
from memdt.environments.task import Task

pytest.importorskip("ale_py")

SMALL = {"height": 40, "width": 40}
RANDOM = (Collector(share=1, noise=1.0),)


def settings(game="breakout", **others):
    return atari.Settings(game=game, **SMALL | others)


def played(game_settings, actions, seeds=(3, 77)):
    """Frames, rewards, flags and infos of rows that take the same actions."""
    games = atari.make_vector(game_settings, len(seeds))
    steps = [(games.reset(seed=list(seeds))[0], None, None, None, None)]
    steps += [games.step(np.full(len(seeds), action)) for action in actions]
    return steps


def choices(game_settings, count=300):
    return np.random.default_rng(0).integers(
        0, atari.spaces_of(game_settings).action_outputs, count
    )


def test_an_unknown_game_is_refused_with_the_closest_match():
    with pytest.raises(ValidationError, match="no game 'Breakuot'; did you mean 'breakout'"):
        settings("Breakuot")


def test_frames_are_single_and_of_the_size_asked_for():
    frames = played(atari.Settings(game="pong", height=56, width=48), [0])[0][0]
    assert frames.shape == (2, 56, 48, 1)
    assert frames.dtype == np.uint8
    assert frames.std() > 0


def test_actions_are_those_of_the_game_or_all():
    assert atari.spaces_of(settings()).action_outputs == 4
    assert atari.spaces_of(settings(actions="full")).action_outputs == 18
    assert atari.make(settings(actions="full")).action_space.n == 18


def test_rewards_are_points_or_their_sign():
    raw, clipped = (
        np.array([step[1][0] for step in played(game_settings, choices(game_settings, 200))[1:]])
        for game_settings in (settings("qbert"), settings("qbert", rewards="clipped"))
    )
    assert raw.max() >= 25
    np.testing.assert_array_equal(clipped, np.sign(raw))


def test_an_episode_is_cut_after_so_many_steps_and_not_ended():
    *_, before, last = played(settings(max_steps=12), [0] * 12)
    assert not (before[2] | before[3]).any()
    assert last[3].all()
    assert not last[2].any()


def test_no_ops_differ_by_seed_and_are_fewer_than_asked_for():
    games = atari.make_vector(settings(no_ops=10), 8)
    _, info = games.reset(seed=list(range(8)))
    assert len(set(info["frames"])) > 3
    assert max(info["frames"]) < 10 + 1
    assert set(atari.make_vector(settings(no_ops=0), 4).reset(seed=[1, 2, 3, 4])[1]["frames"]) == {
        0
    }


def test_fire_serves_at_the_start():
    """Without it nothing moves in Breakout."""
    still, moving = (
        played(settings(fire_at_start=fire, no_ops=0), [0] * 10) for fire in (False, True)
    )
    np.testing.assert_array_equal(still[5][0], still[-1][0])
    assert (moving[5][0] != moving[-1][0]).any()


def test_fire_after_a_lost_life_goes_on_without_the_policy():
    game_settings = settings(fire_at_start=True, fire_after_life_loss=True)
    steps = played(game_settings, [0] * 400)
    assert steps[-1][4]["lives"] == [0, 0]
    assert steps[-1][2].all()
    stuck = played(settings(fire_at_start=True), [0] * 400)
    assert stuck[-1][4]["lives"] == [4, 4]


def test_sticky_actions_change_what_happens():
    game_settings = settings("pong")
    plain, sticky = (
        played(one, choices(game_settings, 60))
        for one in (game_settings, settings("pong", sticky_actions=0.25))
    )
    assert (plain[-1][0] != sticky[-1][0]).any()


def test_scores_are_those_of_random_and_human_play():
    task = Task.named("atari", {"game": "pong"})
    score = task.judge(np.array([-20.7, 14.6, -3.05]), np.zeros(3, bool), ["all"] * 3)["score"]
    np.testing.assert_allclose(score, [0, 100, 50])
    unknown = Task.named("atari", {"game": "tetris"})
    assert np.isnan(unknown.judge(np.array([1.0]), np.zeros(1, bool), ["all"])["score"]).all()


@pytest.mark.parametrize("game", ["pong", "breakout", "qbert", "seaquest"])
@pytest.mark.parametrize("sticky", [0.0, 0.25])
def test_the_emulator_beside_a_game_stays_with_it(game, sticky):
    """Also while another one, restored from it, looks ahead."""
    game_settings = settings(game, sticky_actions=sticky, fire_at_start=True)
    games, seeds = atari.make_vector(game_settings, 2), [3, 77]
    _, info = games.reset(seed=seeds)
    beside = [Emulator(game_settings) for _ in seeds]
    for emulator, seed, frames in zip(beside, seeds, info["frames"], strict=True):
        emulator.begin(seed, frames)
    ahead = Emulator(game_settings, sticky=False)
    for number, action in enumerate(choices(game_settings, 250)):
        _, rewards, terminated, _, info = games.step(np.array([action, action]))
        for row, emulator in enumerate(beside):
            if number % 10 == 0:
                ahead.restore(emulator.state())
                for _ in range(3):
                    ahead.step(1)
            assert emulator.step(int(action)) == rewards[row]
            assert emulator.frames == info["frames"][row]
            assert emulator.lives == info["lives"][row]
        if terminated.any():
            break


def collected(game_settings, count=2, first=1_000_000):
    policy = atari.collection_policy(game_settings)
    return play(atari.make_vector(game_settings, count), policy, range(first, first + count))


@pytest.mark.parametrize(
    ("game", "look", "steps", "least"),
    [
        ("pong", {"hold": 20, "depth": 4}, 200, 1),
        ("breakout", {"hold": 20, "depth": 3}, 100, 1),
        ("qbert", {"hold": 5, "depth": 4, "candidates": ("UP", "RIGHT", "LEFT", "DOWN")}, 60, 25),
    ],
)
def test_looking_ahead_is_better_than_chance(game, look, steps, least):
    good, chance = (
        collected(
            settings(
                game, max_steps=steps, look_ahead=look, fire_at_start=True,
                collectors=({"share": 1, "noise": noise},),
            )
        ).returns.mean()
        for noise in (0.0, 1.0)
    )  # fmt: skip
    assert good >= chance + least


def test_the_same_seeds_play_the_same_episodes_in_any_company():
    game_settings = settings(max_steps=40, look_ahead={"hold": 5, "depth": 2})
    three, one = collected(game_settings, 3), collected(game_settings, 1, first=1_000_002)
    np.testing.assert_array_equal(three[2].actions, one[0].actions)
    np.testing.assert_array_equal(three[2].observations, one[0].observations)


def test_episodes_are_shared_out_as_the_mix_says():
    mix = (Collector(share=1, noise=1.0), Collector(share=3, noise=0.1))
    for first in (0, 1_000_000):
        numbers = assigned(mix, range(first, first + 40))
        assert abs((numbers == 0).sum() - 10) <= 2
    lines = card(mix, np.arange(40), np.where(assigned(mix, range(40)) == 0, 1.0, 7.0))
    assert list(lines) == [
        "collector with 100% random actions",
        "collector with 10% random actions",
    ]
    assert "returns 7 to 7, median 7" in lines["collector with 10% random actions"]
    assert card(mix, np.full(3, -1), np.zeros(3)) == {}


def test_the_distribution_of_returns_is_drawn():
    assert drawn(np.array([0.0, 0.0, 0.0, 0.0, 1.0, 12.0])) == "0 █▂·········▂ 12"
    assert drawn(np.full(3, 5.0)).startswith("4.5 ······█")
