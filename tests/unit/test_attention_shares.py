"""Shares of attention: sums over hand-made weights, and numbers of a run."""

from __future__ import annotations

import math

import pytest
import torch

from memdt.data.segments import Segment
from memdt.evaluation.attention_shares import shares_of
from memdt.evaluation.episode_table import ATTENTION, columns, text
from memdt.models.interface import AttentionMaps
from memdt.results.metric_names import parse


def maps(write: bool = True) -> tuple[AttentionMaps, Segment]:
    """One cached position, two memory tokens, one of two steps real: 1 + 2 + 6 + 2 keys."""
    rows = 2 + 6 + (2 if write else 0)
    weights = torch.zeros(1, 1, 1, rows, rows + 1)
    weights[..., 2:5, 1:3] = 0.4  # each real token gives the memory that is read 0.8
    if write:
        weights[..., 8:, 1] = 0.1
        weights[..., 8:, 3] = 0.6
        weights[..., 8:, 6] = 0.3  # padding: counts for nothing
    mask = torch.tensor([[True, False]])
    return AttentionMaps(weights, 2), Segment(
        torch.zeros(1, 2, 4), torch.zeros(1, 2).long(), torch.zeros(1, 2), mask
    )


def test_shares_of_one_segment():
    on_steps, on_read, _, gain, least, *_ = shares_of(*maps())
    assert (on_steps, on_read) == pytest.approx((0.6, 0.1))
    even = (2 / 4 + 2 / 5 + 2 / 6) / 3  # cache, memory, and what came before of the segment
    assert gain == pytest.approx(0.8 - even)
    assert least == pytest.approx(0.8 - 2 / 4)  # of the first quarter, which sees the least else


def test_the_last_quarter_of_what_is_written_from():
    """Four steps, all real: twelve tokens, of which the last three belong to the last quarter."""
    weights = torch.zeros(1, 1, 1, 1 + 12 + 1, 1 + 12 + 1)
    weights[..., 13, 1:4], weights[..., 13, 10:13] = 0.1, 0.2
    segment = Segment(
        torch.zeros(1, 4, 4), torch.zeros(1, 4).long(), torch.zeros(1, 4), torch.ones(1, 4).bool()
    )
    on_steps, _, on_late, *_ = shares_of(AttentionMaps(weights, 1), segment)
    assert (on_steps, on_late) == pytest.approx((0.9, 2 / 3))


def test_without_write_tokens_only_the_steps_look():
    *on, gain, _, _, entropy = shares_of(*maps(write=False))
    assert on == [0.0, 0.0, 0.0]
    assert gain > 0.3
    assert entropy == 0.0


def test_the_layer_that_reads_least_and_how_evenly_write_tokens_look():
    """A second layer reads nothing, and its write tokens look at two of eleven keys alike."""
    one, segment = maps()
    second = torch.zeros_like(one.weights)
    second[..., 8:, 1] = second[..., 8:, 3] = 0.5
    first = shares_of(one, segment)
    both = shares_of(AttentionMaps(torch.cat([one.weights, second], dim=1), 2), segment)
    uniform = 0.8 - first[3]
    assert both[5] == pytest.approx(-uniform)
    entropy = -sum(share * math.log(share) for share in (0.1, 0.6, 0.3)) / math.log(3)
    assert (first[6], both[6]) == pytest.approx((entropy, (entropy + 1) / 2))


def test_shares_are_columns_of_the_episodes_and_metrics():
    row = dict.fromkeys(columns((), ATTENTION), 0) | dict.fromkeys(ATTENTION, 0.123456789)
    assert text([row], (), ATTENTION).splitlines()[1].endswith(",0.123457" * len(ATTENTION))
    assert [parse(name).column for name in ATTENTION] == list(ATTENTION)
