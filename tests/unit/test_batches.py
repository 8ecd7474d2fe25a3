"""Batches are a function of the update's number, cover every episode, and drop only ended rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from made_up.episodes import episodes
from memdt.data.batches import Batches
from memdt.data.segments import EpisodeTensors
from memdt.errors import UserError

LENGTHS = [7, 30, 12, 1, 22, 10, 29, 11, 3, 18]  # in segments of 10: 1 3 2 1 3 1 3 2 1 2
NAMES = ("observations", "actions", "returns_to_go", "mask")


def tensors_of(lengths: list[int]) -> EpisodeTensors:
    """The observation of a step is [number of its episode, number of the step in it]."""
    steps = np.concatenate([np.arange(length) for length in lengths])
    numbers = np.repeat(np.arange(len(lengths)), lengths)
    seen = np.stack([numbers, steps], axis=1).astype(np.float32)
    return EpisodeTensors.from_store(episodes(seen, steps % 4, np.ones(len(steps)), lengths))


def batches_of(lengths=LENGTHS, batch_size=4, minimum=1, maximum=3, start="beginning", seed=0):
    return Batches(tensors_of(lengths), 10, batch_size, minimum, maximum, start, seed)


def episodes_in(segments) -> list[int]:
    return segments[0].observations[:, 0, 0].int().tolist()


def same(one, other) -> bool:
    return len(one) == len(other) and all(
        torch.equal(getattr(a, name), getattr(b, name))
        for a, b in zip(one, other, strict=True)
        for name in NAMES
    )


@pytest.mark.parametrize("start", ["beginning", "random"])
def test_a_batch_depends_on_the_number_of_its_update_alone(start):
    walked = batches_of(start=start)
    history = [walked.batch(update) for update in range(12)]
    for update in (11, 0, 7):
        assert same(batches_of(start=start).batch(update), history[update])
        assert same(walked.batch(update), history[update])
    assert not all(same(history[0], batch) for batch in history[1:])


def test_another_seed_gives_another_order():
    orders = [[episodes_in(batches_of(seed=s).batch(u)) for u in range(5)] for s in (0, 1)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 23])
def test_every_epoch_holds_each_episode_once(batch_size):
    batches = batches_of(batch_size=batch_size)
    epochs = 6
    drawn = [episodes_in(batches.batch(update)) for update in range(batches.updates(epochs))]
    counts = np.bincount(np.concatenate(drawn), minlength=len(LENGTHS))
    left = batches.updates(epochs) * batch_size - epochs * len(LENGTHS)
    assert counts.sum() == epochs * len(LENGTHS) + left
    assert counts.min() >= epochs
    assert counts.max() <= epochs + -(-left // len(LENGTHS))
    assert all(len(batch) == batch_size for batch in drawn)


def test_epochs_differ_in_order():
    batches = batches_of(batch_size=len(LENGTHS))
    orders = {tuple(batches._draw_epoch(epoch)[0]) for epoch in range(5)}
    assert len(orders) == 5


@given(
    lengths=st.lists(st.integers(1, 45), min_size=1, max_size=12),
    batch_size=st.integers(1, 7),
    update=st.integers(0, 20),
)
@settings(deadline=None)
def test_dropping_ended_rows_loses_no_real_step(lengths, batch_size, update):
    longest = -(-max(lengths) // 10)
    batches = batches_of(lengths, batch_size, maximum=longest)
    segments, windows = batches.batch(update), batches.windows(update)
    assert sum(map(len, windows)) == batch_size == len(segments[0])
    assert sum(int(s.mask.sum()) for s in segments) == sum(
        lengths[e] for e in episodes_in(segments)
    )
    row = 0  # windows come longest first, as the rows of the batch do
    for window in windows:
        count = window.steps // 10
        assert window.mask[:, -10:].any(1).all()  # no row is padded by a whole segment
        for index in range(count):
            columns = slice(index * 10, (index + 1) * 10)
            for name in NAMES:
                rows = getattr(segments[index], name)[row : row + len(window)]
                assert torch.equal(rows, getattr(window, name)[:, columns]), name
        assert all(len(s) <= row for s in segments[count:])
        row += len(window)


def test_rows_with_more_segments_come_first():
    segments = batches_of(batch_size=10).batch(0)
    counts = [-(-LENGTHS[e] // 10) for e in episodes_in(segments)]
    assert counts == sorted(counts, reverse=True)
    assert [len(s) for s in segments] == [10, 6, 3]


@pytest.mark.parametrize(
    ("minimum", "maximum", "chosen"),
    [(1, 1, {0, 3, 5, 8}), (1, 2, {0, 2, 3, 5, 7, 8, 9}), (2, 3, {1, 2, 4, 6, 7, 9})],
)
def test_stage_k_trains_on_episodes_of_up_to_k_segments(minimum, maximum, chosen):
    batches = batches_of(minimum=minimum, maximum=maximum)
    assert batches.episodes == len(chosen)
    assert {e for u in range(batches.updates(1)) for e in episodes_in(batches.batch(u))} == chosen


def test_random_windows_start_everywhere_alike_and_stay_in_their_episode():
    batches = batches_of([25, 4], batch_size=2, maximum=1, start="random")
    starts = []
    for update in range(800):
        (segment,) = batches.batch(update)
        for observation, mask in zip(segment.observations, segment.mask, strict=True):
            episode, steps = observation[0, 0], observation[mask][:, 1].tolist()
            assert (observation[:, 0] == episode).all()
            assert steps == list(range(int(steps[0]), int(steps[0]) + len(steps)))
            assert len(steps) == (10 if episode == 0 else 4)
            if episode == 0:
                starts.append(int(steps[0]))
    counts = np.bincount(starts, minlength=16)
    assert len(counts) == 16
    assert counts.min() > 20  # 50 expected; 20 is more than four standard deviations below
    assert counts.max() < 85


def test_random_windows_keep_the_return_of_the_whole_episode():
    (segment,) = batches_of([25], batch_size=1, maximum=1, start="random").batch(3)
    first = int(segment.observations[0, 0, 1])
    assert segment.returns_to_go[0].tolist() == [25 - first - step for step in range(10)]


def test_episodes_longer_than_the_data_are_refused_in_one_line():
    with pytest.raises(UserError) as error:
        batches_of(maximum=4)
    message = str(error.value)
    assert "4 x 10 steps" in message
    assert "10 episodes of 1 to 3 segments of 10 steps" in message
    assert "\n" not in message


def test_an_empty_selection_says_what_the_data_hold():
    with pytest.raises(UserError, match="no episode has 3 to 2 segments.*10 episodes of 1 to 3"):
        batches_of(minimum=3, maximum=2)


@pytest.mark.parametrize(
    ("horizon", "widths"), [(4, [4]), (10, [10]), (13, [10, 3]), (None, [10, 10, 10])]
)
def test_no_step_behind_the_horizon_is_computed(horizon, widths):
    batches = Batches(tensors_of(LENGTHS), 10, 10, 1, 3, horizon=horizon)
    plain, segments = batches_of(batch_size=10).batch(0), batches.batch(0)
    assert [segment.steps for segment in segments] == widths
    seen = {tuple(o) for s in segments for o in s.observations[s.mask].int().tolist()}
    assert seen == {
        (episode, step)
        for episode, length in enumerate(LENGTHS)
        for step in range(min(length, horizon or length))
    }
    whole = batches.windows(0)
    assert {tuple(o) for s in whole for o in s.observations[s.mask].int().tolist()} == seen
    assert max(window.steps for window in whole) == sum(widths)
    assert (plain[0].steps, len(plain)) == (10, 3)


def test_returns_to_go_within_a_horizon_count_what_comes_after_it():
    first = Batches(tensors_of([22]), 10, 1, 1, 3, horizon=4).batch(0)[0]
    assert first.returns_to_go[0].tolist() == [22.0, 21.0, 20.0, 19.0]


def test_updates_of_epochs_round_up():
    assert batches_of(batch_size=4).updates(1) == 3
    assert batches_of(batch_size=5).updates(4) == 8


def test_windows_drawn_by_length_cover_steps_alike():
    lengths = [10, 90, 400, 500]
    batches = Batches(tensors_of(lengths), 10, 50, 1, 1, "random", 0, draw="by_length")
    drawn = [number for update in range(40) for number in batches.rows(update)[0]]
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    np.testing.assert_allclose(shares, np.array(lengths) / sum(lengths), atol=0.03)
    other = Batches(tensors_of(lengths), 10, 50, 1, 1, "random", 0, draw="by_length")
    assert same(batches.batch(7), other.batch(7))
