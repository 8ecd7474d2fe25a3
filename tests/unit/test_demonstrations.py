"""Demonstrations: of the same group, never of the same episode, drawn alike by everyone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from memdt.data.batches import Batches
from memdt.data.demonstrations import Demonstrations
from memdt.data.segments import EpisodeTensors, Segment
from memdt.errors import UserError
from memdt.training.learners.behaviour_cloning import with_idle_segments

LENGTHS = [4, 7, 2, 9, 5, 12]
GROUPS = ["a", "b", "a", "a", "b", "b"]
MEMBERS = {"a": {0, 2, 3}, "b": {1, 4, 5}}


def tensors() -> EpisodeTensors:
    """Every observation tells its episode and its step in it."""
    pairs = [(episode, step) for episode, n in enumerate(LENGTHS) for step in range(n)]
    steps = torch.tensor(pairs, dtype=torch.float32)
    return EpisodeTensors(
        observations=steps,
        actions=steps[:, 1].long(),
        returns_to_go=steps[:, 1] / 10,
        offsets=np.append(0, np.cumsum(LENGTHS)),
        groups=np.array(GROUPS),
        rewards=torch.zeros(len(steps)),
        final_observations=torch.zeros(len(LENGTHS), 2),
        terminated=torch.ones(len(LENGTHS), dtype=torch.bool),
    )


def shown(steps: int = 3, part: str = "last", groups: list[str] | None = None) -> Demonstrations:
    return Demonstrations(tensors(), groups or GROUPS, steps, part)


def episodes_of(segment: Segment) -> list[int]:
    return [int(one) for one in segment.observations[:, 0, 0]]


def test_another_episode_of_the_group_is_shown_and_each_of_them_as_often() -> None:
    episodes = np.array([0, 1, 5, 3, 2])
    counts: Counter[tuple[int, int]] = Counter()
    for draw in range(400):
        shown_episodes = episodes_of(shown().of_others(episodes, (7, draw)))
        counts.update(zip(episodes.tolist(), shown_episodes, strict=True))
    for episode in episodes:
        others = MEMBERS[GROUPS[episode]] - {episode}
        seen = {other: n for (one, other), n in counts.items() if one == episode}
        assert set(seen) == others
        assert all(140 < n < 260 for n in seen.values())  # 200 expected


def test_the_same_draw_shows_the_same() -> None:
    episodes = np.arange(6)
    first, again = (shown().of_others(episodes, (1, 2)) for _ in range(2))
    assert torch.equal(first.observations, again.observations)


@pytest.mark.parametrize(
    ("part", "steps", "seen"), [("last", 3, [6, 7, 8]), ("first", 3, [0, 1, 2])]
)
def test_the_part_is_the_beginning_or_the_end(part, steps, seen) -> None:
    segment = shown(steps, part, ["x", "x", "x", "y", "y", "x"]).of_others(np.array([4]), (0,))
    assert segment.observations[0].tolist() == [[3, step] for step in seen]
    assert segment.mask.all()


def test_a_shorter_episode_is_shown_whole_and_padded() -> None:
    segment = shown(4, "last", ["x", "y", "x", "y", "y", "y"]).of_others(np.array([0]), (0,))
    assert segment.observations[0].tolist() == [[2, 0], [2, 1], [2, 1], [2, 1]]
    assert segment.mask[0].tolist() == [True, True, False, False]


def test_groups_are_shown_one_of_theirs_by_the_row_alone() -> None:
    rows = [("a", (0, 5)), ("b", (0, 6)), ("a", (0, 7))]
    together = shown().of_groups([name for name, _ in rows], [draw for _, draw in rows])
    for row, (name, draw) in enumerate(rows):
        assert episodes_of(together)[row] in MEMBERS[name]
        alone = shown().of_groups([name], [draw])
        assert torch.equal(alone.observations[0], together.observations[row])


def test_a_group_without_a_demonstration_is_refused() -> None:
    with pytest.raises(UserError, match="only one episode of 'c'"):
        shown(groups=["a", "a", "a", "a", "a", "c"]).of_others(np.array([5]), (0,))
    with pytest.raises(UserError, match="no demonstration of 'c'.*it holds a, b"):
        shown().of_groups(["a", "c"], [(0,), (1,)])


def batches(demonstrations: Demonstrations | None) -> Batches:
    return Batches(tensors(), 4, 4, 1, 3, seed=3, demonstrations=demonstrations)


@pytest.mark.parametrize("way", ["batch", "windows"])
def test_every_row_of_a_batch_is_shown_its_own_group(way) -> None:
    for update in range(8):
        plain, demonstrated = (getattr(batches(one), way)(update) for one in (None, shown()))
        for before, segment in zip(plain, demonstrated, strict=True):
            assert torch.equal(before.observations, segment.observations)
            assert before.demonstration is None
            assert segment.demonstration is not None
            pairs = zip(episodes_of(segment), episodes_of(segment.demonstration), strict=True)
            for episode, other in pairs:
                assert other in MEMBERS[GROUPS[episode]] - {episode}


def test_later_segments_and_copies_keep_what_their_rows_were_shown() -> None:
    segments = batches(shown()).batch(1)
    first = segments[0].demonstration
    assert first is not None
    longer = with_idle_segments([segments[0], *segments], 2, torch.Generator().manual_seed(1))
    for segment in longer:
        assert segment.demonstration is not None
        rows = len(segment)
        assert torch.equal(segment.demonstration.observations, first.observations[:rows])


def test_rows_of_a_segment_take_their_demonstrations_along() -> None:
    demonstration = shown().of_others(np.array([0, 1, 2]), (0,))
    whole = replace(
        tensors().window(np.array([0, 4, 11]), np.array([4, 11, 13]), 4),
        demonstration=demonstration,
    )
    chosen = whole.rows(np.array([True, False, True]))
    assert len(chosen) == 2
    assert chosen.demonstration is not None
    assert torch.equal(chosen.demonstration.mask, demonstration.mask[[0, 2]])
