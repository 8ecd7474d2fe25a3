"""Time limits and memory that a cluster is asked for: from measured speeds, never too little."""

from __future__ import annotations

import pytest

from memdt import costs

# Seconds of one stage 3 of RATE-3 at scale quick, on the machine of benchmarks/README.md.
SECONDS_PER_UPDATE = 0.22


@pytest.fixture(autouse=True)
def _config(config):
    """Settings of the project as they are."""


def test_limits_are_whole_tens_of_minutes_with_room_for_what_was_measured():
    minutes = costs.training_minutes("quick", "tmaze_table_2", "rate-3", 3)
    updates = costs.resolve("tmaze_table_2", "rate-3", "quick").settings.training.updates_per_stage
    assert updates is not None
    assert minutes % 10 == 0
    assert minutes >= 20 + 2 * updates[-1] * SECONDS_PER_UPDATE / 60


def test_longer_stages_and_longer_episodes_get_more():
    of = [costs.training_minutes("paper", "tmaze_table_2", "rate-7", k) for k in (1, 4, 7)]
    assert of == sorted(of)
    assert of[0] < of[-1]
    short = costs.evaluation_minutes("paper", "tmaze_table_2", "rate-3")
    assert costs.evaluation_minutes("paper", "tmaze_extrapolation", "gate") > short


def test_a_budget_in_epochs_counts_the_episodes_that_will_be_there():
    settings = costs.resolve("tmaze_table_2", "rate-3", "paper").settings
    stage = costs.slices.stage(settings, 2)
    # 100 episodes of each length, q_1 and q_2; batches of 64.
    assert costs._updates(settings, stage) == -(-250 * 200 // 64)


def test_memory_holds_two_snakemakes_and_a_step():
    assert costs.memory("smoke") == 2000
    assert costs.memory("paper") == 8000
