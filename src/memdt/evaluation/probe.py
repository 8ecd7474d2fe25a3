"""Linear probes: can the group of an episode be read off what a policy remembers?

Ridge regression on one number a group (1 for its episodes, 0 for the others), its features
standardised, solved in closed form. An episode is never in training and test at once, also where
it comes at several times. Accuracy is balanced, the mean over groups of how many are recognised, so
that guessing gives 1 / groups whatever their sizes.

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
