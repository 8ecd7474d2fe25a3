"""Figures of attention, and the files that it is read from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from made_up.results import attention, data_of, drawn, inputs
from memdt.errors import UserError
from memdt.figures.attention_map import Block, PanelLayout
from memdt.figures.drawing import read_attention


def test_the_layout_of_a_segment() -> None:
    """cache cache | read | R0 o0 a0 R1 o1 a1 | write: ten columns; eight rows without the cache."""
    layout = PanelLayout.of(attention())
    assert layout.columns == [
        Block("cache", 0, 2),
        Block("read", 2, 3),
        Block("steps", 3, 9),
        Block("write", 9, 10),
    ]
    assert layout.rows == [Block("read", 0, 1), Block("steps", 1, 7), Block("write", 7, 8)]
    assert layout.token(0, cached=True) == 4
    assert layout.token(1, cached=False) == 5


def test_attention_is_the_mean_over_heads_unless_one_is_named() -> None:
    frame = data_of("attention_map")
    pair = frame[(frame["query"] == 5) & (frame["key"] == 7)]
    assert pair.to_numpy().tolist() == [[2, 1, 5, 7, 0.5]]
    one = data_of("attention_map", {"head": 2})
    assert one[(one["query"] == 5) & (one["key"] == 7)]["weight"].tolist() == [0.25]
    assert len(frame) == 2 * 2 * 8 + 1  # pairs without weight are left out


def test_attention_of_another_seed_serves_where_the_asked_one_was_not_recorded() -> None:
    assert len(data_of("attention_map", {"variant": "short", "seed": 4})) > 0
    with pytest.raises(UserError, match="no recorded attention"):
        data_of("attention_map", {"variant": "long"})


def test_hint_and_decision_are_marked_where_they_lie() -> None:
    """Hint in step 0, so in segment 1; decision in step 3, so in segment 2; in both layers."""
    axes = drawn(inputs("attention_map")).axes
    marks = [[text.get_text() for text in one.texts] for one in axes[:4]]
    assert marks == [["hint"], ["decision"], ["hint"], ["decision"]]


def test_a_hint_of_several_steps_is_a_strip_over_every_segment_that_shows_it() -> None:
    longer = replace(attention(), hint_stop=3)
    assert [longer.hint_in(segment) for segment in (0, 1, 2)] == [
        range(2), range(1), range(0),
    ]  # fmt: skip
    given = inputs("attention_map", {"decision": False}, attention=(longer,))
    marks = [[text.get_text() for text in one.texts] for one in drawn(given).axes[:2]]
    assert marks == [["hint"], ["hint"]]


def test_attention_of_written_memory_to_the_hint_is_summed_by_hand() -> None:
    """Columns: cache 0 1, read 2, steps 3 to 8, write 9. The hint is step 0: columns 3 to 5."""
    record = attention()
    weights = np.zeros_like(record.weights)
    weights[0, 1, :, 7, 3:6] = 0.25  # the written token looks at step 0
    weights[0, 1, :, 7, 6:9] = 0.05
    weights[0, 1, :, 1:7, 2] = [0.6, 0, 0, 0, 0, 0.6]  # two of six step tokens look at memory
    frame = data_of("attention_to_hint", attention=(replace(record, weights=weights),))
    by_look = frame.set_index(["look", "segment", "layer"])
    assert by_look.loc[("write to hint", 1, 2), "share"] == pytest.approx(0.75)
    assert by_look.loc[("write to hint", 1, 2), "even"] == pytest.approx(3 / 8)
    assert by_look.loc[("write to hint", 2, 2), "even"] == 0  # nothing of it is seen there
    assert by_look.loc[("steps to memory", 1, 2), "share"] == pytest.approx(0.2)


def test_uniform_attention_to_the_hint_counts_the_cache_of_later_segments() -> None:
    """Eight tokens a segment; the second one sees two cached ones too, and one step of the hint."""
    longer = replace(attention(), hint_stop=3)
    frame = data_of("attention_to_hint", attention=(longer,))
    even = frame.set_index(["look", "segment", "layer"])["even"]
    assert even["write to hint", 1, 1] == pytest.approx(6 / 8)
    assert even["write to hint", 2, 1] == pytest.approx(3 / 10)


def test_a_map_can_be_cut_to_the_memory_that_is_read() -> None:
    """Columns: cache 0 1, read 2, steps 3 to 8, write 9."""
    weights = attention().weights.copy()
    weights[..., 2] = 0.3
    given = inputs("attention_map", {"looked_at": "read"},
                   attention=(replace(attention(), weights=weights),))  # fmt: skip
    assert set(
        data_of("attention_map", {"looked_at": "read"}, attention=given.attention)["key"]
    ) == {2}
    axes = drawn(given).axes[0]
    assert axes.get_xlim() == (1.5, 2.5)
    with pytest.raises(UserError, match="no tokens of the kind"):
        data_of("attention_map", {"looked_at": "cache"}, attention=(replace(attention(), cache=0),))


def test_attention_by_quarters_is_summed_by_hand() -> None:
    """Four steps, a quarter each: read 0, steps 1 to 12, write 13; no cache."""
    weights = np.zeros((1, 1, 1, 14, 14), dtype=np.float32)
    weights[0, 0, 0, 13, 10:13] = 0.2  # the written token looks at the last step
    weights[0, 0, 0, 13, 1] = 0.2
    weights[0, 0, 0, 1:4, 0] = [0.9, 0.3, 0.3]  # the first step looks at memory
    record = replace(attention(), weights=weights, cache=0, segment_length=4)
    by_quarter = data_of("attention_by_quarter", attention=(record,)).set_index(["look", "quarter"])
    assert by_quarter.loc[("write to steps", 4), "share"] == pytest.approx(0.75)
    assert by_quarter.loc[("write to steps", 1), "share"] == pytest.approx(0.25)
    assert by_quarter.loc[("write to steps", 2), "even"] == 0.25
    assert by_quarter.loc[("steps to memory", 1), "share"] == pytest.approx(0.5)
    # one memory token among 2, 3 and 4 tokens that the three tokens of the first step see
    assert by_quarter.loc[("steps to memory", 1), "even"] == pytest.approx(
        (1 / 2 + 1 / 3 + 1 / 4) / 3, abs=1e-4
    )
    assert by_quarter.loc[("steps to memory", 3), "share"] == 0


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, record = tmp_path / "attention.npz", attention()
    marks = {
        "memory_tokens": 1, "cache": 2, "segment_length": 2, "hint_start": 0, "hint_stop": 1,
        "decision_step": 3,
    }  # fmt: skip
    np.savez_compressed(path, weights=record.weights, **marks)
    restored = read_attention(path, "maze", "short", 0)
    np.testing.assert_array_equal(restored.weights, record.weights)
    assert (restored.memory_tokens, restored.cache, restored.decision_step) == (1, 2, 3)
    np.savez_compressed(path, weights=record.weights[..., 1:], **marks)
    with pytest.raises(UserError, match="weights of the shape"):
        read_attention(path, "maze", "short", 0)


@pytest.mark.parametrize("left", [0, 3, 100, 0.5, 0.9, 0.999])
def test_a_truncated_recording_is_refused_in_one_line(tmp_path: Path, left: float) -> None:
    path = recorded(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content)) if isinstance(left, float) else left])
    with pytest.raises(UserError, match=f"no recorded attention.*snakemake {path} --force"):
        read_attention(path, "maze", "short", 0)


def test_a_damaged_recording_is_refused_wherever_the_damage_lies(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    content = path.read_bytes()
    refused = 0
    for offset in range(0, len(content), max(1, len(content) // 200)):
        path.write_bytes(content[:offset] + bytes([content[offset] ^ 0x55]) + content[offset + 1 :])
        try:  # a date inside the archive may change and nothing else
            read_attention(path, "maze", "short", 0)
        except UserError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("what", [b"no archive", {"weights": 1}, ["an", "array"], None])
def test_a_foreign_recording_is_refused_in_one_line(tmp_path: Path, what: object) -> None:
    path = tmp_path / "attention.npz"
    if isinstance(what, bytes):
        path.write_bytes(what)
    elif isinstance(what, dict):
        np.savez(path, **what)
    else:
        with path.open("wb") as file:
            np.save(file, np.array(what, dtype=None if what else object), allow_pickle=True)
    with pytest.raises(UserError, match="no recorded attention.*make it anew") as caught:
        read_attention(path, "maze", "short", 0)
    assert "\n" not in str(caught.value)


def recorded(folder: Path) -> Path:
    """The recording as a file."""
    path, record = folder / "attention.npz", attention()
    np.savez_compressed(
        path, weights=record.weights, memory_tokens=1, cache=2, segment_length=2, hint_start=0,
        hint_stop=1, decision_step=3,
    )  # fmt: skip
    return path
