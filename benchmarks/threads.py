"""Threads: two training jobs side by side on one thread each, against one after the other on two.

Why every job of the workflow has one thread (docs/decisions/0004-jobs-side-by-side.md).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.measuring import Table

ROOT = Path(__file__).parents[1]
WORK = """
import json, sys, time
from memdt.__main__ import set_threads
threads, rows, updates = map(int, sys.argv[1:])
set_threads(threads)
import torch
from benchmarks.sizes import SMALL, batch_of
from memdt.settings.schema import TrainingSettings
from memdt.training.learners.behaviour_cloning import BehaviourCloning
from memdt.training.optimiser import AdamW
policy, segments = SMALL.build(), batch_of(3, rows)
settings = TrainingSettings(
    segments=3, updates_per_stage=(1,), batch_size=rows, learning_rate=1e-3, weight_decay=0.0
)
optimiser = AdamW(policy.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
trainer = BehaviourCloning(policy, settings, optimiser, torch.Generator(), segment_length=30)
trainer.update(0, segments)
started = time.perf_counter()
for _ in range(updates):
    trainer.update(0, segments)
print(json.dumps(time.perf_counter() - started))
"""
NOTE = (
    "Updates of the small model on three segments; wall time, so other work on the machine shows."
)


def measure(long: bool = False, rows: int = 32, updates: int = 20) -> Table:
    """One row a way of using two cores."""
    ways = (("two jobs side by side, 1 thread each", 1, 2), ("one job, 2 threads", 2, 1))
    measured = [row(label, threads, jobs, rows, updates) for label, threads, jobs in ways]
    return Table("Threads", measured, NOTE)


def row(label: str, threads: int, jobs: int, rows: int, updates: int) -> dict[str, Any]:
    """Start the jobs at once; their updates together per second of the slowest."""
    with ThreadPoolExecutor(jobs) as pool:
        seconds = list(pool.map(lambda _: _run(threads, rows, updates), range(jobs)))
    return {
        "way": label,
        "threads": threads,
        "jobs": jobs,
        "updates/s": jobs * updates / max(seconds),
    }


def _run(threads: int, rows: int, updates: int) -> float:
    command = [sys.executable, "-c", WORK, str(threads), str(rows), str(updates)]
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return float(json.loads(done.stdout))
