"""The linear probe: finds what is there, nothing where there is nothing, and never peeks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from memdt.evaluation.probe import accuracy, behaviour, predict
from memdt.evaluation.recordings import Recording

GROUPS = np.array(["red", "green"] * 20)


def memory(code: float, borders: int = 1, seed: int = 0) -> np.ndarray:
    """Forty episodes with ten features of noise, the group in the first one."""
    drawn = np.random.default_rng(seed).normal(size=(borders, 40, 10))
    drawn[..., 0] += code * np.where(GROUPS == "red", 1, -1)
    return drawn


def test_a_clear_code_is_read_and_noise_is_not() -> None:
    assert accuracy(memory(8.0), GROUPS, [0], 0) == 1.0
    guessed = [accuracy(memory(0.0, seed=seed), GROUPS, [0], 0) for seed in range(40)]
    assert np.mean(guessed) == pytest.approx(0.5, abs=0.05)


def test_an_episode_is_never_trained_and_tested_on_at_once() -> None:
    """What tells an episode from all others, and is the same at every border, must not help."""
    own = np.repeat(np.random.default_rng(1).normal(size=(1, 40, 500)), 3, axis=0)
    shuffled = np.random.default_rng(2).permutation(GROUPS)
    assert accuracy(own, shuffled, [0, 1], 2) < 0.75


def test_guessing_is_one_over_groups_whatever_their_sizes() -> None:
    uneven = np.array(["red"] * 30 + ["green"] * 10)
    constant = np.zeros((1, 40, 3))
    assert accuracy(constant, uneven, [0], 0) == 0.5


def test_episodes_that_have_ended_do_not_count() -> None:
    held = memory(8.0, borders=2)
    held[1, :20] = np.nan
    held[1, 20:, 0] *= -1
    assert accuracy(held, GROUPS, [1], 1) == 1.0
    assert accuracy(held, GROUPS, [0], 1) == 0.0
    held[1, 20:32] = np.nan  # four of each are left
    assert accuracy(held, GROUPS, [0], 1) is None


def test_without_memory_or_with_one_group_there_is_no_accuracy() -> None:
    assert accuracy(np.zeros((1, 40, 0)), GROUPS, [0], 0) is None
    assert accuracy(memory(1.0), np.full(40, "all"), [0], 0) is None


def test_predictions_are_those_of_ridge_regression() -> None:
    features = memory(0.7)[0]
    labels = (GROUPS == "red").astype(int)
    rows = (features - features[:30].mean(0)) / features[:30].std(0)
    targets = np.eye(2)[labels[:30]]
    # Least squares with a row more for each feature, whose square is the ridge.
    ridge = np.sqrt(10) * np.eye(10)
    system = np.concatenate([rows[:30], ridge])
    answers = np.concatenate([targets - targets.mean(0), np.zeros((10, 2))])
    scores = rows[30:] @ np.linalg.lstsq(system, answers, rcond=None)[0]
    predictions = predict(features[:30], labels[:30], features[30:], 2)
    assert predictions.tolist() == scores.argmax(axis=1).tolist()


def recording(groups: np.ndarray, taken: np.ndarray) -> Recording:
    """Two segments of three steps, a third begun; in the first step an item may be taken."""
    episodes, steps = len(groups), 7
    right = np.where(taken == "none", 0, taken == groups)
    wrong = np.where(taken == "none", 0, taken != groups)
    counts = np.stack([right, wrong], axis=-1)[None].repeat(steps + 1, axis=0)
    counts[0] = 0
    nothing = np.zeros(0, dtype=np.int64)
    return Recording(
        seeds=np.arange(episodes), groups=groups, lengths=np.full(episodes, steps),
        measure_names=np.array(["right", "wrong"]), measures=counts,
        actions=np.random.default_rng(0).integers(3, size=(steps, episodes)),
        returns_to_go=np.zeros((steps, episodes)), memory=np.zeros((2, episodes, 4)),
        segment_length=np.array(3), hint=np.array([0, 1]), filmed=nothing,
        film_every=np.array(1), frame_bytes=np.zeros((0, 0), dtype=np.int64),
        frames=np.zeros(0, dtype=np.uint8),
    )  # fmt: skip


def test_the_control_reads_the_group_off_what_was_taken_and_off_nothing_else() -> None:
    faithful = recording(GROUPS, GROUPS)  # who saw red takes red
    done = behaviour(faithful, ("right", "wrong"))
    assert accuracy(done, GROUPS, [1], 1) == 1.0
    mixed = np.random.default_rng(3).permutation(GROUPS)
    for taken in (np.full(40, "none"), mixed):  # the items tell nothing, right ones included
        guessed = accuracy(behaviour(recording(GROUPS, taken), ("right", "wrong")), GROUPS, [1], 1)
        assert guessed is not None
        assert guessed < 0.75


def test_the_control_knows_no_later_step_and_no_ended_episode() -> None:
    one = recording(GROUPS, GROUPS)
    later = replace(one, actions=np.concatenate([one.actions[:3], 2 - one.actions[3:]]))
    np.testing.assert_array_equal(behaviour(one)[0], behaviour(later)[0])
    ended = replace(one, lengths=np.where(np.arange(40) < 3, 5, one.lengths))
    assert np.isnan(behaviour(ended)[1, :3]).all()
    assert not np.isnan(behaviour(ended)[0]).any()
