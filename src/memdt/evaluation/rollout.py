"""Play a policy in a vector environment, in which all episodes take a step at once.

A policy updates its memory between segments exactly as in training: the write tokens see all 3K
tokens of the closed segment, including its last action. In the public code they see 3K - 1
(Deviation D18).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from memdt.data.segments import Segment
from memdt.evaluation.memory_edits import MemoryEdit
from memdt.models.interface import Choice, Memory, Policy, Segmentation, SequencePolicy, Step
from memdt.progress import Progress
from memdt.settings.schema import Condition


@dataclass(frozen=True)
class Outcomes:
    """The outcome of each episode, in the order of the seeds."""

    returns: NDArray[np.float64]
    steps: NDArray[np.int64]
    terminated: NDArray[np.bool_]  # False: cut off by the time limit
    measures: dict[str, list[Any]]  # the last ``info`` of each episode, by name

    @classmethod
    def joined(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Join the outcomes of several batches, in order."""
        return cls(
            np.concatenate([part.returns for part in parts]),
            np.concatenate([part.steps for part in parts]),
            np.concatenate([part.terminated for part in parts]),
            {name: sum((p.measures[name] for p in parts), []) for name in parts[0].measures},
        )


@dataclass(frozen=True)
class Protocol:
    """How episodes are played."""

    segment_length: int
    target_return: float
    greedy: bool
    condition: Condition
    context_steps: int
    seed: int  # of sampled actions and memory noise


class Observer:
    """Receives the events of a rollout; subclasses override the methods they need.

    ``alive``: rows that have not ended, in the order of the tensors.
    """

    def on_step(
        self, alive: NDArray[np.int64], step: Step, actions: Tensor, info: dict[str, Any]
    ) -> None:
        """Called before each step, with the inputs and actions of the policy.

        ``info`` belongs to the observations and has values for all rows.
        """

    def on_segment_end(self, alive: NDArray[np.int64], memory: Memory) -> None:
        """Called after each segment, with the memory that the next one starts from."""


class Rollout:
    """Plays all episodes of one batch in lockstep; episodes that end leave the batch."""

    def __init__(self, policy: Policy, environment: VectorEnv, protocol: Protocol) -> None:
        self.policy, self.environment, self.protocol = policy, environment, protocol
        self.device = next((p.device for p in policy.parameters()), torch.device("cpu"))
        generator = torch.Generator(self.device).manual_seed(protocol.seed)
        self.choice = Choice(protocol.greedy, generator)
        self.edit = MemoryEdit(protocol.condition, generator)
        self.observer = Observer()
        self.demonstration: Segment | None = None  # a row for each episode, if the policy uses one
        self.alive = np.arange(0)  # rows of episodes that have not ended

    @torch.inference_mode()
    def play(
        self, seeds: Sequence[int], progress: Progress | None = None, done: int = 0
    ) -> Outcomes:
        """Play one episode for each environment seed.

        ``done``: steps that the progress bar has already counted.
        """
        count = len(seeds)
        returns, lengths = np.zeros(count), np.zeros(count, dtype=np.int64)
        earlier = np.zeros(count)  # received before the target return counts from
        space = self.environment.single_action_space
        actions = np.zeros((count, *(space.shape or ())), dtype=space.dtype)
        observations, info = self.environment.reset(seed=list(seeds))  # type: ignore[arg-type]
        alive = self.alive = np.arange(count)
        protocol = self.protocol
        cut = Segmentation(protocol.segment_length, protocol.context_steps, self._at_border)
        if protocol.condition.memory_edit == "initial" and isinstance(self.policy, SequencePolicy):
            self.edit.initial = self.policy.memory_after(self.demonstration, count)
        state = self.policy.begin(count, self.demonstration, cut)
        time = 0
        while alive.size:
            # Deviation D111: it falls again within the segment.
            if protocol.condition.return_to_go_restarts and time % protocol.segment_length == 0:
                earlier = returns.copy()
            step = self._step(observations, returns - earlier, alive)
            chosen, state = self.policy.act(self.policy.scaled(step), state, self.choice)
            self.observer.on_step(alive, step, chosen, info)
            actions[alive] = chosen.cpu().numpy()
            observations, rewards, terminated, truncated, info = self.environment.step(actions)
            time += 1
            returns[alive] += rewards[alive]
            lengths[alive] = time
            if progress is not None:
                progress.update(done + time, episodes=alive.size)
            ended = (terminated | truncated)[alive]
            if ended.any():
                keep = torch.from_numpy(~ended).to(self.device)
                alive, state = alive[~ended], state.rows(keep)
                self.alive = alive
                self.edit.rows(keep)
        return Outcomes(returns, lengths, terminated.copy(), info)

    def _at_border(self, memory: Memory) -> Memory:
        """The memory that the next segment starts from."""
        memory = self.edit(memory)
        self.observer.on_segment_end(self.alive, memory)
        return memory

    def _step(
        self,
        observations: NDArray[Any],
        returns: NDArray[np.float64],
        alive: NDArray[np.int64],
    ) -> Step:
        """What the environment shows; the target return falls by what has been received."""
        received = 0.0 if self.protocol.condition.return_to_go_held else returns[alive]
        target = self.protocol.condition.target_return
        target = self.protocol.target_return if target is None else target
        returns_to_go = (np.full(alive.size, target) - received).astype(np.float32)
        return Step(
            torch.from_numpy(observations[alive]).to(self.device),
            torch.from_numpy(returns_to_go).to(self.device),
        )
