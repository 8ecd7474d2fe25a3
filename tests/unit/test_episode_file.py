"""A dataset comes back as it was written; any other file is refused with a remedy."""

from __future__ import annotations

import json
import subprocess
import weakref
from dataclasses import fields
from dataclasses import replace as replace_fields

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from made_up.episodes import drawn
from memdt.data.episode_file import (
    read_all_but_observations,
    read_episodes,
    read_metadata,
    write_episodes,
)
from memdt.data.episodes import EpisodeStore
from memdt.errors import UserError

REMEDY = "snakemake data/datasets/smoke/tmaze.h5 --force"
METADATA = {"settings_digest": "3fa1", "source_digest": "9c07", "settings": {"b": [1, 2], "a": 3.5}}
NAMES = [field.name for field in fields(EpisodeStore)]


def assert_equal(one: EpisodeStore, other: EpisodeStore) -> None:
    for name in NAMES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        if getattr(other, name) is None:
            assert getattr(one, name) is None
            continue
        kinds = getattr(one, name).dtype, getattr(other, name).dtype
        assert kinds[0] == kinds[1] or (name == "groups" and kinds[0].kind == kinds[1].kind == "U")


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "tmaze.h5"
    write_episodes([drawn([5, 1, 9])], target, METADATA)
    return target


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
    frames=st.booleans(),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_dataset_comes_back_as_it_was_written(tmp_path, lengths, seed, frames):
    store = drawn(lengths, seed, frames)
    write_episodes([store], tmp_path / "data.h5", METADATA)
    assert_equal(read_episodes(tmp_path / "data.h5", "3fa1", REMEDY), store)


def test_a_dataset_without_labels_has_no_array_of_them(tmp_path):
    store = drawn([5, 1], labels=False)
    write_episodes([store.select(np.array([True, True]))], tmp_path / "data.h5", METADATA)
    with h5py.File(tmp_path / "data.h5") as file:
        assert "labels" not in file
    assert_equal(read_episodes(tmp_path / "data.h5", "3fa1", REMEDY), store)


def test_labels_of_another_kind_than_the_actions_are_refused(tmp_path):
    store = replace_fields(drawn([5, 1]), labels=np.zeros(6, np.float32))
    write_episodes([store], tmp_path / "data.h5", METADATA)
    with pytest.raises(UserError, match="disagree"):
        read_episodes(tmp_path / "data.h5", "3fa1", REMEDY)


def test_the_same_episodes_are_the_same_bytes(tmp_path):
    for name in ("one.h5", "two.h5"):
        write_episodes([drawn([40, 3, 700], frames=True)], tmp_path / name, METADATA)
    reordered = dict(reversed(METADATA.items()))
    write_episodes([drawn([40, 3, 700], frames=True)], tmp_path / "three.h5", reordered)
    contents = {(tmp_path / name).read_bytes() for name in ("one.h5", "two.h5", "three.h5")}
    assert len(contents) == 1


@pytest.mark.parametrize("shape", [(7,), (40, 30, 3)])
def test_parts_of_a_dataset_are_the_bytes_of_the_whole(tmp_path, shape):
    """Frames of 3,600 bytes, 291 a chunk: parts end inside chunks, and some hold several."""
    lengths = [300, 1, 290, 2, 700, 5]
    whole = drawn(lengths)
    seen = np.random.default_rng(1).integers(0, 99, (len(whole.rewards), *shape), np.uint8)
    whole = replace_fields(whole, observations=seen)
    write_episodes([whole], tmp_path / "whole.h5", METADATA)
    for number, sizes in enumerate([(1, 1, 1, 1, 1, 1), (2, 0, 4), (5, 1)]):
        ends = np.cumsum(sizes)
        places = [
            (np.arange(6) >= end - size) & (np.arange(6) < end)
            for size, end in zip(sizes, ends, strict=True)
        ]
        path = tmp_path / f"{number}.h5"
        write_episodes(map(whole.select, places), path, METADATA)
        assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert_equal(read_episodes(path, None, REMEDY), whole)


def test_a_part_is_written_before_the_next_one_is_asked_for(tmp_path):
    """What is given is not kept: of a hundred parts two are alive at once."""
    frames, alive = [], []

    def parts():
        for number in range(100):
            part = drawn([3], number, frames=True)
            frames.append(weakref.ref(part.observations))
            alive.append(sum(seen() is not None for seen in frames))
            yield part

    write_episodes(parts(), tmp_path / "data.h5", METADATA)
    assert max(alive) <= 2


def test_a_process_that_is_started_meanwhile_does_not_hold_the_file(tmp_path):
    def parts():
        yield drawn([4])
        started.append(subprocess.Popen(["sleep", "60"], close_fds=False))

    started: list[subprocess.Popen[bytes]] = []
    write_episodes(parts(), tmp_path / "data.h5", METADATA)
    try:
        assert len(read_episodes(tmp_path / "data.h5", None, REMEDY)) == 1
    finally:
        started[0].kill()
        started[0].wait()


def test_no_file_where_the_parts_fail(tmp_path):
    def parts():
        yield drawn([4])
        raise UserError("the engine crashed", "dataset")

    with pytest.raises(UserError, match="crashed"):
        write_episodes(parts(), tmp_path / "data.h5", METADATA)
    assert list(tmp_path.iterdir()) == []


def test_what_was_read_is_written_with_the_same_bytes(path, tmp_path):
    write_episodes([read_episodes(path, None, REMEDY)], tmp_path / "again.h5", METADATA)
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


def test_metadata_come_back(path):
    metadata = read_metadata(path, REMEDY)
    assert metadata["settings_digest"] == "3fa1"
    assert metadata["source_digest"] == "9c07"
    assert json.loads(metadata["settings"]) == METADATA["settings"]


def test_statistics_are_those_of_numpy(path):
    """Of many chunks of single precision, with a deviation that is small beside the mean."""
    draws = np.random.default_rng(0)
    lengths = draws.integers(300, 900, 400)
    store = drawn(lengths.tolist())
    seen = (1000 + draws.normal(size=(len(store.rewards), 37))).astype(np.float32)
    seen[:, 0] = 5.0
    store = replace_fields(store, observations=seen)
    write_episodes([store], path, METADATA)
    with h5py.File(path) as file:
        assert len(seen) > 16 * file["observations"].chunks[0]
    kept = json.loads(read_metadata(path, REMEDY)["statistics"])
    exact = seen.astype(np.float64)
    np.testing.assert_allclose(kept["observations"]["mean"], exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(
        kept["observations"]["deviation"], exact.std(0), rtol=1e-9, atol=1e-9
    )
    for name, values in {"returns": store.returns, "lengths": lengths}.items():
        expected = (values.mean(), values.std(), values.min(), values.max())
        recorded = [kept[name][key] for key in ("mean", "deviation", "least", "most")]
        np.testing.assert_allclose(recorded, expected, rtol=1e-12)


def test_frames_have_no_statistics(path):
    write_episodes([drawn([5, 1, 9], frames=True)], path, METADATA)
    assert set(json.loads(read_metadata(path, REMEDY)["statistics"])) == {"returns", "lengths"}


def test_groups_are_whole_numbers_in_the_file_and_words_when_read(path):
    words = np.array(["red", "a long name", "", "red", "gr\u00fcn"])
    write_episodes([replace_fields(drawn([2, 1, 3, 1, 2]), groups=words)], path, METADATA)
    with h5py.File(path) as file:
        assert file["groups"].dtype == np.int32
        assert json.loads(file.attrs["group_names"]) == sorted(set(words.tolist()))
    assert read_episodes(path, None, REMEDY).groups.tolist() == words.tolist()
    assert read_all_but_observations(path, None, REMEDY)[0].groups.tolist() == words.tolist()


def test_all_but_observations_are_the_same_episodes(path):
    whole = read_episodes(path, "3fa1", REMEDY)
    lean, size = read_all_but_observations(path, "3fa1", REMEDY)
    assert size == whole.observations.nbytes
    assert lean.observations.size == 0
    for name in NAMES[1:]:
        np.testing.assert_array_equal(getattr(lean, name), getattr(whole, name), err_msg=name)
    with pytest.raises(UserError, match="made with settings 3fa1"):
        read_all_but_observations(path, "77", REMEDY)


def test_nothing_but_the_dataset_is_left_behind(path):
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def refusal(path, digest="3fa1") -> str:
    """The message of a refusal: one line that names the file and ends with the remedy."""
    with pytest.raises(UserError) as error:
        read_episodes(path, digest, REMEDY)
    message = str(error.value)
    assert str(path) in message
    assert message.endswith(f"-> {REMEDY}")
    assert "\n" not in message
    return message


def test_other_settings_are_refused(path):
    assert "made with settings 3fa1, this run asks for 77" in refusal(path, "77")


def test_the_digest_may_be_left_unchecked(path):
    assert len(read_episodes(path, None, REMEDY)) == 3


def test_a_missing_file_is_refused(tmp_path):
    assert "no dataset" in refusal(tmp_path / "nowhere.h5")


def test_a_folder_is_refused(tmp_path):
    assert "no dataset" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"episode,return\n0,1\n", b"\x80\x04pickle"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "odd.h5").write_bytes(content)
    assert "not an HDF5 file" in refusal(tmp_path / "odd.h5")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_a_truncated_file_is_refused(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "damaged" in refusal(path)


def test_a_flipped_bit_is_noticed(path):
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        chunk = file["rewards"].id.get_chunk_info(0)
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_somebody_elses_hdf5_is_refused(tmp_path):
    with h5py.File(tmp_path / "minari.h5", "w") as file:
        file["observations"] = np.zeros(3)
    assert "not a dataset of this project" in refusal(tmp_path / "minari.h5")


def test_a_later_format_is_refused(path):
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 99
    assert "dataset format 99" in refusal(path)


def replace(path, name, value, **options) -> None:
    with h5py.File(path, "a") as file:
        del file[name]
        if value is not None:
            file.create_dataset(name, data=value, **options)


def test_an_array_that_is_missing_is_refused(path):
    replace(path, "actions", None)
    assert "'actions'" in refusal(path)


def test_python_objects_are_never_read(path):
    replace(path, "actions", ["a"] * 15, dtype=h5py.string_dtype())
    assert "no array of numbers 'actions'" in refusal(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rewards", np.zeros(14, dtype=np.float32)),
        ("offsets", np.array([0, 5, 5, 15])),
        ("offsets", np.array([0, 5, 15])),
        ("offsets", np.array([1, 5, 6, 15])),
        ("terminated", np.ones(2, dtype=bool)),
        ("truncated", np.ones(4, dtype=bool)),
        ("final_observations", np.zeros((2, 4), dtype=np.float32)),
        ("groups", np.zeros(2, dtype=np.int32)),
        ("offsets", np.array([0.0, 5, 6, 15])),
        ("rewards", np.float32(3)),
        ("actions", np.int64(3)),
    ],
)
def test_arrays_that_disagree_are_refused(path, name, value):
    replace(path, name, value)
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("codes", [[0, 1, 9], [0, -1, 1], [0.0, 1.0, 0.0]])
def test_a_group_without_a_name_is_refused(path, codes):
    replace(path, "groups", np.array(codes))
    assert "a group without a name" in refusal(path)


def test_a_file_that_lost_the_names_of_its_groups_is_refused(path):
    with h5py.File(path, "a") as file:
        del file.attrs["group_names"]
    assert "damaged" in refusal(path)


def test_python_objects_are_never_written(tmp_path):
    store = drawn([3])
    odd = EpisodeStore(**{**vars(store), "actions": np.array([1, "a", None], dtype=object)})
    with pytest.raises(TypeError, match="actions"):
        write_episodes([odd], tmp_path / "odd.h5", METADATA)
    assert list(tmp_path.iterdir()) == []
