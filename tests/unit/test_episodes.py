"""Episodes as flat arrays: views, selections, joins, shares of their groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up.episodes import drawn, episodes
from memdt.data.episodes import NOT_PLAYED, EpisodeStore, concatenate


def test_an_episode_is_a_view_and_prints_shapes_not_numbers():
    store = drawn([4, 2, 3])
    episode = store[1]
    assert np.shares_memory(episode.observations, store.observations)
    np.testing.assert_array_equal(episode.observations, store.observations[4:6])
    assert len(episode) == 2
    assert "2 steps" in repr(episode)
    assert "observation (4,)" in repr(episode)
    assert "array" not in repr(episode) + repr(store)
    assert repr(store) == "EpisodeStore(3 episodes, 9 steps)"
    assert f"group '{store.groups[1]}', seed {store.seeds[1]}" in repr(episode)
    assert len(store[-1]) == 3
    with pytest.raises(IndexError):
        store[3]


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=9), data=st.data())
def test_selected_and_joined_episodes_are_the_same_episodes(lengths, data):
    store = drawn(lengths)
    marks = st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))
    chosen = np.array(data.draw(marks.filter(any)))
    selected = store.select(chosen)
    joined = concatenate([selected, store])
    expected = [e for e, mark in zip(store, chosen, strict=True) if mark] + list(store)
    assert len(joined) == len(expected)
    np.testing.assert_allclose(
        joined.returns - joined.later_returns,
        [e.rewards.sum() for e in expected],
        rtol=1e-5,
        atol=1e-6,
    )
    for ours, theirs in zip(joined, expected, strict=True):
        np.testing.assert_array_equal(ours.observations, theirs.observations)
        np.testing.assert_array_equal(ours.actions, theirs.actions)
        np.testing.assert_array_equal(ours.final_observation, theirs.final_observation)
        for name in ("seed", "group", "terminated", "truncated"):
            assert getattr(ours, name) == getattr(theirs, name)


def test_later_steps_count_where_they_were_played():
    store = episodes(
        np.zeros((6, 1)), np.zeros(6, int), np.arange(6), [1, 2, 3],
        later_steps=np.array([0, 4, NOT_PLAYED]), later_returns=np.array([0.0, 10.0, 0.5]),
    )  # fmt: skip
    assert store.to_end.tolist() == [True, True, False]
    assert store.played.tolist() == [1, 6, 3]
    assert store.returns.tolist() == [0, 1 + 2 + 10, 3 + 4 + 5 + 0.5]


def of_groups(words: str) -> EpisodeStore:
    """Episodes of one step, a letter for the group of each; seeds count them."""
    count = len(words)
    return episodes(
        np.zeros((count, 1)), np.zeros(count, int), np.zeros(count), [1] * count,
        groups=np.array(list(words)),
    )  # fmt: skip


@given(words=st.text("abc", min_size=1, max_size=40), fraction=st.floats(0.001, 1))
def test_a_share_is_one_of_each_group_rounded_up(words, fraction):
    chosen = of_groups(words).share_of_each_group(fraction)
    for group in set(words):
        mine = np.array([word == group for word in words])
        assert chosen[mine].sum() == np.ceil(fraction * mine.sum())


@given(words=st.text("ab", min_size=1, max_size=40), shares=st.tuples(*[st.floats(0.01, 1)] * 2))
def test_a_larger_share_holds_a_smaller_one(words, shares):
    smaller, larger = (of_groups(words).share_of_each_group(one) for one in sorted(shares))
    assert (larger | ~smaller).all()


def test_a_share_is_drawn_alike_and_not_from_the_beginning():
    """Episodes may lie in order of length: the first ones would be the short ones."""
    chosen = of_groups("a" * 200).share_of_each_group(0.5)
    np.testing.assert_array_equal(chosen, of_groups("a" * 200).share_of_each_group(0.5))
    assert 30 <= chosen[:100].sum() <= 70  # 50 expected, with a deviation of 3.5
