"""Collecting: the right lengths, balanced hints, only what succeeds, the same every time."""

from __future__ import annotations

from collections import Counter
from types import ModuleType

import numpy as np
import pytest

from memdt.data.episode_file import write_episodes
from memdt.data.episodes import EpisodeStore, concatenate
from memdt.data.sources import played as collecting
from memdt.environments import tmaze
from memdt.environments.tmaze import HINT, RIGHT, UP, Settings
from memdt.errors import UserError
from memdt.settings.schema import CollectionSettings

LENGTH = 10


def wanted(
    segments=(1, 2, 3), episodes=12, only_successful=True, seed=0, keep_segments=None
) -> CollectionSettings:
    return CollectionSettings(
        segments=segments,
        episodes_per_segment_count=episodes,
        only_successful=only_successful,
        keep_segments=keep_segments,
        seed=seed,
    )


def collect(*arguments) -> EpisodeStore:
    """All that is collected, in one."""
    return concatenate(collecting.collect(*arguments))


def variation(**names: object) -> ModuleType:
    """T-Maze with some of its names replaced or, where None, left out."""
    module = ModuleType("memdt.environments.variation")
    content = {**vars(tmaze), **names}
    vars(module).update({k: v for k, v in content.items() if v is not None and k[:2] != "__"})
    return module


class AlwaysUp(tmaze.Oracle):
    """Knows the way but not the hint: every second episode fails."""

    def act(self, observations, info):
        return np.where(super().act(observations, info) == RIGHT, RIGHT, UP)


class Idle(tmaze.Oracle):
    """Never arrives."""

    def act(self, observations, info):
        return np.full(len(observations), UP)


class Absent(tmaze.Oracle):
    """Means to do what the oracle does, and goes up at every third step."""

    def reset(self, seeds):
        super().reset(seeds)
        self.steps = 0

    def act(self, observations, info):
        self.meant = super().act(observations, info)
        self.steps += 1
        return self.meant if self.steps % 3 else np.full(len(observations), UP)


def test_what_was_meant_is_recorded_beside_what_was_done():
    module = variation(collection_policy=Absent)
    store = collect(module, Settings(), wanted(segments=(1,), only_successful=False), LENGTH)
    assert store.labels.shape == store.actions.shape
    for episode, labels in zip(store, np.split(store.labels, store.offsets[1:-1]), strict=True):
        lapsed = np.arange(len(episode)) % 3 == 2
        assert (episode.actions[lapsed] == UP).all()
        assert (labels[lapsed][:-1] == RIGHT).all()
        np.testing.assert_array_equal(episode.actions[~lapsed], labels[~lapsed])
    assert collect(tmaze, Settings(), wanted(), LENGTH).labels is None


def test_some_are_played_to_their_end_and_others_are_taken_to_do_as_these_did():
    asked = CollectionSettings(
        segments=(3,), episodes_per_segment_count=12, only_successful=False, keep_segments=2,
        played_to_end=4,
    )  # fmt: skip
    module = variation(make_vector=None, ROWS_AT_ONCE=3)
    store = collect(module, Settings(), asked, LENGTH)
    assert store.to_end.tolist() == [True] * 6 + [False] * 6  # whole batches
    assert (store.lengths == 2 * LENGTH).all()
    assert (store.played == np.where(store.to_end, 3 * LENGTH - 1, 2 * LENGTH)).all()
    np.testing.assert_array_equal(store.later_returns, 1.0)  # the oracle wins after the steps kept


def test_each_length_is_collected_as_often_as_asked():
    store = collect(tmaze, Settings(), wanted(), LENGTH)
    assert len(store) == 36
    assert np.bincount(store.segments).tolist() == [0, 12, 12, 12]
    assert store.lengths.tolist() == [9] * 12 + [19] * 12 + [29] * 12
    assert (store.returns == 1).all()
    assert store.terminated.all()


def test_of_a_long_episode_the_first_segments_are_kept_and_the_rest_is_counted():
    whole = collect(tmaze, Settings(), wanted(segments=(3,)), LENGTH)
    store = collect(tmaze, Settings(), wanted(segments=(3,), keep_segments=2), LENGTH)
    assert store.lengths.tolist() == [20] * 12
    assert store.played.tolist() == whole.lengths.tolist() == [29] * 12
    assert (store.segments == 2).all()
    assert store.rewards.sum() == 0
    np.testing.assert_array_equal(store.returns, whole.returns)
    np.testing.assert_array_equal(store.observations[:20], whole.observations[:20])


def test_hints_of_each_length_are_balanced():
    store = collect(tmaze, Settings(), wanted(), LENGTH)
    hints = np.array([episode.observations[0, HINT] for episode in store])
    for segments in (1, 2, 3):
        assert hints[store.segments == segments].sum() == 0


def test_no_seed_is_used_twice_nor_belongs_to_evaluation():
    stores = [collect(tmaze, Settings(), wanted(seed=seed), LENGTH) for seed in (0, 1)]
    seeds = np.concatenate([store.seeds for store in stores])
    assert len(set(seeds.tolist())) == len(seeds)
    assert seeds.min() >= collecting.FIRST_SEED


def test_episodes_are_those_of_their_seeds():
    store = collect(tmaze, Settings(), wanted(), LENGTH)
    for index in (0, 13, 35):
        episode = store[index]
        spanning = tmaze.lengthened(Settings(), episode.segments * LENGTH)
        maze = tmaze.make(spanning)
        observation, _ = maze.reset(seed=episode.seed)
        for seen, action, reward in zip(
            episode.observations, episode.actions, episode.rewards, strict=True
        ):
            np.testing.assert_array_equal(seen, observation)
            observation, earned, terminated, _, _ = maze.step(action)
            assert reward == earned
        assert terminated


def test_collecting_again_gives_the_same_episodes():
    one, two = (collect(tmaze, Settings(), wanted(seed=3), LENGTH) for _ in range(2))
    for name, array in vars(one).items():
        np.testing.assert_array_equal(array, getattr(two, name))


def test_collecting_in_smaller_batches_gives_the_same_bytes(tmp_path):
    smaller = variation(ROWS_AT_ONCE=5, collection_policy=AlwaysUp)
    for name, module in {
        "smaller": smaller,
        "larger": variation(collection_policy=AlwaysUp),
    }.items():
        write_episodes(
            collecting.collect(module, Settings(), wanted(), LENGTH), tmp_path / name, {}
        )
    assert (tmp_path / "smaller").read_bytes() == (tmp_path / "larger").read_bytes()


def test_episodes_come_as_they_are_played():
    parts = collecting.collect(
        variation(ROWS_AT_ONCE=5), Settings(), wanted(segments=(1, 2)), LENGTH
    )
    assert [len(part) for part in parts] == [5, 5, 2, 5, 5, 2]


def test_random_corridors_count_the_segments_that_they_span():
    store = collect(tmaze, Settings(corridor="random"), wanted(episodes=60), LENGTH)
    assert (store.segments == -(-store.lengths // LENGTH)).all()
    assert set(store.segments) == {1, 2, 3}
    assert (store.returns == 1).all()


def test_small_batches_of_single_environments_collect_the_same():
    serial = variation(make_vector=None, ROWS_AT_ONCE=5)
    assert not hasattr(serial, "make_vector")
    ours = collect(serial, Settings(), wanted(), LENGTH)
    for name, array in vars(collect(tmaze, Settings(), wanted(), LENGTH)).items():
        np.testing.assert_array_equal(array, getattr(ours, name), err_msg=name)


def test_failed_episodes_are_replaced():
    store = collect(variation(collection_policy=AlwaysUp), Settings(), wanted(), LENGTH)
    assert len(store) == 36
    assert (store.returns == 1).all()
    assert (store.seeds % 2 == 1).all()  # odd seeds turn up


def test_of_each_group_as_many_are_kept_however_often_it_fails():
    def sides(settings, seeds):
        return ["odd" if seed % 2 else "even" for seed in seeds]

    class FailsOnEvenSeedsAtFirst(tmaze.Oracle):
        """Even seeds below the third dozen fail."""

        def reset(self, seeds):
            super().reset(seeds)
            even = np.array(seeds) % 2 == 0
            self.fails = even & (np.array(seeds) < collecting.FIRST_SEED + 36)

        def act(self, observations, info):
            return np.where(self.fails, UP, super().act(observations, info))

    module = variation(collection_policy=FailsOnEvenSeedsAtFirst, group=sides)
    attempts = Counter[str]()
    store = collect(module, Settings(), wanted(segments=(1,)), LENGTH, attempts)
    seeds = store.seeds - collecting.FIRST_SEED
    assert seeds[seeds % 2 == 1].tolist() == [1, 3, 5, 7, 9, 11]
    assert seeds[seeds % 2 == 0].tolist() == [36, 38, 40, 42, 44, 46]
    assert attempts == {"even": 18 + 6, "odd": 6}


def test_a_group_that_never_succeeds_is_named():
    def sides(settings, seeds):
        return ["up" if seed % 2 else "down" for seed in seeds]

    module = variation(collection_policy=AlwaysUp, group=sides)
    with pytest.raises(UserError, match="only 0 of 120 episodes of down succeeded, 6 are wanted"):
        collect(module, Settings(), wanted(), LENGTH)


def test_failed_episodes_are_kept_where_they_are_wanted():
    module = variation(collection_policy=AlwaysUp)
    store = collect(module, Settings(), wanted(only_successful=False), LENGTH)
    assert len(store) == 36
    assert store.returns.sum() == 18


def test_a_policy_that_never_succeeds_is_given_up():
    module = variation(collection_policy=Idle)
    with pytest.raises(UserError, match="only 0 of 240 episodes succeeded, 12 are wanted"):
        collect(module, Settings(), wanted(), LENGTH)


def test_a_missing_simulator_is_one_clear_line():
    module = variation(REQUIRES=("json", "no_such_simulator"))
    with pytest.raises(UserError, match="variation needs no_such_simulator"):
        collect(module, Settings(), wanted(), LENGTH)


def test_progress_names_the_environment_and_ends_with_the_total(capsys):
    collect(tmaze, Settings(), wanted(), LENGTH)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("collect tmaze | 36/36 | ")
    assert "episodes/s" in last
