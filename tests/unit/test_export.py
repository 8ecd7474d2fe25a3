"""``memdt export``: a Minari data set with all that the dataset holds, the same bytes each time."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from memdt.data.episode_file import read_episodes, write_episodes
from memdt.data.episodes import NOT_PLAYED, EpisodeStore, concatenate
from memdt.data.export import export
from memdt.data.sources import minari, played
from memdt.data.sources.record import Record
from memdt.environments.spaces import Spaces
from memdt.environments.task import Task
from memdt.errors import UserError

TASK = Task.named("tmaze", {})


@pytest.fixture
def dataset(tmp_path):
    """A file of ten mazes: two were recorded in part, one of them never ended."""
    settings = played.Settings(source="played", lengths=(5, 9), episodes_per_length=5)
    store = concatenate(played.episodes(TASK, settings, [], Record()))
    later = np.zeros(10, np.int64)
    later[3], later[7] = 4, NOT_PLAYED
    store = replace(
        store,
        later_steps=later,
        later_returns=np.where(later, 0.5, 0.0),
        terminated=np.where(later == NOT_PLAYED, False, store.terminated),
        groups=np.where(np.arange(10) % 2, "up", "down"),
        labels=(store.actions + 1) % 4,
    )
    write_episodes([store], tmp_path / "maze.h5", {"settings_digest": "abc"})
    return tmp_path / "maze.h5"


def put(dataset, root, identifier="lab/maze-v0", task=TASK, **about):
    return export(dataset, "abc", task, root, identifier, about)


def take(root, identifier="lab/maze-v0", task=TASK, labels="label"):
    settings = minari.Settings(source="minari", id=identifier, root=str(root), labels=labels)
    minari.check(task, settings)
    return concatenate(minari.episodes(task, settings, [], Record()))


def test_what_is_read_back_is_what_was_written(dataset, tmp_path):
    put(dataset, tmp_path / "sets")
    written, back = read_episodes(dataset, None, ""), take(tmp_path / "sets")
    assert vars(written).keys() == vars(back).keys()
    for name, array in vars(written).items():
        np.testing.assert_array_equal(getattr(back, name), array, err_msg=name)
        assert getattr(back, name).dtype == array.dtype


def test_who_does_not_know_our_attributes_sees_no_false_end(dataset, tmp_path):
    folder = put(dataset, tmp_path / "sets")
    with h5py.File(folder / "data" / "main_data.hdf5") as file:
        for name in ("episode_3", "episode_7"):
            assert not file[name]["terminations"][()].any()
            assert file[name]["truncations"][-1]


def test_the_same_dataset_gives_the_same_bytes(dataset, tmp_path):
    first, second = (put(dataset, tmp_path / name, author=["A"]) for name in ("one", "two"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert [str(file) for file in files] == ["data/main_data.hdf5", "data/metadata.json"]
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes()


def test_a_set_that_is_there_is_not_overwritten_and_a_failure_leaves_none(dataset, tmp_path):
    put(dataset, tmp_path / "sets")
    with pytest.raises(UserError, match="there is already a data set"):
        put(dataset, tmp_path / "sets")
    dataset.write_bytes(dataset.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"maze\.h5"):
        put(dataset, tmp_path / "sets", "lab/other-v0")
    assert [path.name for path in sorted((tmp_path / "sets" / "lab").iterdir())] == [
        "maze-v0", "namespace_metadata.json",
    ]  # fmt: skip


@pytest.mark.parametrize("identifier", ["maze", "maze-v", "a/../maze-v0", "/maze-v0", "a b-v0"])
def test_an_id_that_minari_does_not_know_is_refused(dataset, tmp_path, identifier):
    with pytest.raises(UserError, match="is not a valid id of a Minari data set -> such as"):
        put(dataset, tmp_path / "sets", identifier)


def test_a_dataset_made_with_other_settings_is_refused(dataset, tmp_path):
    with pytest.raises(UserError, match="made with settings abc, this run asks for xyz"):
        export(dataset, "xyz", TASK, tmp_path / "sets", "lab/maze-v0", {})


def test_the_package_minari_opens_it(dataset, tmp_path, monkeypatch):
    package = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    put(dataset, tmp_path / "sets", "lab/deep/maze-v2", author=["A"], description="mazes")
    assert list(package.list_local_datasets()) == ["lab/deep/maze-v2"]
    opened, written = package.load_dataset("lab/deep/maze-v2"), read_episodes(dataset, None, "")
    assert (opened.observation_space, opened.action_space) == (
        TASK.spaces.observation, TASK.spaces.action,
    )  # fmt: skip
    assert (opened.total_episodes, opened.total_steps) == (10, len(written.rewards))
    assert opened.storage.metadata["author"] == {"A"}
    for ours, theirs in zip(written, opened, strict=True):
        seen = np.concatenate([ours.observations, ours.final_observation[None]])
        np.testing.assert_array_equal(theirs.observations, seen)
        np.testing.assert_array_equal(theirs.actions, ours.actions)
        np.testing.assert_array_equal(theirs.rewards, ours.rewards)
        assert "infos" in repr(theirs)
    metadata = list(opened.storage.get_episode_metadata(range(10)))
    assert [one["seed"] for one in metadata] == written.seeds.tolist()


def test_frames_are_the_same_to_the_pixel(tmp_path, monkeypatch):
    space = spaces.Box(0, 255, (40, 48, 3), np.uint8)
    known = Spaces(space, spaces.Discrete(4))
    unregistered = SimpleNamespace(spec=None, close=lambda: None)
    module = SimpleNamespace(
        __name__="lab", spaces_of=lambda settings: known, make=lambda settings: unregistered
    )
    task, frames = Task(module, None), np.random.default_rng(0).integers(0, 256, (11, 40, 48, 3))
    frames = frames.astype(np.uint8)
    store = EpisodeStore(
        observations=frames[:10], actions=np.arange(10) % 4, rewards=np.ones(10, np.float32),
        offsets=np.array([0, 10]), final_observations=frames[10:], terminated=np.array([False]),
        truncated=np.array([True]), seeds=np.array([-1]), groups=np.array(["all"]),
        later_steps=np.array([0]), later_returns=np.array([0.0]),
    )  # fmt: skip
    write_episodes([store], tmp_path / "film.h5", {"settings_digest": "abc"})
    put(tmp_path / "film.h5", tmp_path / "sets", "lab/film-v0", task)
    back = take(tmp_path / "sets", "lab/film-v0", task, labels=None)
    np.testing.assert_array_equal(back.observations, frames[:10])
    np.testing.assert_array_equal(back.final_observations, frames[10:])
    package = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    np.testing.assert_array_equal(package.load_dataset("lab/film-v0")[0].observations, frames)


def cartpole_set(package, identifier="cartpole/scripted-v0"):
    """Four episodes that the package itself has written; and what was seen and done in them."""
    import gymnasium
    from minari.data_collector import EpisodeBuffer

    environment = gymnasium.make("CartPole-v1", max_episode_steps=60)
    buffers = []
    for seed in range(4):
        seen, done, earned, ends = [environment.reset(seed=seed)[0]], [], [], []
        while not ends or not any(ends[-1]):
            done.append(np.int64(seen[-1][2] + seen[-1][3] > 0))
            observation, reward, *flags, _ = environment.step(done[-1])
            seen.append(observation)
            earned.append(reward)
            ends.append(flags)
        terminations, truncations = np.array(ends).T
        buffers.append(EpisodeBuffer(
            seed=seed, observations=np.array(seen), actions=np.array(done), rewards=earned,
            terminations=terminations, truncations=truncations, infos={},
        ))  # fmt: skip
    package.create_dataset_from_buffers(identifier, buffers, env=environment)
    return buffers


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_the_package_minari_writes_is_read_and_goes_back(tmp_path, monkeypatch):
    package = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    buffers = cartpole_set(package)
    task = Task.named("gymnasium", {"id": "CartPole-v1", "max_episode_steps": 60})
    store = take(tmp_path / "sets", "cartpole/scripted-v0", task, labels=None)
    assert store.seeds.tolist() == [0, 1, 2, 3]
    for episode, buffer in zip(store, buffers, strict=True):
        np.testing.assert_array_equal(episode.observations, buffer.observations[:-1])
        np.testing.assert_array_equal(episode.final_observation, buffer.observations[-1])
        np.testing.assert_array_equal(episode.actions, buffer.actions)
        np.testing.assert_array_equal(episode.rewards, buffer.rewards)
        assert episode.terminated == buffer.terminations[-1]
        assert episode.truncated == buffer.truncations[-1]
    write_episodes([store], tmp_path / "poles.h5", {"settings_digest": "abc"})
    put(tmp_path / "poles.h5", tmp_path / "sets", "cartpole/again-v0", task)
    again = package.load_dataset("cartpole/again-v0")
    assert again.recover_environment().spec.max_episode_steps == 60
    assert again.env_spec.id == "CartPole-v1"


def test_the_specification_of_a_registered_environment_is_there_without_the_package(tmp_path):
    task = Task.named("gymnasium", {"id": "Pendulum-v1"})
    store = read_one(task)
    write_episodes([store], tmp_path / "one.h5", {"settings_digest": "abc"})
    folder = put(tmp_path / "one.h5", tmp_path / "sets", "lab/pendulum-v0", task)
    metadata = json.loads((folder / "data" / "metadata.json").read_text())
    wrappers = json.loads(metadata["env_spec"])["additional_wrappers"]
    assert [one["name"] for one in wrappers] == ["RescaleAction"]


def read_one(task):
    """An episode of nobody in particular."""

    class Still:
        def reset(self, seeds):
            self.rows = len(seeds)

        def act(self, observations, info):
            return np.zeros((self.rows, 1), np.float32)

    store = played.play(task.vector(1), Still(), [0])
    return replace(store, groups=np.array(["all"]))
