"""Linear probes: can the group of an episode be read off what a policy remembers?

Ridge regression on one number a group (1 for its episodes, 0 for the others), its features
standardised, solved in closed form. An episode is never in training and test at once, also where
it comes at several times. Accuracy is balanced, the mean over groups of how many are recognised, so
that guessing gives 1 / groups whatever their sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

FOLDS = 5
FEWEST = 5  # episodes of each group below which nothing is said


def accuracy(
    memory: Float[np.ndarray, "borders episodes features"],
    groups: Shaped[np.ndarray, " episodes"],
    trained_at: Sequence[int],
    tested_at: int,
) -> float | None:
    """Balanced accuracy at one border of probes that were trained at some, cross-validated.

    Episodes whose memory is NaN at a border have ended. None where too few are left, or where there
    is nothing to read.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    there = ~np.isnan(memory).any(axis=2)
    if memory.shape[2] == 0 or len(names) < 2:
        return None
    if any(_fewest(numbers[there[k]], len(names)) < FEWEST for k in (*trained_at, tested_at)):
        return None
    folds = _folds(numbers)
    told = np.full(numbers.size, -1)
    for fold in range(FOLDS):
        learnt = [(memory[k], there[k] & (folds != fold)) for k in trained_at]
        features = np.concatenate([held[rows] for held, rows in learnt])
        labels = np.concatenate([numbers[rows] for _, rows in learnt])
        asked = there[tested_at] & (folds == fold)
        told[asked] = predict(features, labels, memory[tested_at][asked], len(names))
    hits = [(told == numbers)[there[tested_at] & (numbers == k)].mean() for k in range(len(names))]
    return float(np.mean(hits))


def predict(
    features: Float[np.ndarray, "rows features"],
    labels: Int[np.ndarray, " rows"],
    asked: Float[np.ndarray, "asked features"],
    groups: int,
) -> Int[np.ndarray, " asked"]:
    """The group of each asked row, by ridge regression with as much ridge as there are features.

    Standardised rows have about that squared length, so the ridge weighs as much as one of them.
    """
    mean, deviation = (
        features.mean(axis=0, dtype=np.float64),
        features.std(axis=0, dtype=np.float64),
    )
    scale = np.where(deviation > 1e-6, deviation, 1.0)
    rows, new = ((part - mean) / scale for part in (features, asked))
    targets = np.eye(groups)[labels]
    kernel = rows @ rows.T + features.shape[1] * np.eye(len(rows))
    weights = np.linalg.solve(kernel, targets - targets.mean(axis=0))
    return np.asarray((new @ rows.T @ weights).argmax(axis=1))


def _folds(numbers: Int[np.ndarray, " episodes"]) -> Int[np.ndarray, " episodes"]:
    """Episodes dealt out in their order, group by group."""
    folds = np.zeros(numbers.size, np.int64)
    for group in np.unique(numbers):
        mine = np.flatnonzero(numbers == group)
        folds[mine] = np.arange(mine.size) % FOLDS
    return folds


def _fewest(numbers: Int[np.ndarray, " some"], groups: int) -> int:
    return int(np.bincount(numbers, minlength=groups).min())
