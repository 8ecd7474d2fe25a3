"""Memory: the most that a rollout ever holds, against the length of its episodes.

Each length has a process of its own, because the most is never forgotten.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measuring import Table
from memdt.provenance import peak_memory

ROOT = Path(__file__).parents[1]
EPISODES = 4
SEGMENTS = (3, 320)  # 90 and 9,600 steps
LONG_SEGMENTS = 3334  # 100,020 steps
NOTE = (
    "Both in MB. The second is without what Python, torch and the model take before the first step."
)


def measure(long: bool = False, segments: tuple[int, ...] = SEGMENTS) -> Table:
    """One row a length."""
    lengths = (*segments, LONG_SEGMENTS) if long else segments
    rows = [row(length) for length in lengths]
    for each in rows:
        each["against the shortest"] = each["peak"] / rows[0]["peak"]
    return Table(f"Memory of a rollout, {EPISODES} episodes", rows, NOTE)


def row(segments: int) -> dict[str, Any]:
    """Roll out in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", str(segments)]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    steps, before, after = (int(number) for number in output.split())
    return {"steps": steps, "peak": after / 1e6, "of it for the rollout": (after - before) / 1e6}


def main() -> None:
    """In the process of its own: play, and print the steps and two peaks."""
    from memdt.__main__ import set_threads

    set_threads(1)
    from benchmarks.rollout import play
    from benchmarks.sizes import SMALL

    policy = SMALL.build()
    before = peak_memory()
    print(play(policy, EPISODES, int(sys.argv[1])), before, peak_memory())


if __name__ == "__main__":
    main()
