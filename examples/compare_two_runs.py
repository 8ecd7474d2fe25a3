"""Compare two variants of an experiment, seed by seed, with the interval of their difference.

cd data/runs/quick/tmaze_table_2
python ../../../../examples/compare_two_runs.py rate-3 dt-3
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from memdt.results.statistics import Interval, difference_interval


def successes(variant: str) -> dict[int, float]:
    """Return the success of each seed at the longest length, as the papers evaluate."""
    success = {}
    for path in sorted(Path(variant).glob("seed_*/episodes.csv")):
        episodes = pd.read_csv(path)
        plain = episodes[episodes["condition"] == "as_published"]
        longest = plain[plain["segments"] == plain["segments"].max()]
        success[int(path.parent.name.removeprefix("seed_"))] = float(longest["success"].mean())
    return success


def main(left: str, right: str) -> Interval:
    """Print both variants and their difference. Seeds are what it is estimated from."""
    one, other = successes(left), successes(right)
    for name, seeds in ((left, one), (right, other)):
        values = ", ".join(f"{value:.2f}" for value in seeds.values())
        print(f"{name}: {values}")
    difference = difference_interval(one, other, bounds=(0.0, 1.0))
    low, high = f"{difference.low:.2f}", f"{difference.high:.2f}"
    print(f"difference {difference.mean:.2f} [{low}, {high}] over {difference.seeds} seeds")
    return difference


if __name__ == "__main__":
    main(*sys.argv[1:3])
