"""Collecting: the right lengths, balanced hints, only what succeeds, the same every time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from made_up.episodes import played as block
from memdt.data.episode_file import write_episodes
from memdt.data.episodes import EpisodeStore, concatenate
from memdt.data.sources import played
from memdt.data.sources.record import Record
from memdt.environments import tmaze
from memdt.environments.task import Task
from memdt.environments.tmaze import HINT, RIGHT, UP, Settings
from memdt.errors import UserError

LENGTHS = (10, 20, 30)


def dataset_settings(lengths=LENGTHS, episodes=12, **more) -> played.Settings:
    return played.Settings(**block(lengths, episodes, **more))


def parts(module, dataset, settings=None, attempts=None) -> Iterator[EpisodeStore]:
    """What is collected, as it comes."""
    record = Record() if attempts is None else Record(attempts)
    return played.episodes(Task(module, settings or Settings()), dataset, (), record)


def collect(*arguments) -> EpisodeStore:
    """All that is collected, in one."""
    return concatenate(parts(*arguments))


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
    store = collect(module, dataset_settings((10,), only_successful=False))
    assert store.labels.shape == store.actions.shape
    for episode, labels in zip(store, np.split(store.labels, store.offsets[1:-1]), strict=True):
        lapsed = np.arange(len(episode)) % 3 == 2
        assert (episode.actions[lapsed] == UP).all()
        assert (labels[lapsed][:-1] == RIGHT).all()
        np.testing.assert_array_equal(episode.actions[~lapsed], labels[~lapsed])
    assert collect(tmaze, dataset_settings()).labels is None


def test_some_are_played_to_their_end_and_others_are_taken_to_do_as_these_did():
    dataset = dataset_settings((30,), only_successful=False, keep_steps=20, played_to_end=4)
    module = variation(make_vector=None, ROWS_AT_ONCE=3)
    store = collect(module, dataset)
    assert store.to_end.tolist() == [True] * 6 + [False] * 6  # whole batches
    assert (store.lengths == 20).all()
    assert (store.played == np.where(store.to_end, 29, 20)).all()
    np.testing.assert_array_equal(store.later_returns, 1.0)  # the oracle wins after the steps kept


def test_each_length_is_collected_as_often_as_asked():
    store = collect(tmaze, dataset_settings())
    assert len(store) == 36
    assert store.lengths.tolist() == [9] * 12 + [19] * 12 + [29] * 12
    assert (store.returns == 1).all()
    assert store.terminated.all()


def test_of_a_long_episode_the_first_steps_are_kept_and_the_rest_is_counted():
    whole = collect(tmaze, dataset_settings((30,)))
    store = collect(tmaze, dataset_settings((30,), keep_steps=20))
    assert store.lengths.tolist() == [20] * 12
    assert store.played.tolist() == whole.lengths.tolist() == [29] * 12
    assert store.rewards.sum() == 0
    np.testing.assert_array_equal(store.returns, whole.returns)
    np.testing.assert_array_equal(store.observations[:20], whole.observations[:20])


def test_hints_of_each_length_are_balanced():
    store = collect(tmaze, dataset_settings())
    hints = np.array([episode.observations[0, HINT] for episode in store])
    for steps in LENGTHS:
        assert hints[store.lengths == steps - 1].sum() == 0


def test_no_seed_is_used_twice_nor_belongs_to_evaluation():
    stores = [collect(tmaze, dataset_settings(seed=seed)) for seed in (0, 1)]
    seeds = np.concatenate([store.seeds for store in stores])
    assert len(set(seeds.tolist())) == len(seeds)
    assert seeds.min() >= played.FIRST_SEED


def test_episodes_are_those_of_their_seeds():
    store = collect(tmaze, dataset_settings())
    for index in (0, 13, 35):
        episode = store[index]
        spanning = tmaze.lengthened(Settings(), len(episode) + 1)
        maze = tmaze.make(spanning)
        observation, _ = maze.reset(seed=episode.seed)
        for seen, action, reward in zip(
            episode.observations, episode.actions, episode.rewards, strict=True
        ):
            np.testing.assert_array_equal(seen, observation)
            observation, earned, terminated, _, _ = maze.step(action)
            assert reward == earned
        assert terminated
        np.testing.assert_array_equal(episode.final_observation, observation)


@pytest.mark.parametrize("keep_steps", [None, 1, 13, 100])
def test_the_final_observation_is_what_a_single_environment_shows_after_the_last_step_kept(
    keep_steps,
):
    """Episodes of several lengths side by side; whoever ends early waits, frozen."""
    module = variation(collection_policy=AlwaysUp, ROWS_AT_ONCE=7)
    dataset = dataset_settings((20,), 20, only_successful=False, keep_steps=keep_steps)
    store = collect(module, dataset, Settings(corridor="random"))
    assert len(set(store.played.tolist())) > 5
    for episode in store:
        maze = tmaze.make(tmaze.lengthened(Settings(corridor="random"), 20))
        maze.reset(seed=episode.seed)
        for action in episode.actions:
            observation, *_ = maze.step(action)
        np.testing.assert_array_equal(episode.final_observation, observation)
    assert store.final_observations.dtype == store.observations.dtype


def test_episodes_that_end_by_themselves_are_told_from_those_that_are_cut():
    """Idle on even seeds: these run into the time limit, whose steps all count as played."""

    class SometimesIdle(tmaze.Oracle):
        def reset(self, seeds):
            super().reset(seeds)
            self.idle = np.array(seeds) % 2 == 0

        def act(self, observations, info):
            return np.where(self.idle, UP, super().act(observations, info))

    module = variation(collection_policy=SometimesIdle)
    for keep_steps in (None, 3):
        dataset = dataset_settings((10,), 6, only_successful=False, keep_steps=keep_steps)
        store = collect(module, dataset)
        idle = store.seeds % 2 == 0
        np.testing.assert_array_equal(store.terminated, ~idle)
        np.testing.assert_array_equal(store.truncated, idle)
        assert store.played.tolist() == np.where(idle, 10, 9).tolist()


def test_an_episode_that_was_stopped_has_neither_ended_nor_been_cut():
    dataset = dataset_settings((30,), only_successful=False, keep_steps=20, played_to_end=4)
    store = collect(variation(make_vector=None, ROWS_AT_ONCE=3), dataset)
    np.testing.assert_array_equal(store.terminated, store.to_end)
    assert not store.truncated.any()


def test_episodes_know_their_groups():
    def sides(settings, seeds):
        return [("odd", "even")[int(seed) % 2 == 0] for seed in seeds]

    store = collect(variation(group=sides), dataset_settings())
    assert store.groups.tolist() == sides(None, store.seeds)
    assert set(collect(tmaze, dataset_settings()).groups.tolist()) == {"all"}


@pytest.mark.parametrize("more", [{}, {"keep_steps": 15}, {"keep_steps": 15, "played_to_end": 4}])
def test_a_plan_foresees_the_dataset(more):
    """By the time limit, which the shortest way leaves unused by one step."""
    dataset = dataset_settings(only_successful=False, **more)
    module = variation(ROWS_AT_ONCE=4, collection_policy=Idle)
    store, size = collect(module, dataset), played.expected(dataset)
    assert (size.episodes, size.steps, size.longest) == (
        len(store), len(store.rewards), store.lengths.max()
    )  # fmt: skip
    lengths, counts = np.unique(store.lengths, return_counts=True)
    episodes_by_length = Counter()
    for length, count in size.lengths:
        episodes_by_length[length] += count
    assert episodes_by_length == dict(zip(lengths.tolist(), counts.tolist(), strict=True))
    if "played_to_end" not in more:
        assert size.simulated_steps == store.played.sum()


def test_nobody_plays_in_an_environment_without_a_policy():
    module = variation(collection_policy=None)
    with pytest.raises(UserError, match="no policy to collect a dataset with.*another source"):
        collect(module, dataset_settings())


def test_success_is_needed_where_only_successful_episodes_are_kept():
    module = variation(success=None)
    with pytest.raises(UserError, match="set dataset.only_successful to false"):
        collect(module, dataset_settings())
    assert len(collect(module, dataset_settings(only_successful=False))) == 36


def test_collecting_again_gives_the_same_episodes():
    one, two = (collect(tmaze, dataset_settings(seed=3)) for _ in range(2))
    for name, array in vars(one).items():
        np.testing.assert_array_equal(array, getattr(two, name))


def test_collecting_in_smaller_batches_gives_the_same_bytes(tmp_path):
    smaller = variation(ROWS_AT_ONCE=5, collection_policy=AlwaysUp)
    for name, module in {
        "smaller": smaller,
        "larger": variation(collection_policy=AlwaysUp),
    }.items():
        write_episodes(parts(module, dataset_settings()), tmp_path / name, {})
    assert (tmp_path / "smaller").read_bytes() == (tmp_path / "larger").read_bytes()


def test_episodes_come_as_they_are_played():
    stores = parts(variation(ROWS_AT_ONCE=5), dataset_settings((10, 20)))
    assert [len(store) for store in stores] == [5, 5, 2, 5, 5, 2]


def test_random_corridors_are_of_all_lengths_up_to_those_asked_for():
    store = collect(tmaze, dataset_settings(episodes=60), Settings(corridor="random"))
    lengths = store.lengths.reshape(3, 60)
    assert (lengths.max(axis=1) <= np.array(LENGTHS) - 1).all()
    assert (lengths.max(axis=1) > np.array(LENGTHS) - 6).all()
    assert all(len(set(row.tolist())) >= 8 for row in lengths)
    assert (store.returns == 1).all()


def test_small_batches_of_single_environments_collect_the_same():
    serial = variation(make_vector=None, ROWS_AT_ONCE=5)
    assert not hasattr(serial, "make_vector")
    ours = collect(serial, dataset_settings())
    for name, array in vars(collect(tmaze, dataset_settings())).items():
        np.testing.assert_array_equal(array, getattr(ours, name), err_msg=name)


def test_failed_episodes_are_replaced():
    store = collect(variation(collection_policy=AlwaysUp), dataset_settings())
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
            self.fails = even & (np.array(seeds) < played.FIRST_SEED + 36)

        def act(self, observations, info):
            return np.where(self.fails, UP, super().act(observations, info))

    module = variation(collection_policy=FailsOnEvenSeedsAtFirst, group=sides)
    attempts = Counter[str]()
    store = collect(module, dataset_settings((10,)), None, attempts)
    seeds = store.seeds - played.FIRST_SEED
    assert seeds[seeds % 2 == 1].tolist() == [1, 3, 5, 7, 9, 11]
    assert seeds[seeds % 2 == 0].tolist() == [36, 38, 40, 42, 44, 46]
    assert attempts == {"even": 18 + 6, "odd": 6}


def test_a_group_that_never_succeeds_is_named():
    def sides(settings, seeds):
        return ["up" if seed % 2 else "down" for seed in seeds]

    module = variation(collection_policy=AlwaysUp, group=sides)
    with pytest.raises(UserError, match="only 0 of 120 episodes of down succeeded, 6 are needed"):
        collect(module, dataset_settings())


def test_failed_episodes_are_kept_on_request():
    module = variation(collection_policy=AlwaysUp)
    store = collect(module, dataset_settings(only_successful=False))
    assert len(store) == 36
    assert store.returns.sum() == 18


def test_a_policy_that_never_succeeds_is_given_up():
    module = variation(collection_policy=Idle)
    with pytest.raises(UserError, match="only 0 of 240 episodes succeeded, 12 are needed"):
        collect(module, dataset_settings())


def test_a_missing_simulator_is_one_clear_line():
    module = variation(REQUIRES=("json", "no_such_simulator"))
    with pytest.raises(UserError, match="variation needs no_such_simulator"):
        collect(module, dataset_settings())


def test_progress_names_the_environment_and_ends_with_the_total(capsys):
    collect(tmaze, dataset_settings())
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("play tmaze | 36/36 | ")
    assert "episodes/s" in last
