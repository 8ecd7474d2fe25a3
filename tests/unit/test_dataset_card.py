"""The card of a dataset against episodes that can be counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from memdt import paths
from memdt.data.episode_file import write_episodes
from memdt.data.episodes import EpisodeStore
from memdt.errors import UserError
from memdt.report import dataset_card as module
from memdt.report.dataset_card import BY_GROUP, BY_LENGTH, by_length, dataset_card

# Three episodes of 2, 3 and 4 steps; the first two span one segment, the last one two.
STORE = EpisodeStore(
    observations=np.zeros((9, 4), dtype=np.float32),
    actions=np.zeros(9, dtype=np.int64),
    rewards=np.array([0, 1, 0, 0, 0, 0, 0, 0, 1], dtype=np.float32),
    offsets=np.array([0, 2, 5, 9]),
    seeds=np.array([4, 5, 6]),
    segments=np.array([1, 1, 2]),
    terminated=np.array([True, False, True]),
    later_steps=np.zeros(3, dtype=np.int64),
    later_returns=np.zeros(3),
)


class Follower:
    """Follows the hint.

    And more.
    """


def test_episodes_are_counted_by_length() -> None:
    assert by_length(STORE, "tmaze").to_dict("records") == [
        dict(zip(BY_LENGTH, (1, 2, 2, 3, 0.5, 0.5), strict=True)),
        dict(zip(BY_LENGTH, (2, 1, 4, 4, 1.0, 1.0), strict=True)),
    ]


def test_episodes_are_counted_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = SimpleNamespace(
        Settings=SimpleNamespace,
        group=lambda settings, seeds: [settings.words[s % 2] for s in seeds],
    )
    monkeypatch.setattr(module.interface, "load", lambda name: environment)
    metadata = {
        "settings": json.dumps({"parameters": {"words": ["even", "odd"]}}),
        "attempts": json.dumps({"even": 5, "odd": 1}),
    }
    assert module.by_group(STORE, "maze", metadata).to_dict("records") == [
        dict(zip(BY_GROUP, ("even", 2, 5, 2, 4, 1.0), strict=True)),
        dict(zip(BY_GROUP, ("odd", 1, 1, 3, 3, 0.0), strict=True)),
    ]


@pytest.fixture
def collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which the store above was collected."""
    monkeypatch.chdir(tmp_path)
    path = paths.dataset("tiny", "maze")
    settings = {"collection": {"segments": [1, 2]}, "parameters": {}}
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
    card = dataset_card("maze", "tmaze", "tiny")
    assert card.collected
    assert (card.lines["episodes"], card.lines["steps"]) == ("3", "9")
    assert card.lines["observation"] == "float32 [4]"
    assert (card.lines["settings digest"], card.lines["source digest"]) == ("abc", "def")
    assert card.lines["behaviour policy"].startswith("Oracle: Goes right")
    assert card.settings == {"dataset.lengths": [1, 2], "parameters": {}}
    assert card.lines["simulator"] == "doom 1.2"
    assert [row["episodes"] for row in card.by_length] == [2, 1]
    assert card.by_group == []  # one group is no table


def test_an_environment_may_add_lines(collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"parameters": {"side": "up"}}
    write_episodes([STORE], collected, {"settings_digest": "abc", "settings": settings})
    environment = SimpleNamespace(
        Settings=lambda **parameters: parameters["side"],
        collection_policy=lambda settings: Follower(),
        success=lambda returns, terminated: returns > 0,
        dataset_card=lambda settings, store: {f"hints {settings}": f"{len(store)} of 3"},
    )
    monkeypatch.setattr(module.interface, "load", lambda name: environment)
    card = dataset_card("maze", "tmaze", "tiny")
    assert card.lines["hints up"] == "3 of 3"
    assert card.lines["behaviour policy"] == "Follower: Follows the hint."


def test_a_dataset_that_was_not_collected_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card = dataset_card("maze", "tmaze", "tiny")
    assert not card.collected
    assert card.path == "data/datasets/tiny/maze.h5"


def test_a_damaged_dataset_is_told_with_the_command_that_mends_it(collected: Path) -> None:
    collected.write_bytes(collected.read_bytes()[:1000])
    with pytest.raises(UserError, match="snakemake data/datasets/tiny/maze.h5 --force"):
        dataset_card("maze", "tmaze", "tiny")
