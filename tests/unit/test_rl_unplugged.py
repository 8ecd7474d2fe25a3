"""RL Unplugged's Atari episodes: the head of a real file, and made-up ones of every layout."""

from __future__ import annotations

import numpy as np
import pytest

from made_up.atari_logs import episode, png, write_records
from memdt.data.episodes import concatenate
from memdt.data.sources import rl_unplugged
from memdt.data.sources.record import Record
from memdt.environments.task import Task
from memdt.errors import UserError

pytest.importorskip("ale_py")


def read(*files, game="Breakout", played=None, record=None, **settings):
    dataset = rl_unplugged.Settings(
        source="rl_unplugged", game=game, files=tuple(map(str, files)), **settings
    )
    task = Task.named("atari", {"game": played or game.lower()})
    paths = [file.path for file in rl_unplugged.raw_files(dataset)]
    return concatenate(rl_unplugged.episodes(task, dataset, paths, record or Record()))


def test_the_head_of_a_real_file(shared_data):
    path = shared_data / "d4rl_sample" / "rlu_atari_Asterix_run_1-00000-of-00001"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    store = read(path, game="Asterix")
    assert store.lengths.tolist() == [1093, 600]
    assert store.returns.tolist() == [66, 29]
    assert store.terminated.all()
    assert store.observations.shape == (1693, 84, 84, 1)
    assert 0 < store.observations.mean() < 255
    with pytest.raises(UserError, match="raw rewards are promised"):
        read(path, game="Asterix", rewards="raw")
    with pytest.raises(UserError, match="action 8 in a game of 4 actions"):
        read(path)


@pytest.mark.parametrize("packed", [True, False])
def test_episodes_and_their_rewards(tmp_path, packed):
    path = write_records(tmp_path / "a", [episode(6), episode(1), episode(4, False)], packed)
    record = Record()
    store = read(path, record=record)
    assert store.lengths.tolist() == [6, 1, 4]
    assert store.returns.tolist() == [6, 1, 4]
    assert store.terminated.tolist() == [True, True, False]
    assert store.truncated.tolist() == [False, False, True]
    assert store.observations[:6, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert store.actions[:6].tolist() == [0, 1, 2, 3, 0, 1]
    assert read(path, rewards="raw").returns.tolist() == [12, 2, 8]
    assert record.notes["episodes that were cut off"] == "1 of 3"


def test_the_layout_with_checkpoints_knows_them(tmp_path):
    known = [
        episode(n, episode_id=None, checkpoint_idx=[number], episode_idx=[n])
        for n, number in ((2, 0), (3, 7), (4, 49))
    ]
    path = write_records(tmp_path / "a", known)
    assert read(path, layout="checkpoints").lengths.tolist() == [2, 3, 4]
    assert read(path, layout="checkpoints", checkpoints=(5, 10)).lengths.tolist() == [3]
    with pytest.raises(UserError, match="no episode of these checkpoints"):
        read(path, layout="checkpoints", checkpoints=(20, 30))
    shuffled = write_records(tmp_path / "b", [episode(2)])
    with pytest.raises(UserError, match="do not know their checkpoint"):
        read(shuffled, checkpoints=(0, 10))


def test_episodes_are_taken_up_to_the_number_of_steps(tmp_path):
    one, other = (write_records(tmp_path / name, [episode(4)] * 3) for name in "ab")
    assert read(one, other, steps=13).lengths.tolist() == [4] * 4


@pytest.mark.parametrize(
    ("contents", "damage", "message"),
    [
        ([episode(3, discounts=None)], {}, "an episode without discounts"),
        ([episode(3, actions=[1, 2])], {}, "an episode of different lengths"),
        ([episode(3, actions=[1, 2, 9])], {}, "action 9 in a game of 4 actions"),
        ([episode(3, observations=[png(64)] * 3)], {}, "frames of 64 x 64"),
        ([episode(2, observations=[png(64), png()])], {}, "a frame that is no PNG of its size"),
        ([episode(2, observations=[b"no PNG"] * 2)], {}, "a frame that is no PNG"),
        ([episode(3, clipped_episode_return=[9.0])], {}, "says its return is 9, its rewards add"),
        ([b"no message"], {}, "record 1 holds no episode"),
        ([episode(6), episode(1)], {"spoilt": 40}, "the checksum of record 1"),
        ([episode(6), episode(1)], {"spoilt": 3}, "the checksum of record 1"),
        ([episode(6), episode(1)], {"cut": 30}, "record 2 is cut off"),
    ],
)
def test_wrong_files_are_refused_in_one_line(tmp_path, contents, damage, message):
    path = write_records(tmp_path / "shard", contents, **damage)
    with pytest.raises(UserError, match=message) as error:
        read(path)
    assert "shard" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_packed_and_cut_is_refused(tmp_path):
    path = write_records(tmp_path / "shard", [episode(6)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="damaged or no TFRecord"):
        read(path)


def test_files_of_another_game_are_refused(tmp_path):
    path = write_records(tmp_path / "shard", [episode(2)])
    with pytest.raises(UserError, match="files of SpaceInvaders, but the environment plays"):
        read(path, game="SpaceInvaders", played="breakout")
    assert len(read(path, game="SpaceInvaders", played="space_invaders")) == 1


def test_both_layouts_lie_in_folders_of_their_own():
    folders = {
        layout: rl_unplugged.raw_files(
            rl_unplugged.Settings(source="rl_unplugged", game="Pong", layout=layout)
        )[0].address
        for layout in ("episodes", "checkpoints")
    }
    assert folders["episodes"].endswith("/atari_episodes/Pong/run_1-00000-of-00100")
    assert folders["checkpoints"].endswith("/atari_episodes_v2/Pong/run_1-00000-of-00100")


def test_frames_are_read_as_they_are(tmp_path):
    path = write_records(tmp_path / "a", [episode(2, observations=[png(value=3), png(value=200)])])
    np.testing.assert_array_equal(np.unique(read(path).observations), [3, 200])
