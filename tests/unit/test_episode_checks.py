"""A dataset holds what was written to it, and only numbers that its spaces allow."""

from __future__ import annotations

from dataclasses import replace as replace_fields

import gymnasium
import h5py
import numpy as np
import pytest

from made_up.episodes import drawn
from memdt.data.episode_file import (
    read_all_but_observations,
    read_episodes,
    read_metadata,
    write_episodes,
)
from memdt.environments.spaces import Spaces
from memdt.errors import UserError

REMEDY = "snakemake data/datasets/smoke/tmaze.h5 --force"
METADATA = {"settings_digest": "3fa1", "source_digest": "9c07", "settings": {"b": [1, 2], "a": 3.5}}


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "tmaze.h5"
    write_episodes([drawn([5, 1, 9])], target, METADATA)
    return target


def rewritten(path, name, change):
    """An array of a dataset replaced as another program would, the rest as it was."""
    with h5py.File(path, "r+") as file:
        array = change(file[name][()])
        del file[name]
        file.create_dataset(name, data=array)


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("name", ["observations", "actions", "rewards", "seeds"])
def test_another_content_than_was_written_is_refused(path, name, lean):
    """Numbers that look as good as the right ones, under attributes that say it is."""
    rewritten(path, name, lambda array: np.roll(array, 1, axis=0))
    read = read_all_but_observations if lean else read_episodes
    with pytest.raises(UserError, match="its content is not what was written"):
        read(path, "3fa1", REMEDY)


def test_other_attributes_are_another_content(path):
    with h5py.File(path, "r+") as file:
        file.attrs["source_digest"] = "other"
    with pytest.raises(UserError, match="its content is not what was written"):
        read_episodes(path, "3fa1", REMEDY)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["observations", "rewards", "later_returns", "final_observations"])
def test_numbers_that_are_none_are_refused_when_written_and_when_read(path, tmp_path, name, value):
    def spoilt(array):
        changed = np.array(array)
        changed[1] = value
        return changed

    store = drawn([5, 1, 9])
    bad = replace_fields(store, **{name: spoilt(getattr(store, name))})
    with pytest.raises(UserError, match=f"bad.h5: {name} holds a value .* in row 1"):
        write_episodes([bad], tmp_path / "bad.h5", METADATA)
    assert not (tmp_path / "bad.h5").exists()
    rewritten(path, name, spoilt)
    with h5py.File(path, "r+") as file:
        del file.attrs["content_digest"]  # as a dataset of an older version
    with pytest.raises(UserError, match=f"{name} holds a value that is no finite number"):
        read_all_but_observations(path, "3fa1", REMEDY)


SPACES = Spaces(gymnasium.spaces.Box(-1, 1, (4,)), gymnasium.spaces.Discrete(4)).as_json()


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("actions", lambda a: np.full_like(a, 99), "should lie between 0 and 3"),
        ("actions", lambda a: a[:, None], "should be whole numbers, one a step"),
        ("actions", lambda a: a.astype(np.float32), "should be whole numbers, one a step"),
        ("labels", lambda a: a - 5, "should lie between 0 and 3"),
        ("observations", lambda a: a[:, :3], r"shape \(3,\), the space of \(4,\)"),
        ("observations", lambda a: a.astype(np.uint8), "are uint8, the space says float32"),
    ],
)
def test_what_spaces_do_not_allow_is_refused(tmp_path, name, change, what):
    store = drawn([5, 1, 9])
    changed = replace_fields(store, **{name: change(getattr(store, name))})
    with pytest.raises(UserError, match=f"{name} {'are of ' if 'shape' in what else ''}{what}"):
        write_episodes([changed], tmp_path / "bad.h5", {**METADATA, "spaces": SPACES})
    write_episodes([store], tmp_path / "good.h5", {**METADATA, "spaces": SPACES})


def test_no_locks_are_needed(path, tmp_path, monkeypatch):
    """Some network file systems have none; files are renamed into place when they are whole."""

    def refused(*arguments, **options):
        assert options.get("locking") is False
        return opened(*arguments, **options)

    opened = h5py.File
    monkeypatch.setattr(h5py, "File", refused)
    write_episodes([read_episodes(path, None, REMEDY)], tmp_path / "again.h5", METADATA)
    read_metadata(path, REMEDY)
