"""Time limits and memory that a cluster is asked for: from measured speeds, never too little."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch.utils.flop_counter import FlopCounterMode

from memdt import discovery
from memdt.data.segments import Segment
from memdt.environments import vizdoom_two_colors as two_colors
from memdt.models.interface import Spaces
from memdt.workflow import costs
from memdt.workflow.observations import Observation

# CPU seconds of stages at scale quick on the machine of benchmarks/README.md, from measured.json.
MEASURED = {
    ("tmaze_table_2", "rate-7", 1): 5.2, ("tmaze_table_2", "rate-7", 6): 5.7,
    ("tmaze_table_2", "dt-7", 3): 11.9, ("tmaze_figure_4", "rate-9_without_curriculum", 1): 27.7,
    ("tmaze_extrapolation", "gate", 1): 2.7,
}  # fmt: skip
# CPU seconds of `benchmarks training`: 64 episodes of 3 segments, 8 layers x 10 heads x 64.
BIG_UPDATE = 2.34
# Frames of 64 x 36 a CPU second of `benchmarks frames`: RATE of scale quick, forward and backward.
FRAMES_A_SECOND = 2400
VECTOR = Observation((4,), 16)


@pytest.fixture(autouse=True)
def _config(config):
    """Settings of the project as they are."""


@pytest.mark.parametrize("job", MEASURED, ids=lambda job: "/".join(map(str, job)))
def test_what_is_expected_is_near_what_was_measured(job):
    expected = costs.training_seconds("quick", *job)
    assert MEASURED[job] / 1.5 < expected < MEASURED[job] * 1.5


def test_a_bigger_model_is_not_expected_to_be_much_slower_than_it_is():
    sizes = {"layers": 8, "heads": 10, "head_width": 64, "width": 64, "feed_forward_width": 0}
    products = 3 * 3 * 64 * costs._products(sizes, 100)
    expected = costs.Work(3 * 3 * 8, products).seconds(costs.CPU) - costs.CPU.start
    assert BIG_UPDATE / 2 < expected < BIG_UPDATE * 2


def test_limits_are_whole_tens_of_minutes_with_room_for_what_is_expected():
    minutes = costs.training_minutes("paper", "tmaze_table_2", "rate-7", 7)
    expected = costs.training_seconds("paper", "tmaze_table_2", "rate-7", 7) / 60
    assert minutes % 10 == 0
    assert 20 + 3 * expected <= minutes < 30 + 3 * expected


def test_products_are_those_that_the_benchmark_writes_out():
    sizes = {"layers": 2, "heads": 3, "head_width": 5, "width": 7, "feed_forward_width": 11}
    tokens = 13
    one_layer = 4 * tokens * 7 * 15 + 3 * tokens * tokens * 15 + 2 * tokens * 7 * 11
    assert costs._products(sizes, tokens) == 2 * one_layer


@pytest.mark.parametrize(("layers", "heads", "head_width"), [(2, 4, 16), (8, 10, 64)])
@pytest.mark.parametrize(("name", "memory_tokens"), [("rate", 5), ("decision_transformer", 0)])
def test_products_are_near_those_that_torch_counts(name, memory_tokens, layers, heads, head_width):
    sizes = {
        "layers": layers, "heads": heads, "width": 64, "head_width": head_width,
        "feed_forward_width": 256,
    }  # fmt: skip
    module = discovery.load("memdt.models", name)
    parts = {"memory_tokens": memory_tokens} if memory_tokens else {}
    spaces = Spaces(Box(-1, 1, (4,), np.float32), Discrete(4))
    policy = module.build(module.Settings(name=name, **sizes, **parts), spaces)
    policy.eval().requires_grad_(False)
    steps = 30
    segment = Segment(
        torch.zeros(1, steps, 4), torch.zeros(1, steps, dtype=torch.int64),
        torch.zeros(1, steps), torch.ones(1, steps, dtype=torch.bool),
    )  # fmt: skip
    with FlopCounterMode(display=False) as counter:
        policy(segment, policy.initial_memory(1))
    counted = counter.get_total_flops() / 2  # a multiplication and an addition each
    # The formula is above: attention merges the products of its weights where that is cheaper.
    assert counted <= costs._products(sizes, 3 * steps + 2 * memory_tokens) < 1.3 * counted


def test_a_window_that_slides_is_computed_anew_at_each_step():
    settings = costs.resolve("tmaze_table_2", "dt-3", "paper").settings
    short, long = (
        costs._play(settings, settings.evaluation.conditions["as_published"], length, VECTOR)
        for length in (1, 2)
    )
    assert long.steps == 2 * short.steps
    assert long.products == 31 * short.products  # once, and for each of 30 steps


def test_longer_stages_and_longer_episodes_get_more():
    of = [costs.training_minutes("paper", "tmaze_table_2", "rate-7", k) for k in (1, 4, 7)]
    assert of == sorted(of)
    assert of[0] < of[-1]
    short = costs.evaluation_minutes("paper", "tmaze_table_2", "rate-3")
    assert (
        costs.evaluation_minutes("paper", "tmaze_extrapolation", "binary_gate_write_cost") > short
    )


def test_a_budget_in_epochs_counts_the_episodes_that_will_be_there():
    settings = costs.resolve("tmaze_table_2", "rate-3", "paper").settings
    stage = costs.slices.stage(settings, 2)
    # 100 episodes of each length, q_1 and q_2; batches of 64.
    assert costs._updates(settings, stage) == -(-250 * 200 // 64)


def test_frames_are_expected_to_take_what_they_were_measured_to_take():
    settings = costs.resolve("vizdoom_table_1", "rate", "quick").settings
    stage = costs.slices.stage(settings, settings.stages)
    assert stage.horizon == 3 * settings.segment_length
    frames = stage.updates * stage.batch_size * stage.horizon
    expected = costs.training_seconds("quick", "vizdoom_table_1", "rate", settings.stages)
    # Batches of two episodes cost more than products tell.
    assert frames / FRAMES_A_SECOND / 3 < expected < frames / FRAMES_A_SECOND * 3


def test_of_a_short_horizon_fewer_segments_are_counted():
    of = [costs.training_seconds("quick", "vizdoom_table_1", "rate", k) for k in (3, 5)]
    settings = costs.resolve("vizdoom_table_1", "rate", "quick").settings
    one, three = (costs.slices.stage(settings, k) for k in (3, 5))
    rows = [stage.updates * stage.batch_size for stage in (one, three)]
    assert (one.horizon, three.horizon) == (30, 90)
    assert of[1] / rows[1] > 2 * of[0] / rows[0]


def test_pictures_are_encoded_once_a_frame_and_simulated_once_a_step():
    settings = costs.resolve("vizdoom_table_1", "rate", "quick").settings
    frames, vectors = (
        costs.evaluation_work(settings, seen) for seen in (Observation((36, 64, 3), 6912), VECTOR)
    )
    steps = settings.evaluation.episodes * 35 * 30
    assert settings.model["width"] == 64  # so 16, 32 and 32 channels
    first, second, third = 8 * 15 * 16 * 192, 3 * 6 * 32 * 256, 1 * 4 * 32 * 288
    assert frames.pictures == steps * (first + second + third + 128 * 64)
    assert (vectors.pictures, vectors.products) == (0, frames.products)
    assert frames.simulated == pytest.approx(steps / two_colors.STEPS_PER_SECOND)
    no_simulator = costs.resolve("tmaze_table_2", "rate-3", "quick").settings
    assert costs.evaluation_work(no_simulator, VECTOR).simulated == 0


def test_collecting_takes_what_the_simulator_takes_episodes_played_to_their_end():
    settings = costs.resolve_dataset("vizdoom_two_colors", "paper")
    seconds = costs.collection_seconds(settings)
    assert seconds == pytest.approx(1024 * 35 * 30 / two_colors.STEPS_PER_SECOND)
    assert costs.collection_minutes("paper", "vizdoom_two_colors") >= 3 * seconds / 60
    assert costs.collection_minutes("paper", "tmaze") == 60
    fewer = costs.resolve_dataset("vizdoom_two_colors", "quick")
    segments = 128 * 35 + (4000 - 128) * 3
    expected = pytest.approx(segments * 30 / two_colors.STEPS_PER_SECOND)
    assert costs.collection_seconds(fewer) == expected


def test_training_holds_the_steps_that_are_kept_once():
    frame = 64 * 112 * 3 + 8
    hundreds = round(1024 * 90 * frame / 10**8)  # 3 of 35 segments are kept
    assert costs.training_memory("paper", "vizdoom_table_1", "rate") == 8000 + 100 * hundreds
    assert hundreds > 10
    assert costs.training_memory("smoke", "tmaze_table_2", "rate-3") == 2000


def test_memory_holds_two_snakemakes_and_a_step():
    assert costs.memory("smoke") == 2000
    assert costs.memory("paper") == 8000
