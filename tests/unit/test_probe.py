"""The linear probe: finds what is there, nothing where there is nothing, and never peeks."""

from __future__ import annotations

import numpy as np
import pytest

from memdt.evaluation.probe import accuracy, predict

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


def test_nothing_is_said_of_no_memory_or_one_group() -> None:
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
    found = predict(features[:30], labels[:30], features[30:], 2)
    assert found.tolist() == scores.argmax(axis=1).tolist()
