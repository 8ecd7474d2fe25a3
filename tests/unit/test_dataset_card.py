"""The card of a dataset against episodes that can be counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from made_up.episodes import episodes, played
from memdt import discovery, paths
from memdt.data.episode_file import write_episodes
from memdt.data.episodes import NOT_PLAYED
from memdt.environments import tmaze
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.report.dataset_card import BY_GROUP, BY_LENGTH, by_group, by_length, dataset_card

# Three episodes of 2, 3 and 4 steps: of segments of 3 steps the first two span one, the last two.
STORE = episodes(
    np.zeros((9, 4), dtype=np.float32),
    np.zeros(9, dtype=np.int64),
    np.array([0, 1, 0, 0, 0, 0, 0, 0, 1]),
    [2, 3, 4],
    terminated=np.array([True, False, True]),
    truncated=np.array([False, True, False]),
    seeds=np.array([4, 5, 6]),
)
GROUPED = replace(STORE, groups=np.array(["even", "odd", "even"]))


class Follower:
    """Follows the hint.

    And more.
    """


def test_episodes_are_counted_by_length() -> None:
    assert by_length(STORE, Task.named("tmaze", {}), 3).to_dict("records") == [
        dict(zip(BY_LENGTH, (1, 2, 2, 3, 0.5, 0.5), strict=True)),
        dict(zip(BY_LENGTH, (2, 1, 4, 4, 1.0, 1.0), strict=True)),
    ]


def test_another_length_of_segments_counts_the_same_episodes_otherwise() -> None:
    rows = by_length(STORE, Task.named("tmaze", {}), 2).to_dict("records")
    assert rows == [
        dict(zip(BY_LENGTH, (1, 1, 2, 2, 1.0, 1.0), strict=True)),
        dict(zip(BY_LENGTH, (2, 2, 3, 4, 0.5, 0.5), strict=True)),
    ]


def test_success_is_nan_where_the_environment_does_not_know_it() -> None:
    task = Task(SimpleNamespace(), tmaze.Settings())
    (row,) = by_length(STORE, task, 9).to_dict("records")
    assert row["mean_return"] == pytest.approx(2 / 3)
    assert math.isnan(row["success"])


def test_episodes_that_were_stopped_count_in_no_mean() -> None:
    stopped = replace(STORE, later_steps=np.array([0, 0, NOT_PLAYED]))
    rows = by_length(stopped, Task.named("tmaze", {}), 3).to_dict("records")
    assert [row["episodes"] for row in rows] == [2, 1]
    assert math.isnan(rows[1]["mean_return"])


def test_episodes_are_counted_by_group() -> None:
    assert by_group(GROUPED, {"even": 5, "odd": 1}).to_dict("records") == [
        dict(zip(BY_GROUP, ("even", 2, 5, 2, 4, 1.0), strict=True)),
        dict(zip(BY_GROUP, ("odd", 1, 1, 3, 3, 0.0), strict=True)),
    ]


def test_of_episodes_from_a_file_nobody_knows_the_attempts() -> None:
    assert by_group(GROUPED, {})["attempts"].tolist() == [None, None]


@pytest.fixture
def collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which the store above was collected."""
    monkeypatch.chdir(tmp_path)
    path = paths.dataset("tiny", "maze")
    settings = {"dataset": played([3, 6], 2), "parameters": {}}
    write_episodes(
        [STORE],
        path,
        {
            "settings_digest": "abc",
            "source_digest": "def",
            "settings": settings,
            "versions": {"doom": "1.2"},
        },
    )
    return path


def test_the_card_says_what_is_stored_and_by_whom_it_was_played(collected: Path) -> None:
    card = dataset_card("maze", "tmaze", "tiny", 3)
    assert card.collected
    assert (card.lines["episodes"], card.lines["steps"]) == ("3", "9")
    assert card.lines["observation"] == "float32 [4]"
    assert (card.lines["settings digest"], card.lines["source digest"]) == ("abc", "def")
    assert card.lines["behaviour policy"].startswith("Oracle: Goes right")
    assert card.lines["source"] == "played"
    assert card.settings == {
        "dataset.source": "played", "dataset.lengths": [3, 6], "dataset.episodes_per_length": 2,
        "parameters": {},
    }  # fmt: skip
    assert card.lines["simulator"] == "doom 1.2"
    assert [row["episodes"] for row in card.by_length] == [2, 1]
    assert card.by_group == []  # one group is no table


def test_what_is_not_known_of_episodes_is_no_number_of_the_card(collected: Path) -> None:
    stopped = replace(STORE, later_steps=np.array([0, 0, NOT_PLAYED]))
    settings = {"dataset": played([3], 1), "parameters": {}}
    write_episodes([stopped], collected, {"settings_digest": "abc", "settings": settings})
    known, unknown = dataset_card("maze", "tmaze", "tiny", 3).by_length
    assert known["success"] is not None
    assert (unknown["mean_return"], unknown["success"]) == (None, None)


def test_an_environment_may_add_lines(collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"dataset": played([3], 1), "parameters": {"side": "up"}}
    write_episodes([STORE], collected, {"settings_digest": "abc", "settings": settings})
    environment = SimpleNamespace(
        Settings=lambda **parameters: parameters["side"],
        collection_policy=lambda settings: Follower(),
        success=lambda returns, terminated: returns > 0,
        dataset_card=lambda settings, store: {f"hints {settings}": f"{len(store)} of 3"},
    )
    monkeypatch.setattr(discovery, "load", lambda package, name: environment)
    card = dataset_card("maze", "tmaze", "tiny", 3)
    assert card.lines["hints up"] == "3 of 3"
    assert card.lines["behaviour policy"] == "Follower: Follows the hint."


def test_what_was_meant_beside_what_was_done_is_no_trouble(collected: Path) -> None:
    write_episodes([replace(STORE, labels=STORE.actions)], collected, {"settings": {}})
    assert dataset_card("maze", "tmaze", "tiny", 3).lines["episodes"] == "3"


def test_groups_have_a_table_and_their_attempts(collected: Path) -> None:
    write_episodes([GROUPED], collected, {"attempts": {"even": 5, "odd": 1}, "settings": {}})
    card = dataset_card("maze", "tmaze", "tiny", 3)
    assert [(row["group"], row["attempts"]) for row in card.by_group] == [("even", 5), ("odd", 1)]


def test_episodes_that_nobody_played_here_have_no_behaviour_policy(collected: Path) -> None:
    settings = {"dataset": {"source": "files"}, "parameters": {}}
    write_episodes([STORE], collected, {"settings": settings})
    card = dataset_card("maze", "tmaze", "tiny", 3)
    assert card.lines["source"] == "files"
    assert "behaviour policy" not in card.lines


def test_a_dataset_that_was_not_collected_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card = dataset_card("maze", "tmaze", "tiny", 3)
    assert not card.collected
    assert card.path == "data/datasets/tiny/maze.h5"


def test_a_damaged_dataset_is_refused_with_the_command_that_mends_it(collected: Path) -> None:
    collected.write_bytes(collected.read_bytes()[:1000])
    with pytest.raises(UserError, match="snakemake data/datasets/tiny/maze.h5 --force"):
        dataset_card("maze", "tmaze", "tiny", 3)
