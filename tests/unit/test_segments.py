"""Segments are the episode again: no step lost, none doubled, padding masked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from made_up.episodes import episodes
from memdt.data.episodes import EpisodeStore
from memdt.data.segments import EpisodeTensors, Segment, returns_to_go, split

LENGTHS = st.lists(st.integers(1, 23), min_size=1, max_size=6)


def store_of(lengths: list[int], frames: bool = False, continuous: bool = False) -> EpisodeStore:
    """Every step can be told from every other: observations count the steps of the dataset."""
    steps = sum(lengths)
    observations = np.stack([np.arange(steps), -np.arange(steps)], axis=1).astype(np.float32)
    if frames:
        observations = np.arange(steps * 4, dtype=np.uint8).reshape(steps, 2, 2, 1)
    actions = np.arange(steps) % 3 + 1
    if continuous:
        actions = np.stack([actions, actions], axis=1).astype(np.float32)
    return episodes(observations, actions, np.arange(1, steps + 1) % 7, lengths)


def test_returns_to_go_worked_out_by_hand():
    rewards = np.array([1.0, 0.0, 2.0, -4.0], dtype=np.float32)
    np.testing.assert_array_equal(returns_to_go(rewards), [-1, -2, -2, -4])


def test_what_is_earned_after_the_kept_steps_is_still_to_be_earned_in_them():
    rewards = np.array([1.0, 0.0, 2.0], dtype=np.float32)
    np.testing.assert_array_equal(returns_to_go(rewards, later=10.0), [13, 12, 12])
    whole, kept = store_of([5]), store_of([3])
    kept = EpisodeStore(**{**vars(kept), "later_returns": whole.rewards[3:].sum(keepdims=True)})
    ours, theirs = (EpisodeTensors.from_store(store).returns_to_go for store in (kept, whole))
    torch.testing.assert_close(ours, theirs[:3])


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=50))
def test_returns_to_go_are_the_sum_of_what_follows(rewards):
    ours = returns_to_go(np.array(rewards, dtype=np.float32))
    naive = [sum(rewards[step:]) for step in range(len(rewards))]
    np.testing.assert_allclose(ours, naive, rtol=1e-6, atol=1e-4)


def test_segments_worked_out_by_hand():
    tensors = EpisodeTensors.from_store(store_of([2, 5]))
    first, second = split(tensors, 1, segment_length=3)
    assert first.observations[0, :, 0].tolist() == [2, 3, 4]
    assert second.observations[0, :, 0].tolist() == [5, 6, 6]
    assert first.actions.tolist() == [[3, 1, 2]]
    assert second.actions.tolist() == [[3, 1, 0]]
    assert first.returns_to_go.tolist() == [[3 + 4 + 5 + 6 + 0, 4 + 5 + 6 + 0, 5 + 6 + 0]]
    assert second.returns_to_go.tolist() == [[6, 0, 0]]
    assert first.mask.tolist() == [[True, True, True]]
    assert second.mask.tolist() == [[True, True, False]]


@given(lengths=LENGTHS, segment_length=st.integers(1, 9), data=st.data())
@settings(deadline=None)
def test_segments_together_are_the_episode(lengths, segment_length, data):
    store = store_of(lengths)
    tensors = EpisodeTensors.from_store(store)
    number = data.draw(st.integers(0, len(lengths) - 1))
    episode = store[number]
    segments = split(tensors, number, segment_length)
    assert sum(int(s.mask.sum()) for s in segments) == len(episode)
    assert len(segments) == tensors.segments(segment_length)[number]
    for name, whole in {
        "observations": episode.observations,
        "actions": episode.actions,
        "returns_to_go": returns_to_go(episode.rewards),
    }.items():
        joined = torch.cat([getattr(s, name)[s.mask] for s in segments])
        np.testing.assert_array_equal(joined, whole, err_msg=name)


@given(lengths=LENGTHS, segment_length=st.integers(1, 9))
@settings(deadline=None)
def test_windows_are_a_naive_loop_over_rows_and_steps(lengths, segment_length):
    store = store_of(lengths)
    tensors = EpisodeTensors.from_store(store)
    first, last = store.offsets[:-1], store.offsets[1:]
    segment = tensors.window(first, last, 2 * segment_length)
    for row, episode in enumerate(store):
        remaining = returns_to_go(episode.rewards)
        for time in range(2 * segment_length):
            real = time < len(episode)
            seen = min(time, len(episode) - 1)
            assert segment.mask[row, time] == real
            assert segment.observations[row, time].tolist() == episode.observations[seen].tolist()
            assert segment.actions[row, time] == (episode.actions[time] if real else 0)
            assert segment.returns_to_go[row, time] == (remaining[time] if real else 0)


def test_a_row_beyond_its_end_is_all_padding():
    tensors = EpisodeTensors.from_store(store_of([4, 2]))
    segment = tensors.window(np.array([6]), np.array([4]), 3)
    assert not segment.mask.any()
    assert segment.observations[0, :, 0].tolist() == [3, 3, 3]
    assert not segment.actions.any()


def test_frames_stay_bytes_and_continuous_actions_stay_vectors():
    tensors = EpisodeTensors.from_store(store_of([5, 3], frames=True, continuous=True))
    segment = tensors.window(np.array([0, 5]), np.array([5, 8]), 4)
    assert segment.observations.dtype == torch.uint8
    assert segment.observations.shape == (2, 4, 2, 2, 1)
    assert segment.actions.dtype == torch.float32
    assert segment.actions.shape == (2, 4, 2)
    assert segment.actions[1, 3].tolist() == [0, 0]
    assert segment.actions[1, 2].tolist() != [0, 0]


def test_choices_become_int64_whatever_the_file_holds():
    store = store_of([4])
    narrow = EpisodeStore(**{**vars(store), "actions": store.actions.astype(np.int8)})
    assert EpisodeTensors.from_store(narrow).actions.dtype == torch.int64


@pytest.mark.parametrize("count", [1, 3])
def test_rows_are_the_first_ones(count):
    tensors = EpisodeTensors.from_store(store_of([4, 4, 4]))
    segment = tensors.window(np.array([0, 4, 8]), np.array([4, 8, 12]), 2)
    fewer = segment.rows(count)
    assert isinstance(fewer, Segment)
    assert len(fewer) == count
    assert fewer.steps == 2
    assert fewer.observations[:, 0, 0].tolist() == [0, 4, 8][:count]


def test_moving_a_segment_moves_all_of_it():
    moved = EpisodeTensors.from_store(store_of([4])).window(np.array([0]), np.array([4]), 2)
    both = replace(moved, demonstration=moved).to("meta")
    parts = [*vars(both).values(), *vars(both.demonstration).values()]
    assert {t.device.type for t in parts if isinstance(t, torch.Tensor)} == {"meta"}
