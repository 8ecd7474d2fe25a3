"""Shares of attention: sums over hand-made weights, and numbers of a run."""

from __future__ import annotations

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
    on_steps, on_read, gain, late = shares_of(*maps())
    assert (on_steps, on_read) == pytest.approx((0.6, 0.1))
    even = (2 / 4 + 2 / 5 + 2 / 6) / 3  # cache, memory, and what came before of the segment
    assert gain == pytest.approx(0.8 - even)
    assert late == 1.0  # one step is real


def test_without_write_tokens_only_the_steps_look():
    on_steps, on_read, gain, late = shares_of(*maps(write=False))
    assert (on_steps, on_read) == (0.0, 0.0)
    assert gain > 0.3
    assert late == 0.0


def test_the_last_quarter_is_of_the_steps_that_are_real():
    weights = torch.zeros(1, 1, 1, 2 + 24 + 2, 2 + 24 + 2)  # eight steps, six of them real
    weights[..., 26:, 2:20] = 0.01
    weights[..., 26:, 14:20] = 0.02  # the last two steps of six
    mask = torch.tensor([[True] * 6 + [False] * 2])
    segment = Segment(torch.zeros(1, 8, 4), torch.zeros(1, 8).long(), torch.zeros(1, 8), mask)
    late = shares_of(AttentionMaps(weights, 2), segment)[3]
    assert late == pytest.approx(6 * 0.02 / (12 * 0.01 + 6 * 0.02))


def test_shares_are_columns_of_the_episodes_and_metrics():
    row = dict.fromkeys(columns((), ATTENTION), 0) | dict.fromkeys(ATTENTION, 0.123456789)
    assert text([row], (), ATTENTION).splitlines()[1].endswith(",".join(["0.123457"] * 4))
    assert [parse(name).column for name in ATTENTION] == list(ATTENTION)
