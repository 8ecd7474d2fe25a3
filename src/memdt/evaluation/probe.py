"""Linear probes: can the group of an episode be predicted from the memory of a policy?

A probe is a ridge regression on one target per group (1 for its episodes, 0 for others), with
standardised features, solved in closed form. An episode is never in the training and the test set
at once, even if it appears at several times. Accuracy is balanced, that is, the mean over groups of
the share recognised. Guessing therefore scores 1 / groups, whatever their sizes.

A control stands beside it. Memory also holds what the agent has done, and who takes red items all
the time remembers red by that alone. What a probe reads off behaviour so far is no finding about
the memory; what it reads off the memory beyond that is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

from memdt.evaluation.recordings import Recording

FOLDS = 5
FEWEST = 5  # smallest number of episodes per group that gives an accuracy


def accuracy(
    memory: Float[np.ndarray, "borders episodes features"],
    groups: Shaped[np.ndarray, " episodes"],
    trained_at: Sequence[int],
    tested_at: int,
) -> float | None:
    """Return the cross-validated, balanced accuracy of probes.

    Args:
        memory: contents after each segment; NaN for episodes that have ended.
        groups: of the episodes.
        trained_at: numbers of the segments whose memory the probes are trained on.
        tested_at: number of the segment whose memory they are tested on.

    Returns:
        From 0 to 1. None if a group has too few episodes, or if memory or groups are empty.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    running = ~np.isnan(memory).any(axis=2)
    if memory.shape[2] == 0 or len(names) < 2:
        return None
    if any(_fewest(numbers[running[k]], len(names)) < FEWEST for k in (*trained_at, tested_at)):
        return None
    folds = _folds(numbers)
    predicted = np.full(numbers.size, -1)
    for fold in range(FOLDS):
        training = [(memory[k], running[k] & (folds != fold)) for k in trained_at]
        features = np.concatenate([values[rows] for values, rows in training])
        labels = np.concatenate([numbers[rows] for _, rows in training])
        test = running[tested_at] & (folds == fold)
        predicted[test] = predict(features, labels, memory[tested_at][test], len(names))
    correct = predicted == numbers
    shares = [correct[running[tested_at] & (numbers == k)].mean() for k in range(len(names))]
    return float(np.mean(shares))


def behaviour(
    recording: Recording, mirrored: tuple[str, str] | None = None
) -> Float[np.ndarray, "borders episodes features"]:
    """What an episode's agent did before each border; NaN where the episode has ended.

    How often it chose each action (of continuous ones the mean), what was counted, and the return
    to go. ``mirrored`` names two counts that change places between two groups, as right and wrong
    items do between two colours: they are counted by what was taken, not by whether it was right.
    UserError where one of them was not recorded.
    """
    length, borders = int(recording.segment_length), len(recording.memory)
    ends = np.minimum((np.arange(borders) + 1) * length, len(recording.actions))
    plain = [str(name) for name in recording.measure_names if str(name) not in (mirrored or ())]
    counts = [recording.measure(name)[ends] for name in plain]
    if mirrored is not None:
        first = recording.groups == np.unique(recording.groups)[0]
        one, other = (recording.measure(name)[ends] for name in mirrored)
        counts += [np.where(first, one, other), np.where(first, other, one)]
    features = [*counts, recording.returns_to_go[ends - 1], *_chosen(recording.actions, ends)]
    done = np.stack(features, axis=-1).astype(np.float64)
    for border in range(borders):
        done[border, ~recording.alive_at_border(border)] = np.nan
    return done


def _chosen(
    actions: Shaped[np.ndarray, "steps episodes ..."], ends: Int[np.ndarray, " borders"]
) -> list[Float[np.ndarray, "borders episodes"]]:
    """How often each action was chosen so far, or the mean of each number of a continuous one."""
    if actions.ndim == 2:
        parts = [actions == action for action in np.unique(actions)]
    else:
        parts = list(np.moveaxis(actions.reshape(*actions.shape[:2], -1), -1, 0))
    return [np.cumsum(part, axis=0)[ends - 1] / ends[:, None] for part in parts]


def predict(
    features: Float[np.ndarray, "rows features"],
    labels: Int[np.ndarray, " rows"],
    test: Float[np.ndarray, "test features"],
    groups: int,
) -> Int[np.ndarray, " test"]:
    """Predict the group of each test row, by ridge regression on the training rows.

    The ridge is the number of features. Standardised rows have about that squared length, so the
    ridge weighs as much as one row.
    """
    mean, deviation = (
        features.mean(axis=0, dtype=np.float64),
        features.std(axis=0, dtype=np.float64),
    )
    scale = np.where(deviation > 1e-6, deviation, 1.0)
    rows, test_rows = ((part - mean) / scale for part in (features, test))
    targets = np.eye(groups)[labels]
    # The dual form solves for one weight per row; there are usually more features than rows.
    kernel = rows @ rows.T + features.shape[1] * np.eye(len(rows))
    weights = np.linalg.solve(kernel, targets - targets.mean(axis=0))
    return np.asarray((test_rows @ rows.T @ weights).argmax(axis=1))


def _folds(numbers: Int[np.ndarray, " episodes"]) -> Int[np.ndarray, " episodes"]:
    """The fold of each episode; episodes of a group go to the folds in turn."""
    folds = np.zeros(numbers.size, np.int64)
    for group in np.unique(numbers):
        episodes = np.flatnonzero(numbers == group)
        folds[episodes] = np.arange(episodes.size) % FOLDS
    return folds


def _fewest(numbers: Int[np.ndarray, " some"], groups: int) -> int:
    return int(np.bincount(numbers, minlength=groups).min())
