"""The measurements run, count right and give finite numbers; how fast it is does not matter."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
PARTS = {"layers": 1, "heads": 2, "width": 8, "head_width": 4, "feed_forward_width": 8}


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that gives a module of ``benchmarks``, which is not installed."""
    monkeypatch.syspath_prepend(str(ROOT))

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"benchmarks.{name}")

    return load


def check(table: Any) -> None:
    """Rows of equal columns, all numbers finite, all times more than 0."""
    assert table.rows
    for row in table.rows:
        assert row.keys() == table.rows[0].keys()
        numbers = [value for value in row.values() if not isinstance(value, str)]
        assert all(math.isfinite(number) and number >= 0 for number in numbers)
        assert sum(number > 0 for number in numbers) >= len(numbers) - 1


def tiny(benchmarks: Any, model: str = "rate") -> Any:
    parts = {**PARTS, "memory_tokens": 2} if model == "rate" else PARTS
    return benchmarks("sizes").Size("tiny", model, parts)


def test_training(benchmarks: Any) -> None:
    check(benchmarks("training").measure(sizes=(tiny(benchmarks),), rows=2))


def test_rollout(benchmarks: Any) -> None:
    sizes = (tiny(benchmarks), tiny(benchmarks, "decision_transformer"))
    check(benchmarks("rollout").measure(cases=tuple((size, 3) for size in sizes), segments=2))


def test_frames(benchmarks: Any) -> None:
    pytest.importorskip("vizdoom")
    frames = benchmarks("frames")
    check(frames.measure(rooms=(frames.QUICK,), engines=(1, 2), steps=30))


def test_simulators(benchmarks: Any) -> None:
    pytest.importorskip("metaworld")
    check(benchmarks("simulators").measure(tasks=("drawer-open-v3",), steps=20))


def test_locomotion(benchmarks: Any) -> None:
    pytest.importorskip("mujoco")
    table = benchmarks("locomotion").measure(rows=2, steps=2, tasks=("Hopper",))
    assert [row["steps/s"] > 0 for row in table.rows] == [True] * (4 + 4)
    assert [bool(row["share of the policy"]) for row in table.rows] == [False] * 4 + [True] * 4


def test_atari(benchmarks: Any) -> None:
    pytest.importorskip("ale_py")
    table = benchmarks("atari").measure(sides=(40,), rows=2, steps=20, games=("breakout",))
    check(table)
    assert len(table.rows) == 5


def test_memory(benchmarks: Any) -> None:
    table = benchmarks("memory").measure(segments=(1, 2))
    check(table)
    assert [row["steps"] for row in table.rows] == [30, 60]


def test_reading_from_memory_and_from_disk(benchmarks: Any) -> None:
    table = benchmarks("access").measure(sizes=(2,))
    check(table)
    assert [row["observations"] for row in table.rows] == ["memory", "disk"]
    assert {row["frames"] for row in table.rows} == {1000}


def test_start_of_a_job(benchmarks: Any) -> None:
    check(benchmarks("start_up").measure(repetitions=1))


def test_tables_are_printed(benchmarks: Any, capsys: pytest.CaptureFixture[str]) -> None:
    measuring = benchmarks("measuring")
    measuring.show(
        measuring.Table("A title", [{"name": "a", "number": 1234, "share": 0.25}], "why")
    )
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("A title", "1,234", "0.25", "why"))


@pytest.mark.parametrize("in_place", [False, True])
def test_executed_operations_are_two_for_every_product(benchmarks: Any, in_place: bool) -> None:
    left, right, added = torch.ones(3, 4, 5), torch.ones(3, 5, 6), torch.ones(3, 4, 6)

    def action() -> None:
        if in_place:
            added.baddbmm_(left, right)
            added[0].addmm_(left[0], right[0])
        else:
            torch.bmm(left, right)
            torch.mm(left[0], right[0])

    counted = benchmarks("measuring").executed_operations(action)
    assert counted == 2 * (3 * 4 * 5 * 6) + 2 * (4 * 5 * 6)


def test_operations_as_written_by_hand(benchmarks: Any) -> None:
    parts = {**PARTS, "memory_tokens": 2}
    tokens, inner, width = 3 * 30 + 4, 2 * 4, 8
    one_head = 3 * tokens * tokens * 4  # content, position, values: pairs times width of the head
    layer = 4 * tokens * width * inner + 2 * one_head + 2 * tokens * width * 8
    expected = 2 * layer * 5 * 3 * 3  # rows, segments, forwards and twice backwards
    assert benchmarks("training").operations_as_written(parts, rows=5) == expected


def test_the_share_of_the_peak_is_what_it_says(benchmarks: Any) -> None:
    timing = benchmarks("measuring").Timing(seconds=2.0, peak=100.0)
    assert timing.share(50.0) == 0.25


@pytest.mark.slow
def test_threads(benchmarks: Any) -> None:
    table = benchmarks("threads").measure(rows=2, updates=1)
    check(table)
    assert [row["jobs"] for row in table.rows] == [2, 1]
