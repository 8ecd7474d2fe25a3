"""What each row of a table cost: parameters, updates, steps seen, and how far gradient reaches.

From the manifests of the stages that made a variant's checkpoints, those of runs that it started
from included; no model is asked. Rows of a table are equals where these columns are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from memdt.provenance import read_manifest

COLUMNS = (
    "parameters", "trained_parameters", "updates", "optimiser_steps", "steps_seen",
    "gradient_segments",
)  # fmt: skip
SUMS = ("updates", "optimiser_steps", "steps_seen")  # over stages; of the others the largest

Budget = Mapping[str, int]  # one number for each of COLUMNS; what manifests do not say is left out


def budgets(manifests: Mapping[str, Iterable[Sequence[Path]]]) -> dict[str, Budget]:
    """The budget of each variant, the mean over its runs, rounded.

    ``manifests`` has for each variant those of every run, of all stages that were trained for it;
    runs of which one is missing are left out, and so is a variant without any.
    """
    by_variant = {
        variant: [_of_run(run) for run in runs if run and all(path.is_file() for path in run)]
        for variant, runs in manifests.items()
    }
    return {variant: _mean(runs) for variant, runs in by_variant.items() if runs}


def _of_run(stages: Sequence[Path]) -> dict[str, float]:
    frame = pd.DataFrame([read_manifest(path) for path in stages])
    named = [name for name in COLUMNS if name in frame]
    return {
        name: frame[name].sum(skipna=False) if name in SUMS else frame[name].max() for name in named
    }


def _mean(runs: Sequence[Mapping[str, float]]) -> Budget:
    # A number that one run lacks is left out: a mean over the others would pass for all of them.
    means = pd.DataFrame(runs).mean(skipna=False).dropna()
    return {str(name): round(value) for name, value in means.items()}
