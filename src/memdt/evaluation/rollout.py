"""Play a policy in a vectorised environment: all episodes take a step at once.

A policy with a memory updates it at segment borders exactly as in training: the write tokens see
all 3K tokens of the closed segment, its last action included (the public code closes with 3K - 1;
Deviation D18).
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
from memdt.models.interface import Choice, Memory, Policy, Segmentation, Step
from memdt.progress import Progress
from memdt.settings.schema import Condition


@dataclass(frozen=True)
class Outcomes:
    """What came of each episode, in the order of the seeds."""

    returns: NDArray[np.float64]
    steps: NDArray[np.int64]
    terminated: NDArray[np.bool_]  # False: cut by the time limit
    measures: dict[str, list[Any]]  # what the environment counted, by its name

    @classmethod
    def joined(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Those of several batches of seeds, in order."""
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
    """Told of all that happens in a rollout; whoever wants to know it overrides a method.

    ``alive`` are the rows that have not ended, in the order of the tensors.
    """

    def acts(
        self, alive: NDArray[np.int64], seen: Step, actions: Tensor, info: dict[str, Any]
    ) -> None:
        """The policy sees this and does that; ``info`` came with what it sees, for all rows."""

    def closes(self, alive: NDArray[np.int64], memory: Memory) -> None:
        """A segment is over; the next one starts from this memory."""


class Rollout:
    """All episodes of one batch, in lock step; those that end leave the batch."""

    def __init__(self, policy: Policy, environment: VectorEnv, protocol: Protocol) -> None:
        self.policy, self.environment, self.protocol = policy, environment, protocol
        self.device = next((p.device for p in policy.parameters()), torch.device("cpu"))
        generator = torch.Generator(self.device).manual_seed(protocol.seed)
        self.choice = Choice(protocol.greedy, generator)
        self.edit = MemoryEdit(protocol.condition, generator)
        self.observer = Observer()
        self.demonstration: Segment | None = None  # one for each episode, if the policy wants any
        self.alive = np.arange(0)  # episodes that have not ended

    @torch.inference_mode()
    def play(
        self, seeds: Sequence[int], progress: Progress | None = None, done: int = 0
    ) -> Outcomes:
        """Play one episode for each environment seed; the progress has ``done`` steps before."""
        count = len(seeds)
        returns, lengths = np.zeros(count), np.zeros(count, dtype=np.int64)
        earlier = np.zeros(count)  # received before the target return counts from
        space = self.environment.single_action_space
        actions = np.zeros((count, *(space.shape or ())), dtype=space.dtype)
        observations, info = self.environment.reset(seed=list(seeds))  # type: ignore[arg-type]
        alive = self.alive = np.arange(count)
        protocol = self.protocol
        cut = Segmentation(protocol.segment_length, protocol.context_steps, self._at_border)
        state = self.policy.begin(count, self.demonstration, cut)
        step = 0
        while alive.size:
            # Deviation D111: it falls again within the segment.
            if protocol.condition.return_to_go_restarts and step % protocol.segment_length == 0:
                earlier = returns.copy()
            seen = self._seen(observations, returns - earlier, alive)
            chosen, state = self.policy.act(self.policy.scaled(seen), state, self.choice)
            self.observer.acts(alive, seen, chosen, info)
            actions[alive] = chosen.cpu().numpy()
            observations, rewards, terminated, truncated, info = self.environment.step(actions)
            step += 1
            returns[alive] += rewards[alive]
            lengths[alive] = step
            if progress is not None:
                progress.update(done + step, episodes=alive.size)
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
        self.observer.closes(self.alive, memory)
        return memory

    def _seen(
        self,
        observations: NDArray[Any],
        returns: NDArray[np.float64],
        alive: NDArray[np.int64],
    ) -> Step:
        """What the environment shows; the target return falls by what has been received."""
        received = 0.0 if self.protocol.condition.return_to_go_held else returns[alive]
        asked = self.protocol.condition.target_return
        asked = self.protocol.target_return if asked is None else asked
        left = np.full(alive.size, asked) - received
        seen = torch.from_numpy(observations[alive]).to(self.device)
        return Step(seen, torch.from_numpy(left.astype(np.float32)).to(self.device))
