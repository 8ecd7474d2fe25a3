"""How everything here is measured: CPU seconds of one thread, beside the machine's own peak.

Wall time on a shared machine says little, and seconds of another machine say nothing. So each
figure is the median of CPU seconds, and between any two runs a large matrix product is timed: the
share of that peak is comparable between machines and hours.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.table import Table as Lines
from torch.utils.flop_counter import FlopCounterMode

from memdt.cli.screen import console

SIDE = 768


@dataclass(frozen=True)
class Table:
    """The result of a measurement: rows of equal columns."""

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Timing:
    """CPU seconds of an action, and operations per second of a matrix product meanwhile."""

    seconds: float
    peak: float

    def share(self, operations: float) -> float:
        """Of the peak, if the action is made of so many operations."""
        return operations / self.seconds / self.peak


def timed(action: Callable[[], Any], repetitions: int) -> Timing:
    """Medians over ``repetitions``, after one run to warm up."""
    matrix, product = torch.randn(SIDE, SIDE), torch.empty(SIDE, SIDE)
    action()
    seconds, peaks = [], []
    for _ in range(repetitions):
        rates = [_cpu_seconds(lambda: torch.mm(matrix, matrix, out=product)) for _ in range(4)]
        peaks.append(2 * SIDE**3 / min(rates))
        seconds.append(_cpu_seconds(action))
    return Timing(statistics.median(seconds), statistics.median(peaks))


def _cpu_seconds(action: Callable[[], Any]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def executed_operations(action: Callable[[], Any]) -> int:
    """Operations of the matrix products that an action runs, counted by torch."""
    in_place = {torch.ops.aten.addmm_: _added, torch.ops.aten.baddbmm_: _added}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        action()
    return counter.get_total_flops()


def _added(result: torch.Size, left: torch.Size, right: torch.Size, **_: Any) -> int:
    return 2 * math.prod(left) * right[-1]


def show(table: Table) -> None:
    """Print a table."""
    lines = Lines(title=table.title, title_justify="left", caption=table.note or None)
    lines.caption_justify = "left"
    for number, name in enumerate(table.rows[0]):
        lines.add_column(name, justify="right" if number else "left")
    for row in table.rows:
        lines.add_row(*(_text(value) for value in row.values()))
    console().print(lines)


def _text(value: Any) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else value
    )
