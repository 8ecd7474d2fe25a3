"""Episodes that have given means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from memdt.evaluation import episode_table
from memdt.results import metric_names
from memdt.results.claim_tests import parse_test
from memdt.results.claims import load_claims

CLAIMS = load_claims(Path(__file__).parents[2])
METRICS = [q.metric for claim in CLAIMS for q in parse_test(claim.test).quantities()]
Means = Mapping[tuple[str, str, int], Sequence[float]]


def frame(means: Means, experiment: str = "task") -> pd.DataFrame:
    """(variant, condition, segments) -> the mean of each seed, as 20 episodes a seed.

    Whatever else is measured goes with success; the first half of the episodes is one group.
    """
    rows = [
        (
            experiment,
            variant,
            seed,
            condition,
            segments,
            episode,
            0,
            won,
            29,
            won,
            "red" if episode < 10 else "green",
            won,
            won,
            1 - won,
            won,
            1 - won,
        )
        for (variant, condition, segments), seeds in means.items()
        for seed, mean in enumerate(seeds)
        for episode in range(20)
        for won in [int(episode < round(20 * mean))]
    ]
    names = (
        "experiment variant seed condition segments episode environment_seed return steps success "
        "group tics right_items wrong_items right_answers wrong_answers"
    )
    episodes = pd.DataFrame(rows, columns=names.split())
    late = metric_names.late(METRICS)  # as counted after some step as in all
    looks = dict.fromkeys(episode_table.ATTENTION, episodes["success"])
    return episodes.assign(
        score=100 * episodes["success"],
        **looks,
        **{column: episodes[measure] for column, (measure, _) in late.items()},
    )
