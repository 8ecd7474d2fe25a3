"""Training: CPU seconds of one update on a batch of three segments, 64 episodes side by side."""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import Table, executed_operations, timed
from benchmarks.sizes import BIG, SEGMENT_LENGTH, SMALL, Size, batch_of, trainer_of

ROWS, SEGMENTS = 64, 3
REPETITIONS = {SMALL: 9, BIG: 3}
NOTE = (
    "As written: the products that Transformer-XL's formula asks for, all pairs of tokens, times "
    "three for the backward pass.\nExecuted: those that are run; hidden pairs and unused states "
    "are left out, some queries are made twice.\nThe public code needs 12.5 CPU-s for the second "
    "model (another machine, one thread)."
)


def measure(long: bool = False, sizes: tuple[Size, ...] = (SMALL, BIG), rows: int = ROWS) -> Table:
    """One row a model."""
    measured = [row(size, rows, REPETITIONS.get(size, 1)) for size in sizes]
    return Table(f"Training, a batch of {rows} episodes of {SEGMENTS} segments", measured, NOTE)


def row(size: Size, rows: int, repetitions: int) -> dict[str, Any]:
    """Time updates of one model."""
    policy, segments = size.build(), batch_of(SEGMENTS, rows)
    trainer = trainer_of(policy, rows)
    timing = timed(lambda: trainer.update(0, segments), repetitions)
    written = operations_as_written(size.parts, rows)
    executed = executed_operations(lambda: trainer.update(0, segments))
    return {
        "model": size.label,
        "parameters": sum(p.numel() for p in policy.parameters()),
        "CPU-s a batch": timing.seconds,
        "as written, Gflop": written / 1e9,
        "share of peak": timing.share(written),
        "executed, Gflop": executed / 1e9,
        "share of peak ": timing.share(executed),
        "peak, Gflop/s": timing.peak / 1e9,
    }


def operations_as_written(parts: dict[str, Any], rows: int) -> float:
    """Of the products in an update: queries, keys, values, two scores, values, output, network."""
    inner, width = parts["heads"] * parts["head_width"], parts["width"]
    tokens = 3 * SEGMENT_LENGTH + 2 * parts["memory_tokens"]
    projections = tokens * width * inner * 4
    pairs = tokens * tokens * inner * 3
    network = tokens * width * parts["feed_forward_width"] * 2
    forward = 2.0 * (projections + pairs + network) * parts["layers"] * rows * SEGMENTS
    return 3 * forward
