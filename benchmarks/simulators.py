"""Meta-World: how fast its tasks are built, begun and stepped, one after the other."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.measuring import Table
from memdt.environments import meta_world
from memdt.environments.meta_world_parts.simulator import Simulator, package

TASKS = ("door-lock-v3", "drawer-open-v3", "coffee-push-v3", "pick-place-wall-v3")
NOTE = (
    "CPU time of one thread, without a policy. A task's files are read for its first simulator, a "
    "further one\nis a copy, and later episodes borrow either."
)


def measure(long: bool = False, tasks: tuple[str, ...] = TASKS, steps: int = 300) -> Table:
    """A row for each task."""
    package()  # the import is not a task's
    return Table("Meta-World", [row(task, steps) for task in tasks], NOTE)


def row(task: str, steps: int) -> dict[str, Any]:
    """Build two simulators, begin and play an episode with small random actions."""
    first, further = (_seconds(lambda: Simulator(task)) for _ in range(2))
    arm = meta_world.make(meta_world.Settings(tasks=(task,)))
    arm.reset(seed=0)
    begun = _seconds(lambda: arm.reset(seed=1))
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, (steps, 4)).astype(np.float32)
    played = _seconds(lambda: [arm.step(action) for action in actions])
    arm.close()
    return {
        "task": task,
        "first one built, s": first,
        "further one, s": further,
        "episode begun, s": begun,
        "steps/s": steps / played,
    }


def _seconds(do: Any) -> float:
    started = time.process_time()
    do()
    return time.process_time() - started
