"""Start of a job: what a training job costs before its first update.

A whole job of two tiny updates is timed, from the start of Python to the written checkpoint, which
is a little more than what is asked for.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import Table

ROOT = Path(__file__).parents[1]
COLLECT = ("-m", "memdt", "dataset", "--environment", "tmaze", "--scale", "smoke")
TRAIN = (
    "-m", "memdt", "train", "--experiment", "tmaze_table_2", "--variant", "rate-3",
    "--stage", "1", "--scale", "smoke",
)  # fmt: skip
COMMANDS = {
    "memdt train, two updates": TRAIN,
    "of it: import torch": ("-c", "import torch"),
    "memdt --help": ("-m", "memdt", "--help"),
}
NOTE = "Aimed at: 2.5 s from the start of a job to its first update."


def measure(long: bool = False, repetitions: int = 3) -> Table:
    """One row a command, in a copy of the settings, so that no result of yours is touched."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "workflow" / "config", Path(folder, "workflow", "config"))
        _run(COLLECT, folder)
        rows = [row(label, folder, repetitions) for label in COMMANDS]
    return Table("Start of a job", rows, NOTE)


def row(label: str, folder: str, repetitions: int) -> dict[str, Any]:
    """Time one command."""
    pairs = [_run(COMMANDS[label], folder) for _ in range(repetitions)]
    cpu, wall = (statistics.median(values) for values in zip(*pairs, strict=True))
    return {"command": label, "CPU-s": cpu, "wall s": wall}


def _run(arguments: tuple[str, ...], folder: str) -> tuple[float, float]:
    started, before = time.perf_counter(), _cpu_seconds()
    command = [sys.executable, *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return _cpu_seconds() - before, time.perf_counter() - started


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
