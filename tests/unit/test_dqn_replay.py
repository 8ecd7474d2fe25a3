"""The published logs of DQN agents: made-up shards of Dopamine's layout, whole and spoilt."""

from __future__ import annotations

import numpy as np
import pytest

from made_up.atari_logs import write_array, write_shard
from memdt.data.episodes import concatenate
from memdt.data.sources import dqn_replay
from memdt.data.sources.atari_parts.rows import Rows
from memdt.data.sources.atari_parts.shards import visits
from memdt.data.sources.record import Record
from memdt.environments.task import Task
from memdt.errors import UserError

pytest.importorskip("ale_py")


def read(folder, game="breakout", height=84, record=None, **settings):
    dataset = dqn_replay.Settings(
        source="dqn_replay",
        game="Breakout",
        folder=str(folder),
        **{"shards": (0,), "sampling": "in_order"} | settings,
    )
    task = Task.named("atari", {"game": game, "height": height})
    files = [file.path for file in dqn_replay.raw_files(dataset)]
    stores = dqn_replay.episodes(task, dataset, files, record or Record())
    return concatenate(stores)


def test_whole_episodes_are_read_and_the_rest_is_counted(tmp_path):
    arrays, record = write_shard(tmp_path), Record()
    store = read(tmp_path, record=record)
    assert store.lengths.tolist() == [5, 1, 4]
    assert store.terminated.all()
    np.testing.assert_array_equal(store.observations[..., 0], arrays["observation"][:10])
    np.testing.assert_array_equal(store.actions, arrays["action"][:10])
    np.testing.assert_array_equal(store.rewards, np.sign(arrays["reward"][:10]))
    assert record.notes["rows that belong to no whole episode"] == "2, left out"


def test_raw_rewards_stay_as_they_are(tmp_path):
    arrays = write_shard(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, rewards="raw").rewards, arrays["reward"][:10])


def test_three_zero_rows_before_an_episode_are_no_steps_of_it(tmp_path):
    write_shard(tmp_path, (5, 6), padding=3)
    assert read(tmp_path).lengths.tolist() == [5, 6]


def test_as_released_they_are(tmp_path):
    write_shard(tmp_path, [6] * 11, padding=3)
    store = read(tmp_path, sampling="decision_transformer_as_released")
    assert store.lengths.tolist() == [9] * 11
    assert not store.observations[:3].any()


def test_an_episode_begins_after_invalid_rows(tmp_path):
    write_shard(tmp_path, (6, 4), invalid=(0, 1, 2))
    assert read(tmp_path).lengths.tolist() == [3, 4]


def test_no_episode_crosses_the_cursor(tmp_path):
    write_shard(tmp_path, (5, 6, 4), cursor=7)
    assert read(tmp_path).lengths.tolist() == [5, 4]


def test_only_the_rows_asked_for_are_read(tmp_path):
    """The frames are cut off after these rows, and nobody notices."""
    write_shard(tmp_path, [5] * 10, cut="observation")
    assert read(tmp_path, rows=10).lengths.tolist() == [5, 5]
    with pytest.raises(UserError, match="cut off after row"):
        read(tmp_path)


def test_episodes_are_taken_up_to_the_number_of_steps(tmp_path):
    write_shard(tmp_path, [5] * 10)
    assert read(tmp_path, steps=12).lengths.tolist() == [5, 5, 5]


def test_decision_transformer_takes_ten_episodes_a_visit(tmp_path):
    for number in (0, 1):
        write_shard(tmp_path, [number + 3] * 25, number=number)
    record = Record()
    store = read(tmp_path, shards=(0, 1), sampling="decision_transformer", record=record)
    lengths = store.lengths.reshape(-1, 10)
    assert (lengths == lengths[:, :1]).all()
    assert sorted(lengths[:, 0]) == [3, 3, 4, 4]
    assert record.notes["visits that reached the last row of a shard"] == "2, left out"


def test_as_released_a_visit_takes_eleven_and_keeps_ends_of_dropped_ones(tmp_path):
    """The episode after the dropped visit is cut where one of the dropped would have ended."""
    write_shard(tmp_path, [7] * 12, number=0)
    write_shard(tmp_path, [30] * 22, number=1)
    counts = np.array([12, 22])
    drawn = ((seed, [one[0] for one in visits(counts, 11, seed)]) for seed in range(100))
    seed = next(seed for seed, shards in drawn if shards[:3] == [0, 0, 1])
    settings = {"sampling": "decision_transformer_as_released", "seed": seed}
    store = read(tmp_path, shards=(0, 1), **settings)
    assert store.lengths.tolist() == [7] * 11 + [7, 23] + [30] * 21
    assert store.terminated.tolist() == [True] * 11 + [False] + [True] * 22


def test_a_visit_that_lacks_episodes_ends_a_shard():
    order = visits(np.array([25, 9]), 10, seed=3)
    assert [one for one in order if one[0] == 0] == [(0, 0, 10), (0, 10, 20), (0, 20, -1)]
    assert [one for one in order if one[0] == 1] == [(1, 0, -1)]


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"action": np.zeros(11, np.int32)}, "different lengths: 11 action"),
        ({"terminal": np.array([None] * 12, object)}, "an array of object"),
        ({"action": np.full(12, 17, np.int32)}, "action 17 in a game of 4 actions"),
        ({"observation": np.zeros((12, 64, 64), np.uint8)}, "frames of 64 x 64"),
        ({"cut": "reward"}, "cut off"),
    ],
)
def test_wrong_files_are_refused_in_one_line(tmp_path, spoilt, message):
    write_shard(tmp_path, **spoilt)
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path)
    assert "ckpt.0.gz" in str(error.value)
    assert "\n" not in str(error.value)


def test_clipped_rewards_are_refused_where_raw_ones_are_promised(tmp_path):
    write_shard(tmp_path, reward=np.resize(np.array([0, 1, -1], np.float32), 12))
    assert len(read(tmp_path)) == 3
    with pytest.raises(UserError, match="raw rewards are promised, but all are -1, 0 or 1"):
        read(tmp_path, rewards="raw")


def test_logs_of_another_game_are_refused(tmp_path):
    write_shard(tmp_path)
    with pytest.raises(UserError, match="files of Breakout, but the environment plays pong"):
        read(tmp_path, game="pong")


def test_what_is_no_gzip_or_no_array_is_refused(tmp_path):
    (tmp_path / "a.gz").write_bytes(b"no gzip at all")
    write_array(tmp_path / "b.gz", np.array(["text"]))
    for name, message in (("a.gz", "no array of numpy in gzip"), ("b.gz", "an array of <U4")):
        with pytest.raises(UserError, match=message):
            Rows(tmp_path / name)


def test_published_files_are_fetched_by_names_without_signs():
    files = dqn_replay.raw_files(dqn_replay.Settings(source="dqn_replay", game="Pong"))
    assert len(files) == 50 * 6
    assert not any("$" in str(file.path) for file in files)
    assert files[0].address.endswith("dqn/Pong/1/replay_logs/$store$_observation_ckpt.0.gz")
