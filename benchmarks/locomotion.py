"""HalfCheetah, Hopper and Walker2d: ways of stepping many rows, and what a policy adds to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from benchmarks.measuring import Table
from memdt import discovery
from memdt.environments.spaces import Spaces
from memdt.environments.task import Task
from memdt.environments.vectors import SerialVector, ThreadedVector
from memdt.evaluation.rollout import Protocol, Rollout
from memdt.models.interface import Policy
from memdt.provenance import usable_cores
from memdt.settings.schema import Condition

TASKS = ("HalfCheetah", "Hopper", "Walker2d")
SIZES = {"layers": 2, "heads": 4, "width": 64, "head_width": 16, "feed_forward_width": 128}
MODELS: dict[str, dict[str, Any]] = {  # as at scale quick
    "rate": {**SIZES, "memory_tokens": 5, "cache_length": 70},
    "decision_transformer": {**SIZES, "training_window": "segment"},
    "behaviour_cloning_mlp": {"width": 64},
    "trajectory_autoencoding_planner": {
        "layers": 2, "width": 64, "codes": 128, "code_width": 32, "beams": 16, "dropout": 0.0,
    },
}  # fmt: skip
NOTE = (
    "Steps of all rows together, per second of wall time where rows are stepped (processes may use "
    "other cores\nthan this one), per CPU second where a policy plays."
)


def measure(
    long: bool = False, rows: int = 20, steps: int = 60, tasks: tuple[str, ...] = TASKS
) -> Table:
    """A row for each way of stepping in each environment, and for each policy in Hopper."""
    ways: dict[str, Callable[[Task, int], Any]] = {
        "one after the other": lambda task, count: SerialVector(_single(task, count)),
        "threads": lambda task, count: ThreadedVector(_single(task, count)),
        "gymnasium, sync": lambda task, count: SyncVectorEnv(_makers(task, count)),
        "gymnasium, processes": lambda task, count: AsyncVectorEnv(_makers(task, count)),
    }
    measured = []
    for name in tasks:
        for way, make in ways.items():
            vector = make(_task(name), rows)
            measured.append(_row(f"{name}, {way}", _stepped(vector, steps)))
            vector.close()
    return Table(
        f"Locomotion, {rows} rows, {usable_cores()} cores",
        measured + [_played(model, parts, rows, steps) for model, parts in MODELS.items()],
        NOTE,
    )


def _task(name: str) -> Task:
    return Task.named("mujoco_locomotion", {"id": f"{name}-v4", "reference": name.lower()})


def _single(task: Task, count: int) -> list[gymnasium.Env[Any, Any]]:
    return [task.module.make(task.settings) for _ in range(count)]


def _makers(task: Task, count: int) -> list[Callable[[], gymnasium.Env[Any, Any]]]:
    return [lambda: task.module.make(task.settings)] * count


def _stepped(vector: Any, steps: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Steps of all rows in a second of the clock, with small actions."""
    vector.reset(seed=list(range(vector.num_envs)))
    shape = (vector.num_envs, *vector.single_action_space.shape)
    actions = np.random.default_rng(0).uniform(-0.1, 0.1, (steps, *shape)).astype(np.float32)
    started = clock()
    for action in actions:
        vector.step(action)
    return steps * vector.num_envs / (clock() - started)


def _played(name: str, parts: dict[str, Any], rows: int, steps: int) -> dict[str, Any]:
    """Steps per CPU second of HalfCheetah played by a policy, and the policy's share of the time.

    HalfCheetah never ends early, whoever plays it.
    """
    task, module = _task("HalfCheetah"), discovery.load("memdt.models", name)
    spaces: Spaces = task.spaces
    policy: Policy = module.build(module.Settings(name=name, **parts), spaces).eval()
    vector = SerialVector(_limited(task, rows, steps))
    rollout = Rollout(policy, vector, Protocol(20, 1.0, True, Condition(), 20, seed=0))
    started = time.process_time()
    rollout.play(range(rows))
    seconds = time.process_time() - started
    simulated = steps * rows / _stepped(SerialVector(_single(task, rows)), steps, time.process_time)
    return _row(f"HalfCheetah, played by {name}", steps * rows / seconds, 1 - simulated / seconds)


def _limited(task: Task, rows: int, steps: int) -> list[gymnasium.Env[Any, Any]]:
    return [gymnasium.wrappers.TimeLimit(one, steps) for one in _single(task, rows)]


def _row(what: str, steps: float, policy: float | None = None) -> dict[str, Any]:
    share = "" if policy is None else f"{max(0.0, policy):.0%}"
    return {"rows are stepped": what, "steps/s": steps, "share of the policy": share}
