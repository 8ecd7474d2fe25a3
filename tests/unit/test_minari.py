"""The source ``minari``: what a set says becomes episodes, and what is wrong with one a line."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from made_up.minari_sets import MinariSet, box
from memdt.data.episodes import concatenate
from memdt.data.sources import minari
from memdt.data.sources.minari_parts.spaces import flattened, flattened_shape, from_json
from memdt.data.sources.record import Record
from memdt.environments.spaces import Spaces
from memdt.environments.task import Task
from memdt.errors import UserError


def lab(observation=None, action=None):
    """The task that the made-up sets are of, or one with other spaces."""
    observation = observation or spaces.Box(-np.inf, np.inf, (3,), np.float32)
    known = Spaces(observation, action or spaces.Box(-1, 1, (2,), np.float32))
    return Task(SimpleNamespace(__name__="tests.lab", spaces_of=lambda settings: known), None)


def settings_of(made, **further):
    return minari.Settings(source="minari", id=made.identifier, root=str(made.root), **further)


def read(made, task=None, **further):
    settings = settings_of(made, **further)
    files = [file.path for file in minari.raw_files(settings)]
    return concatenate(minari.episodes(task or lab(), settings, files, Record()))


@pytest.fixture
def made(tmp_path):
    return MinariSet(tmp_path, [3, 2])


def test_episodes_come_in_the_order_of_their_numbers(tmp_path):
    store = read(MinariSet(tmp_path, [3] * 12))  # HDF5 has 10 before 2
    assert store.returns.tolist() == [3.0 * number for number in range(12)]
    assert store.seeds.tolist() == [100 + number for number in range(12)]


def test_arrays_are_those_of_the_set(made):
    store = read(made)
    for number, episode in enumerate(store):
        seen = made.array(number, "observations")
        np.testing.assert_array_equal(episode.observations, seen[:-1].astype(np.float32))
        np.testing.assert_array_equal(episode.final_observation, seen[-1].astype(np.float32))
        np.testing.assert_array_equal(episode.actions, made.array(number, "actions"))
    assert store.offsets.tolist() == [0, 3, 5]
    assert store.to_end.all()
    assert store.groups.tolist() == ["all", "all"]
    assert store.observations.dtype == store.rewards.dtype == np.float32


def test_ends_are_those_that_the_flags_say(tmp_path):
    made = MinariSet(tmp_path, [3, 1, 2, 4])
    made.put(1, terminations=[True], truncations=[False])
    made.put(2, truncations=[False, False])
    made.put(3, terminations=[False, False, False, True])
    store = read(made)
    assert store.terminated.tolist() == [False, True, False, True]
    assert store.truncated.tolist() == [True, False, True, True]  # no flag: cut


def test_a_missing_last_observation_shifts_nothing_and_is_reported(made, capsys):
    seen = made.array(1, "observations")
    made.put(1, observations=seen[:-1])
    episode = read(made)[1]
    np.testing.assert_array_equal(episode.observations, seen[:-1].astype(np.float32))
    np.testing.assert_array_equal(episode.final_observation, seen[-2].astype(np.float32))
    assert "without an observation after their last action: 1;" in capsys.readouterr().err


def test_the_arrays_count_where_the_metadata_say_otherwise(made, capsys):
    made.tell(total_steps=7)
    assert len(read(made).rewards) == 5
    assert "says 7 steps, the episodes have 5" in capsys.readouterr().err


def test_without_seeds(made):
    with h5py.File(made.main, "a") as file:
        for group in file.values():
            del group.attrs["seed"]
    assert read(made).seeds.tolist() == [-1, -1]


def test_parts_are_small_and_together_the_whole(tmp_path, monkeypatch):
    made = MinariSet(tmp_path, [3] * 10)
    whole = read(made)
    monkeypatch.setattr(minari, "PART_BYTES", 100)  # 3 x 3 x 4 an episode: three of them
    settings = settings_of(made)
    parts = list(minari.episodes(lab(), settings, [], Record()))
    assert [len(part) for part in parts] == [3, 3, 3, 1]
    np.testing.assert_array_equal(concatenate(parts).observations, whole.observations)


def test_what_is_expected_is_what_is_there(tmp_path):
    made = MinariSet(tmp_path, [3, 2, 3])
    assert minari.expected(settings_of(made)).lengths == ((2, 1), (3, 2))
    absent = minari.Settings(source="minari", id="lab/none-v0", root=str(tmp_path))
    assert minari.expected(absent).longest is None


def test_named_arrays_of_a_dict_are_joined_in_the_order_of_their_names(made):
    parts = {"goal": box(-1, 1, (2,)), "at": box(-1, 1, (1,)), "far": box(-1, 1, (1,))}
    made.tell(observation_space=json.dumps({"type": "Dict", "subspaces": parts}))
    for number, steps in enumerate((3, 2)):
        rows = np.arange(4.0 * (steps + 1)).reshape(-1, 4)
        seen = {"goal": rows[:, :2], "at": rows[:, 2:3], "far": rows[:, 3:]}
        made.put(number, observations=seen)
    store = read(made, observation_keys=("goal", "at"))
    assert store[0].observations.tolist() == [[2, 0, 1], [6, 4, 5], [10, 8, 9]]
    with pytest.raises(UserError, match=r"are a dict of at, far, goal -> name some of them"):
        read(made)


def test_actions_are_brought_to_the_bounds_of_the_task(made):
    made.tell(action_space=json.dumps(box(-2.0, 4.0, (2,))))
    made.put(0, actions=np.array([[-2, 4], [1, 1], [2.5, -0.5]], np.float32))
    assert read(made)[0].actions.tolist() == [[-1, 1], [0, 0], [0.5, -0.5]]


def test_an_array_of_infos_may_be_learnt_instead(made):
    for number, steps in enumerate((3, 2)):
        made.put(number, infos={"expert": np.full((steps + 1, 2), 0.5, np.float32)})
    store = read(made, labels="expert")
    assert store.labels.tolist() == [[0.5, 0.5]] * 5
    with pytest.raises(UserError, match="there is no array 'other'"):
        read(made, labels="other")


@pytest.mark.parametrize("same_size", [True, False])
def test_frames_may_be_jpeg(made, same_size):
    space = box(0, 255, (32, 40, 3), "uint8")
    made.tell(observation_space=json.dumps(space))
    expected = {}
    for number, steps in enumerate((3, 2)):
        frames = np.full((steps + 1, 32, 40, 3), 10 * number, np.uint8)
        frames[-1, :16] = 200
        encoded = [_jpeg(frame) for frame in frames]
        expected[number] = np.array([Image.open(io.BytesIO(one)) for one in encoded])
        rows = [np.frombuffer(one, np.uint8) for one in encoded]
        made.put(number, observations=None)
        with h5py.File(made.main, "a") as file:
            group = file[f"episode_{number}"]
            if same_size:
                longest = max(map(len, rows))
                group["observations"] = [np.pad(row, (0, longest - len(row))) for row in rows]
            else:
                kind = h5py.vlen_dtype(np.uint8)
                written = group.create_dataset("observations", (len(rows),), kind)
                for row, one in enumerate(rows):
                    written[row] = one
    store = read(made, lab(spaces.Box(0, 255, (32, 40, 3), np.uint8)))
    for number, episode in enumerate(store):
        np.testing.assert_array_equal(episode.observations, expected[number][:-1])
        np.testing.assert_array_equal(episode.final_observation, expected[number][-1])
    made.put(0, observations=np.zeros((4, 50), np.uint8))
    with pytest.raises(UserError, match="episode_0: observations hold no JPEG images"):
        read(made, lab(spaces.Box(0, 255, (32, 40, 3), np.uint8)))


def _jpeg(frame):
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG")
    return buffer.getvalue()


def test_frames_that_lie_there_as_they_are(made):
    made.tell(observation_space=json.dumps(box(0, 255, (32, 40, 3), "uint8")))
    frames = np.random.default_rng(0).integers(0, 256, (7, 32, 40, 3), np.uint8)
    made.put(0, observations=frames[:4])
    made.put(1, observations=frames[4:])
    store = read(made, lab(spaces.Box(0, 255, (32, 40, 3), np.uint8)))
    np.testing.assert_array_equal(store.observations, frames[[0, 1, 2, 4, 5]])


SPACES = [
    spaces.Discrete(4, start=2),
    spaces.MultiDiscrete([2, 3], start=[0, 5]),
    spaces.MultiBinary(3),
    spaces.Box(0, 1, (2, 2)),
    spaces.Box(0, 1, (5,)),
    spaces.Tuple([spaces.Discrete(3), spaces.Box(-1, 1, (2,))]),
    spaces.Dict({"b": spaces.Box(-1, 1, (2,)), "a": spaces.Discrete(3)}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_rows_are_flattened_as_gymnasium_flattens_each(space):
    space.seed(0)
    rows = [space.sample() for _ in range(20)]
    if isinstance(space, spaces.Dict):
        values = {key: np.array([row[key] for row in rows]) for key in space}
    elif isinstance(space, spaces.Tuple):
        values = [np.array(column) for column in zip(*rows, strict=True)]
    else:
        values = np.array(rows)
    expected = np.array([spaces.flatten(space, row) for row in rows])
    np.testing.assert_array_equal(flattened(space, values), expected)
    assert flattened_shape(space) == expected.shape[1:]


def refused(made, task=None, **further):
    with pytest.raises(UserError) as error:
        read(made, task, **further)
    line = error.value.line()
    assert str(made.folder) in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize(("changed", "message"), [
    ({"minari_version": "0.6.1"}, "written by Minari 0.6.1; this version of memdt reads 0.4 and"),
    ({"minari_version": None}, "written by Minari None"),
    ({"data_format": "arrow"}, "stored as arrow, only hdf5 is read -> write it again: minari.cre"),
    ({"observation_space": None}, "there is no key 'observation_space'"),
    ({"action_space": "{}"}, "action_space is not a space that can be read ('type')"),
    ({"action_space": 3}, "action_space is not a space"),
    ({"observation_space": '{"type": "Graph"}'}, "a Graph space is not read"),
    ({"observation_space": json.dumps(box(0, 1, (5,)))}, "have the shape (5,), those of the env"),
    ({"action_space": json.dumps(box(0, 1, (3,)))}, "actions are Box(0.0, 1.0, (3,), float32), "),
    ({"action_space": json.dumps(box(-np.inf, np.inf, (2,)))}, "those of the environment Box(-1"),
    ({"action_space": '{"type": "Discrete", "n": 2, "start": 0}'}, "actions are Discrete(2), "),
])  # fmt: skip
def test_metadata_that_cannot_be_used_are_a_line(made, changed, message):
    made.tell(**changed)
    assert message in refused(made)


@pytest.mark.parametrize(("arrays", "message"), [
    ({"rewards": None}, "episode_1: there is no array 'rewards'"),
    ({"actions": None}, "episode_1: there is no array 'actions'"),
    ({"truncations": None}, "episode_1: there is no array 'truncations'"),
    ({"rewards": np.zeros((2, 1))}, "rewards have the shape (2, 1); there must be one per step"),
    ({"rewards": np.zeros(0)}, "rewards have the shape (0,)"),
    ({"rewards": np.array([1.0, np.nan])}, "rewards hold a value that is not finite"),
    ({"rewards": np.array([b"a", b"b"])}, "rewards are |S1 of the shape (2,)"),
    ({"observations": np.full((3, 3), np.inf)}, "observations hold a value that is not finite"),
    ({"observations": np.zeros((3, 4))}, "observations are float64 of the shape (3, 4), each sho"),
    ({"observations": np.zeros((5, 3))}, "5 observations and 2 rewards; there must be one more"),
    ({"observations": {"a": np.zeros(3), "b": np.zeros(3)}}, "observations are a group of a, b, "),
    ({"actions": np.zeros((3, 2))}, "3 actions and 2 rewards"),
    ({"terminations": [True, False]}, "it continues after step 0 of its terminations"),
    ({"terminations": [True]}, "1 terminations and 2 rewards"),
])  # fmt: skip
def test_an_episode_that_cannot_be_used_is_a_line_with_its_number(made, arrays, message):
    made.put(1, **arrays)
    line = refused(made)
    assert message in line
    assert "episode_1" in line


def test_choices_out_of_range_are_a_line(made):
    made.tell(action_space='{"type": "Discrete", "n": 2, "start": 0}')
    made.put(0, actions=np.array([0, 1, 0]))
    made.put(1, actions=np.array([0, 2]))
    task = lab(action=spaces.Discrete(2))
    assert "episode_1: actions are not all among 0 .. 1" in refused(made, task)
    made.tell(observation_space='{"type": "Discrete", "n": 3, "start": 1}')
    made.put(0, observations=np.array([1, 2, 3, 0]))
    task = lab(spaces.Box(0, 1, (3,), np.float32), spaces.Discrete(2))
    assert "episode_0: observations are not of their space (a choice" in refused(made, task)


def test_files_that_are_missing_or_damaged_are_a_line(made):
    whole = made.main.read_bytes()
    made.main.write_bytes(whole[: len(whole) // 2])
    assert "main_data.hdf5" in refused(made)
    made.main.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "not an HDF5 file, or cut off" in refused(made)
    made.main.unlink()
    assert "main_data.hdf5: there is no such file" in refused(made)
    made.metadata.write_text('{"dataset_id": ')
    assert "metadata.json: not readable as JSON" in refused(made)
    made.metadata.write_text("[]")
    assert "not a mapping of keys to values" in refused(made)
    made.metadata.unlink()
    assert "earlier versions kept its content elsewhere" in refused(made)


def test_a_set_that_is_not_there_names_those_that_are(made):
    settings = minari.Settings(source="minari", id="lab/other-v0", root=str(made.root))
    with pytest.raises(UserError, match=r"put one there; there are .*lab/made-v0$"):
        minari.raw_files(settings)


def test_episodes_that_are_missing_are_a_line(made):
    with h5py.File(made.main, "a") as file:
        del file["episode_0"]
    assert "episode_0 is missing" in refused(made)
    with h5py.File(made.main, "a") as file:
        del file["episode_1"]
    assert "there is no episode in it" in refused(made)


def test_a_set_of_another_task_is_refused_before_any_job(made):
    task = lab(spaces.Box(-1, 1, (4,), np.float32))
    with pytest.raises(UserError, match=r"those of the environment \(4,\) -> is this a set of lab"):
        minari.check(task, settings_of(made))
    made.put(0, actions=None)
    with pytest.raises(UserError, match="episode_0: there is no array 'actions'"):
        minari.check(lab(), settings_of(made))


def test_spaces_survive_their_text():
    from memdt.data.sources.minari_parts.spaces import as_json

    for space in (
        spaces.Discrete(3),
        spaces.Box(-np.inf, np.inf, (2, 3)),
        spaces.Box(0, 255, (2,), np.uint8),
    ):
        assert from_json(as_json(space)) == space
    with pytest.raises(TypeError, match="MultiBinary"):
        as_json(spaces.MultiBinary(2))
