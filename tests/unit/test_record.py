"""Recorded episodes are those of the evaluation, whole, small, and the same bytes each time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from made_up import counter as counting
from made_up.episodes import played
from memdt.environments import tmaze
from memdt.environments.task import Task
from memdt.environments.vectors import screens
from memdt.errors import UserError
from memdt.evaluation import recorder as recorder
from memdt.evaluation.evaluate import play, seed_batches
from memdt.evaluation.recorder import FEATURES, content, record, vectors
from memdt.evaluation.recordings import Recording, read_recording, write_recording
from memdt.models.building import build_policy
from memdt.models.interface import Memory, SequencePolicy
from memdt.settings.schema import Condition, RunSettings

SIZES = {"layers": 1, "heads": 1, "width": 8, "head_width": 8, "feed_forward_width": 8}
HINT, LENGTH = 3, 4


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with every optional name that a recording looks at."""
    made = counting.module(
        ROWS_AT_ONCE=3,
        MEASURES=("acted",),
        group=lambda settings, seeds: ["odd" if seed % 2 else "even" for seed in seeds],
        hint_steps=lambda settings: range(HINT),
    )
    counting.install(monkeypatch, made)


def settings(module: str = "counter", name: str = "rate", **model: Any) -> RunSettings:
    tokens = {"memory_tokens": 2} if name == "rate" else {}
    parameters = tmaze.Settings().model_dump() if module == "tmaze" else {}
    return RunSettings.model_validate(
        {
            "environment": {"name": module, "module": module, "parameters": parameters},
            "dataset": played([LENGTH, 2 * LENGTH], 2),
            "segment_length": LENGTH,
            "model": {"name": name, **SIZES, **tokens, **model},
            "training": {
                "segments": 2, "updates_per_stage": (1,), "batch_size": 2,
                "learning_rate": 1e-3, "weight_decay": 0.0,
            },
            "evaluation": {
                "segments": (1, 4), "episodes": 5, "target_return": 1.0,
                "action_selection": "sampled",
            },
            "seeds": (0,),
        }
    )  # fmt: skip


def recorded(run: RunSettings) -> tuple[Recording, SequencePolicy]:
    policy = build_policy(run, 0).eval()
    return record(run, policy, seed=7), policy


def test_what_is_recorded_is_what_the_evaluation_plays(counter: None) -> None:
    run = settings()
    recording, policy = recorded(run)
    ends = play(run, policy, Condition(), 4, 7, "")
    assert [len(batch) for batch in seed_batches(run)] == [3, 2]
    np.testing.assert_array_equal(recording.lengths, ends.steps)
    assert recording.lengths.tolist() == [5, 6, 7, 8, 9]
    last = recording.measure("acted")[-1].tolist()
    assert last == [*ends.measures["acted"]]
    for episode, length in enumerate(recording.lengths):
        actions = recording.actions[:length, episode]
        assert recording.gains("acted")[:length, episode].tolist() == (actions != 0).tolist()
        expected = 1.0 - np.concatenate([[0], np.cumsum(actions)[:-1]])
        np.testing.assert_allclose(recording.returns_to_go[:length, episode], expected)
        assert np.isnan(recording.returns_to_go[length:, episode]).all()
    assert recording.groups.tolist() == ["even", "odd", "even", "odd", "even"]
    assert recording.hint_steps == range(HINT)


def test_memory_is_kept_at_every_border_of_whoever_is_left(counter: None) -> None:
    recording, policy = recorded(settings())
    assert recording.memory.shape == (2, 5, 2 * 8)  # borders after steps 4 and 8, 2 tokens of 8
    kept = ~np.isnan(recording.memory).any(axis=2)
    assert kept.tolist() == [recording.alive_at_border(k).tolist() for k in (0, 1)]
    assert kept[1].tolist() == [False] * 4 + [True]
    first = policy.initial_memory(1)
    assert not np.allclose(recording.memory[0, 0], content(first)[0][0].flatten())


def test_the_first_episode_of_each_group_is_filmed(
    counter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "FRAMES", 8)
    recording, _ = recorded(settings())  # 16 steps at most: every second one
    assert recording.filmed.tolist() == [0, 1]
    films = [recording.film(number) for number in (0, 1)]
    assert [[step for step, _ in film] for film in films] == [[0, 2, 4], [0, 2, 4]]
    step, frame = films[1][2]
    assert (step, frame.size) == (4, (256, 144))
    assert abs(int(np.asarray(frame).mean()) - step) <= 1


def test_only_as_many_batches_as_needed_are_played(
    counter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "EPISODES", 2)
    assert recorded(settings())[0].seeds.tolist() == [0, 1, 2]


def test_the_plain_condition_is_recorded_at_its_longest() -> None:
    run = settings("tmaze")
    conditions = {
        "noise": Condition(segments=(9,)), "as_published": Condition(segments=(2, 3)),
    }  # fmt: skip
    changed = run.evaluation.model_copy(update={"conditions": conditions})
    run = run.model_copy(update={"evaluation": changed})
    assert recorder.longest(run) == (conditions["as_published"], 3)


@pytest.mark.parametrize(
    ("name", "parts", "borders"),
    [("rate", {}, 3), ("decision_transformer", {}, 0), ("transformer_xl", {"cache_length": 5}, 3)],
)
def test_an_environment_without_measures_groups_and_screen_has_none(
    name: str, parts: dict[str, int], borders: int
) -> None:
    recording, _ = recorded(settings("tmaze", name, **parts))
    assert recording.measures.shape[1:] == (5, 0)
    assert (recording.frames.size, recording.filmed.size) == (0, 1)
    assert set(recording.groups) == {"all"}
    assert recording.hint_steps == range(1)
    assert recording.memory.shape[0] == borders
    assert recording.film(0) == []


def test_a_large_memory_is_projected_and_keeps_its_distances() -> None:
    rows = np.random.default_rng(0).normal(size=(6, 3, 2000))
    held = vectors([[rows]], 6)
    assert held.shape == (1, 6, FEATURES)
    wide, narrow = (
        torch.cdist(*[torch.from_numpy(one.reshape(6, -1).astype(np.float32))] * 2)
        for one in (rows, held)
    )
    ratio = (narrow / wide)[~torch.eye(6, dtype=torch.bool)]
    assert float((ratio - 1).abs().max()) < 0.1


def test_a_memory_that_grows_keeps_its_newest_states_in_place() -> None:
    first, second = np.ones((2, 1, 3)), np.arange(12.0).reshape(2, 2, 3)
    held = vectors([[first], [second]], 2)
    assert held[0].tolist() == [[0, 0, 0, 1, 1, 1]] * 2
    assert held[1].tolist() == second.reshape(2, 6).tolist()


def test_a_memory_of_nothing_has_no_features() -> None:
    assert content(Memory()) == []
    assert vectors([[], []], 3).shape == (2, 3, 0)


def test_a_recording_is_read_as_it_was_written_in_the_same_bytes(
    counter: None, tmp_path: Path
) -> None:
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for path in paths:
        write_recording(recorded(settings())[0], path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    again = read_recording(paths[0])
    for name, value in vars(recorded(settings())[0]).items():
        np.testing.assert_array_equal(getattr(again, name), value)


@pytest.mark.parametrize("left", [0, 100, 0.5, 0.99])
def test_a_truncated_recording_is_refused_in_one_line(
    counter: None, tmp_path: Path, left: float
) -> None:
    path = tmp_path / "a.npz"
    write_recording(recorded(settings())[0], path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole)) if isinstance(left, float) else left])
    with pytest.raises(UserError, match=f"not a recording.*snakemake {path} --force") as caught:
        read_recording(path)
    assert "\n" not in str(caught.value)


def test_parts_that_do_not_belong_together_are_refused(counter: None, tmp_path: Path) -> None:
    recording, _ = recorded(settings())
    for change in ({"lengths": recording.lengths[1:]}, {"frames": recording.frames[:-1]}):
        with pytest.raises(ValueError, match="has the shape"):
            write_recording(replace(recording, **change), tmp_path / "a.npz")


def test_an_unknown_count_is_refused(counter: None) -> None:
    with pytest.raises(UserError, match="'slept' was not recorded.*there is: acted"):
        recorded(settings())[0].measure("slept")


def test_screens_are_empty_where_nothing_is_shown() -> None:
    vector = Task.named("tmaze", {}).vector(2)
    assert screens(vector, [0, 1]) == [None, None]
