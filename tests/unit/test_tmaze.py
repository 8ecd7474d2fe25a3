"""T-Maze worked out by hand, and each point on which the paper and the public code disagree."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from memdt.data.sources.played import play
from memdt.environments import tmaze
from memdt.environments.tmaze import DOWN, FLAG, HINT, LEFT, NOISE, RIGHT, UP, Settings, Y
from memdt.environments.vectors import SerialVector
from memdt.errors import UserError

EVEN_SEED_DOWN, ODD_SEED_UP = 4, 5


def episode(options: Settings, seed: int, actions: list[int]):
    """Observations without noise, rewards and the two flags of one episode."""
    maze = tmaze.make(options)
    observation, _ = maze.reset(seed=seed)
    observed, rewards, ends = [observation[:NOISE].tolist()], [], []
    for action in actions:
        observation, reward, terminated, truncated, _ = maze.step(action)
        observed.append(observation[:NOISE].tolist())
        rewards.append(reward)
        ends.append((terminated, truncated))
    return observed, rewards, ends


def test_an_episode_of_corridor_length_2_worked_out_by_hand():
    observed, rewards, ends = episode(Settings(corridor_length=2), ODD_SEED_UP, [RIGHT, RIGHT, UP])
    assert observed == [[0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert rewards == [0, 0, 1]
    assert ends == [(False, False), (False, False), (True, False)]


def test_the_wrong_turn_ends_the_episode_unpaid():
    actions = [RIGHT, RIGHT, UP]
    observed, rewards, ends = episode(Settings(corridor_length=2), EVEN_SEED_DOWN, actions)
    assert observed[0] == [0, -1, 0]
    assert rewards == [0, 0, 0]
    assert ends[-1] == (True, False)


def test_blocked_moves_leave_the_state_and_cost_a_step():
    blocked = [UP, DOWN, LEFT, RIGHT, UP, DOWN, RIGHT, RIGHT, DOWN]
    options = Settings(corridor_length=2, spare_steps=len(blocked) - 3)
    observed, rewards, ends = episode(options, EVEN_SEED_DOWN, blocked)
    assert [o[Y] for o in observed] == [0] * 9 + [-1]
    assert [o[FLAG] for o in observed] == [0] * 7 + [1, 0, 0]
    assert rewards[-1] == 1
    assert ends[-1] == (True, False)


def test_the_hint_is_never_shown_again_at_the_start():
    observed, *_ = episode(Settings(corridor_length=5), ODD_SEED_UP, [RIGHT, LEFT, LEFT])
    assert [o[HINT] for o in observed] == [1, 0, 0, 0]


def test_the_flag_is_shown_once_however_often_the_junction_is_reached():
    actions = [RIGHT, RIGHT, RIGHT, LEFT, RIGHT]
    observed, *_ = episode(Settings(corridor_length=2, spare_steps=9), ODD_SEED_UP, actions)
    assert [o[FLAG] for o in observed] == [0, 0, 1, 0, 0, 0]


# D1: where the flag stands.


def test_flag_at_the_junction_is_what_the_public_code_does():
    observed, *_ = episode(Settings(corridor_length=3), ODD_SEED_UP, [RIGHT] * 3)
    assert [o[FLAG] for o in observed] == [0, 0, 0, 1]


def test_flag_one_step_before_the_junction_is_what_the_paper_says():
    options = Settings(corridor_length=3, flag="before_junction")
    observed, *_ = episode(options, ODD_SEED_UP, [RIGHT] * 4)
    assert [o[FLAG] for o in observed] == [0, 0, 1, 0, 0]


# D2: how long corridors are.


def test_fixed_corridors_have_the_published_length():
    spanning = tmaze.lengthened(Settings(), 3 * 30)
    assert spanning.corridor_length == 3 * 30 - 2
    store = play(tmaze.make_vector(spanning, 10), tmaze.collection_policy(spanning), range(10))
    assert (store.lengths == 3 * 30 - 1).all()


def test_random_corridors_take_every_length_and_keep_the_longest_ones_time_limit():
    options = Settings(corridor_length=6, corridor="random")
    store = play(tmaze.make_vector(options, 300), tmaze.collection_policy(options), range(300))
    lengths, counts = np.unique(store.lengths - 1, return_counts=True)
    assert lengths.tolist() == [1, 2, 3, 4, 5, 6]
    assert counts.min() > 25  # 50 expected; 25 is four standard deviations below
    idle = tmaze.make_vector(options, 300)
    idle.reset(seed=list(range(300)))
    ends = [idle.step(np.full(300, LEFT))[3] for _ in range(options.time_limit)]
    assert not np.any(ends[:-1])
    assert np.all(ends[-1])


def test_the_length_of_a_corridor_belongs_to_the_rows_own_seed():
    options = Settings(corridor_length=50, corridor="random")
    lengths = play(
        tmaze.make_vector(options, 4), tmaze.collection_policy(options), [9, 7, 9, 8]
    ).lengths
    assert lengths[0] == lengths[2]
    assert len(set(lengths)) > 1


# D3: how many steps are to spare.


@pytest.mark.parametrize("spare", [0, 1, 4])
def test_just_the_spare_steps_may_be_lost(spare):
    options = Settings(corridor_length=2, spare_steps=spare)
    _, rewards, ends = episode(options, ODD_SEED_UP, [LEFT] * spare + [RIGHT, RIGHT, UP])
    assert rewards[-1] == 1
    assert ends[-1] == (True, False)
    _, rewards, ends = episode(options, ODD_SEED_UP, [LEFT] * (spare + 1) + [RIGHT, RIGHT])
    assert rewards[-1] == 0
    assert ends[-1] == (False, True)
    assert not any(cut for _, cut in ends[:-1])


def test_the_default_time_limit_is_the_published_one():
    assert Settings(corridor_length=28).time_limit == 28 + 2


# D4: goals and noise.


@given(first=st.integers(0, 10**7), count=st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_any_run_of_consecutive_seeds_is_balanced(first, count):
    observations, _ = tmaze.make_vector(Settings(), count).reset(seed=range(first, first + count))
    assert abs(observations[:, HINT].sum()) <= 1
    assert (np.abs(observations[:, HINT]) == 1).all()


def test_unseeded_mazes_draw_their_goal():
    maze = tmaze.make(Settings())
    maze.reset(seed=0)
    assert {int(maze.reset()[0][HINT]) for _ in range(40)} == {-1, 1}


def test_noise_takes_its_three_values_and_differs_between_steps_and_rows():
    vector = tmaze.make_vector(Settings(corridor_length=600), 50)
    vector.reset(seed=range(50))
    idle = np.full(50, LEFT)
    noise = np.stack([vector.step(idle)[0][:, NOISE] for _ in range(600)])
    values, counts = np.unique(noise, return_counts=True)
    assert values.tolist() == [-1, 0, 1]
    assert np.abs(counts / noise.size - 1 / 3).max() < 0.02  # 6 standard deviations
    steps, rows = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel()), np.corrcoef(noise.T)
    assert abs(steps[0, 1]) < 0.05
    assert np.abs(rows - np.eye(50)).max() < 0.25


# The two forms are two implementations of the rules; each is the other's oracle.

SETTINGS = st.builds(
    Settings,
    corridor_length=st.integers(1, 6),
    flag=st.sampled_from(["at_junction", "before_junction"]),
    corridor=st.sampled_from(["fixed", "random"]),
    spare_steps=st.integers(0, 5),
)


@given(options=SETTINGS, seed=st.integers(0, 10**6), noise_steps=st.integers(1, 9), data=st.data())
@settings(max_examples=80, deadline=None)
def test_vector_rows_are_single_mazes_frozen_where_they_end(options, seed, noise_steps, data):
    rows, steps = 5, options.time_limit + 3
    choices = st.lists(
        st.sampled_from([RIGHT, RIGHT, UP, LEFT, DOWN]), min_size=rows, max_size=rows
    )
    actions = data.draw(st.lists(choices, min_size=steps, max_size=steps))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tmaze, "NOISE_STEPS", noise_steps)  # so that chunks end within an episode
        vector = tmaze.make_vector(options, rows)
        serial = SerialVector([tmaze.make(options) for _ in range(rows)])
        for seeds in (range(seed, seed + rows), None):  # None goes on with each row's generator
            np.testing.assert_array_equal(vector.reset(seed=seeds)[0], serial.reset(seed=seeds)[0])
            for action in np.array(actions):
                for ours, theirs in zip(vector.step(action), serial.step(action), strict=True):
                    np.testing.assert_array_equal(ours, theirs)


def test_both_forms_draw_the_same_noise_past_a_chunk():
    options = Settings(corridor_length=2 * tmaze.NOISE_STEPS + 50)
    vector, single = tmaze.make_vector(options, 3), tmaze.make(options)
    vector.reset(seed=[11, 12, 13])
    single.reset(seed=12)
    for _ in range(2 * tmaze.NOISE_STEPS + 30):
        np.testing.assert_array_equal(vector.step(np.zeros(3, int))[0][1], single.step(RIGHT)[0])


# The oracle.


@given(options=SETTINGS)
@settings(max_examples=40, deadline=None)
def test_the_oracle_solves_every_maze_by_the_shortest_way(options):
    policy = tmaze.collection_policy(options)
    store = play(tmaze.make_vector(options, 8), policy, range(8))
    assert tmaze.success(store.returns, store.terminated).all()
    assert (store.lengths <= options.corridor_length + 1).all()
    if options.corridor == "fixed":
        assert (store.lengths == options.corridor_length + 1).all()


def test_the_oracle_needs_the_hint():
    class Blind(tmaze.Oracle):
        def act(self, observations, info):
            hidden = observations.copy()
            hidden[:, HINT] = 0
            return super().act(hidden, info)

    options = Settings(corridor_length=4)
    store = play(tmaze.make_vector(options, 10), Blind(options), range(10))
    assert tmaze.success(store.returns, store.terminated).sum() == 5


# Settings and registration.


@pytest.mark.parametrize(
    ("segments", "segment_length", "spare", "length"),
    [(1, 30, 1, 28), (9, 30, 1, 268), (1, 30, 0, 29), (33_334, 30, 1, 1_000_018), (1, 3, 1, 1)],
)
def test_a_span_of_segments_is_the_time_limit(segments, segment_length, spare, length):
    spanning = tmaze.lengthened(Settings(spare_steps=spare), segments * segment_length)
    assert spanning.corridor_length == length
    assert spanning.time_limit == segments * segment_length


def test_a_segment_too_short_for_a_corridor_is_one_clear_line():
    with pytest.raises(UserError, match="2 steps leave no corridor"):
        tmaze.lengthened(Settings(), 1 * 2)


@pytest.mark.parametrize(
    "wrong", [{"corridor_length": 0}, {"spare_steps": -1}, {"flag": "never"}, {"length": 3}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_gymnasium_makes_both_forms_by_name():
    single = gymnasium.make("memdt/TMaze-v0", corridor_length=5)
    assert single.unwrapped.settings == Settings(corridor_length=5)
    vector = gymnasium.make_vec("memdt/TMaze-v0", num_envs=7, corridor_length=5)
    assert isinstance(vector, tmaze.TMazeVector)
    assert vector.num_envs == 7
    observations, _ = vector.reset(seed=3)
    np.testing.assert_array_equal(observations[2], single.reset(seed=5)[0])
