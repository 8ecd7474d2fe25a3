"""The source ``d4rl``: files as they were published, and each of the faults that people met."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from made_up import d4rl_files
from made_up.d4rl_files import ACTIONS, WIDTH, arrays, lab
from memdt.data.episodes import concatenate
from memdt.data.sources import d4rl
from memdt.data.sources.d4rl_parts.checksums import CHECKSUMS
from memdt.data.sources.record import Record
from memdt.environments.mujoco.d4rl_tables import addresses
from memdt.environments.task import Task
from memdt.errors import UserError

SETS = [
    f"{name}-{kind}-v2"
    for name in ("halfcheetah", "hopper", "walker2d")
    for kind in ("medium", "medium-replay", "medium-expert", "expert")
]
TASKS = {"halfcheetah": "HalfCheetah-v4", "hopper": "Hopper-v4", "walker2d": "Walker2d-v4"}


@pytest.fixture
def read(tmp_path):
    """Write a file and read it; returns the episodes and the notes."""

    def read(content, task=None, **settings):
        path = d4rl_files.write(tmp_path / "set.hdf5", content)
        return read_file(path, task or lab(), **settings)

    return read


def read_file(path, task, name="hopper-medium-v2", **settings):
    dataset = d4rl.Settings(source="d4rl", id=name, file=str(path), **settings)
    record = Record()
    return concatenate(d4rl.episodes(task, dataset, [path], record)), record.notes


def test_steps_lie_where_they_lay(read):
    content = arrays([4, 3, 5], "too")
    store, notes = read(content)
    assert store.lengths.tolist() == [4, 3, 5]
    assert store.terminated.tolist() == [True, False, False]
    assert store.truncated.tolist() == [False, True, True]
    assert store.returns.tolist() == [6, 15, 45]
    np.testing.assert_array_equal(store.observations, content["observations"])
    np.testing.assert_array_equal(store.actions, content["actions"])
    np.testing.assert_array_equal(
        store.final_observations, content["next_observations"][[3, 6, 11]]
    )
    assert notes == {"constant observations": "dimensions [3, 4]"}


def test_parts_do_not_depend_on_their_size(read, monkeypatch):
    content = arrays([4, 3, 5, 1, 1, 9], "tooobt")
    whole, notes = read(content)
    monkeypatch.setattr(d4rl, "PART_STEPS", 5)
    parts, notes_of_parts = read(content)
    for name, array in vars(whole).items():
        if array is not None:
            np.testing.assert_array_equal(getattr(parts, name), array, err_msg=name)
    assert notes_of_parts == notes


def test_both_flags_are_a_terminal_and_episodes_of_one_step_stay(read):
    store, notes = read(arrays([3, 1, 1, 4], "btoo"))
    assert store.lengths.tolist() == [3, 1, 1, 4]
    assert store.terminated.tolist() == [True, True, False, False]
    assert notes["both flags"] == "1 steps are terminal and timed out: taken as terminal"
    assert notes["episodes of one step"] == "2"


def test_an_episode_that_the_file_cuts_is_left_out_and_counted(read):
    store, notes = read(arrays([4, 3, 2], "to-"))
    assert store.lengths.tolist() == [4, 3]
    assert notes["unfinished episode"] == "2 steps at the end of the file are left out"


def test_without_timeouts_the_time_limit_draws_the_borders(read):
    content = arrays([6, 2, 6, 3], "-t--")
    del content["timeouts"]
    store, notes = read(content, time_limit=6)
    assert store.lengths.tolist() == [6, 2, 6]
    assert store.terminated.tolist() == [False, True, False]
    assert notes["timeouts"] == "not in the file; episodes are cut after 6 steps"


@pytest.mark.parametrize("flags", ["i8", "f8", "u1"])
def test_flags_of_numbers_are_flags(read, flags):
    store, _ = read(arrays([4, 3], "to", flags=flags))
    assert store.terminated.tolist() == [True, False]
    assert store.truncated.tolist() == [False, True]


def test_arrays_of_one_column_are_read_as_one_number_a_step(read):
    content = arrays([4, 3], "to")
    for name in ("rewards", "terminals"):
        content[name] = content[name][:, None]
    store, notes = read(content)
    assert store.rewards.tolist() == list(range(7))
    assert notes["arrays of one column"] == "rewards, terminals: read as one number a step"


@pytest.mark.parametrize("name", ["observations", "actions", "rewards", "next_observations"])
def test_what_is_not_finite_is_refused_with_array_and_step(read, name, monkeypatch):
    monkeypatch.setattr(d4rl, "PART_STEPS", 3)
    content = arrays([4, 3], "to")
    content[name][5] = np.nan
    with pytest.raises(UserError, match=rf"set.hdf5: {name}: step 5 is not finite"):
        read(content)


def test_actions_out_of_bounds_are_clipped_and_reported(read):
    content = arrays([4, 3], "to")
    content["actions"][0] = [1.5, -0.5]
    content["actions"][1] = [1.0, 0.0]
    store, notes = read(content)
    assert store.actions[0].tolist() == [1.0, -0.5]
    assert notes["actions out of bounds"] == "1 steps, by 0.5 at most: cut off at the bounds"
    assert notes["actions at a bound"] == "1 steps; a tanh never gets there"


def test_a_jump_within_an_episode_is_reported(read):
    content = arrays([4, 3], "to")
    content["next_observations"][5] += 1
    _, notes = read(content)
    assert notes["next observations"] == (
        "differ from the row below in 1 steps inside of episodes, first in row 5"
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda c: c.pop("terminals"), "terminals: there is no array of numbers"),
        (lambda c: c.pop("rewards"), "rewards: there is no array of numbers"),
        (lambda c: c.update(actions=c["actions"][:-1]), "actions: it has 6 rows, rewards have 7"),
        (lambda c: c.update({k: v[:0] for k, v in c.items()}), "there is no step in it"),
        (lambda c: c.update(rewards=np.ones((7, 2))), "but must hold one number per step"),
        (
            lambda c: c.update(timeouts=np.zeros(7), terminals=np.zeros(7)),
            "no step ends an episode",
        ),
        (
            lambda c: c.update(observations=np.zeros((7, 4), "f4")),
            r"they have the shape \(4,\), those of the environment \(5,\)",
        ),
    ],
)
def test_a_file_of_another_layout_is_refused(read, change, what):
    content = arrays([4, 3], "to")
    change(content)
    with pytest.raises(UserError, match=what):
        read(content)


def test_a_missing_border_is_refused(read):
    with pytest.raises(UserError, match=r"9 steps \(from row 4 on\), but 6 are allowed"):
        read(arrays([4, 9, 3], "tto"), time_limit=6)


def test_files_of_earlier_versions_are_refused_under_a_v2_name(read):
    content = arrays([4, 3], "to")
    without = {name: array for name, array in content.items() if name != "next_observations"}
    with pytest.raises(UserError, match=r"this is no v2 file \(it has no next_observations\)"):
        read(without)
    with pytest.raises(UserError, match=r"this is no v2 file \(its observations are float64\)"):
        read(arrays([4, 3], "to", kind="f8"))
    store, notes = read(without, name="hopper-medium-v0")
    assert "not in the file" in notes["next observations"]
    np.testing.assert_array_equal(store.final_observations[0], content["observations"][3])


def test_half_a_file_is_refused(tmp_path):
    path = d4rl_files.write(tmp_path / "set.hdf5", arrays([4, 3], "to"))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match="set.hdf5"):
        read_file(path, lab())


def test_infos_say_whether_they_are_before_or_after_the_step(read):
    content = arrays([4, 3], "to")
    for name, word in (("observations", "before"), ("next_observations", "after")):
        seen = content[name].astype("f8")
        infos = {"infos/qpos": np.c_[np.zeros(7), seen[:, :2]], "infos/qvel": seen[:, 2:]}
        assert read(content | infos)[1]["infos/qpos"] == f"the state {word} each step"


@pytest.mark.parametrize("name", SETS)
def test_the_sets_of_the_paper_have_address_size_and_digest(name):
    settings = d4rl.Settings(source="d4rl", id=name)
    (file,) = d4rl.raw_files(settings)
    assert (file.size, file.sha256) == CHECKSUMS[file.path.name]
    assert file.address == addresses()[name]
    assert file.path.name == f"{name.rpartition('-')[0].replace('-', '_')}-v2.hdf5"
    assert d4rl.origin(settings) == "published"


def test_a_published_file_of_another_digest_is_set_aside_and_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = d4rl.Settings(source="d4rl", id="hopper-medium-v2")
    (file,) = d4rl.raw_files(dataset)
    file.path.parent.mkdir(parents=True)
    d4rl_files.write(file.path, arrays([4, 3], "to"))
    with pytest.raises(UserError, match=r"152,756,557 are expected; it is set aside"):
        next(d4rl.episodes(lab(), dataset, [file.path], Record()))
    assert not file.path.exists()


def test_an_unknown_set_is_refused_with_the_closest_name():
    with pytest.raises(ValidationError, match="did you mean 'hopper-medium-v2'"):
        d4rl.Settings(source="d4rl", id="hoper-medium-v2")


@pytest.mark.parametrize(
    ("name", "lengths"),
    [("halfcheetah", [1000, 1000]), ("hopper", None), ("walker2d", [1000, 1000])],
)
def test_the_heads_of_the_real_files_are_read(shared_data, name, lengths):
    task = Task.named("mujoco_locomotion", {"id": TASKS[name], "reference": name})
    path = shared_data / "d4rl_sample" / f"{name}_medium-v2.hdf5"
    store, notes = read_file(path, task, f"{name}-medium-v2")
    assert lengths is None or store.lengths.tolist() == lengths
    assert store.observations.dtype == np.float32
    assert notes["infos/qpos"] == "the state after each step"
    assert notes["behaviour policy"].startswith("SAC of iteration ")
    assert "next observations" not in notes  # each is the row below


@pytest.mark.parametrize("name", TASKS)
def test_the_heads_of_real_v1_files_are_no_v2_files(shared_data, name):
    task = Task.named("mujoco_locomotion", {"id": TASKS[name], "reference": name})
    path = shared_data / "d4rl_sample" / f"{name}_medium_replay-v1.hdf5"
    with pytest.raises(UserError, match="this is no v2 file"):
        read_file(path, task, f"{name}-medium-replay-v2")
    store, notes = read_file(path, task, f"{name}-medium-replay-v1")
    assert store.rewards.dtype == np.float32
    assert notes["arrays of one column"].startswith("rewards")


def test_the_made_up_files_have_the_shape_that_they_say():
    content = arrays([4, 3], "to")
    assert content["observations"].shape == (7, WIDTH)
    assert content["actions"].shape == (7, ACTIONS)
