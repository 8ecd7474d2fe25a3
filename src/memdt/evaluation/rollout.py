"""Roll a policy out in a vectorised environment: one cached decoding step for all episodes at once.

Memory is updated at segment borders exactly as in training: the write tokens see all 3K tokens of
the closed segment, its last action included (the public code closes with 3K - 1; Deviation D18).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces as gym_spaces
from gymnasium.vector import VectorEnv
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from memdt.data.segments import Segment
from memdt.evaluation.memory_edits import MemoryEdit
from memdt.models.interface import DecodeState, Memory, SequencePolicy, Step
from memdt.progress import Progress
from memdt.settings.schema import Condition


@dataclass(frozen=True)
class Outcomes:
    """What came of each episode, in the order of the seeds."""

    returns: NDArray[np.float64]
    steps: NDArray[np.int64]
    terminated: NDArray[np.bool_]  # False: cut by the time limit
    measures: dict[str, list[Any]]  # what the environment told at the end, by its name

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

    def __init__(self, policy: SequencePolicy, environment: VectorEnv, protocol: Protocol) -> None:
        self.policy, self.environment, self.protocol = policy, environment, protocol
        self.device = next((p.device for p in policy.parameters()), torch.device("cpu"))
        self.generator = torch.Generator(self.device).manual_seed(protocol.seed)
        self.edit = MemoryEdit(protocol.condition, self.generator)
        self.observer = Observer()
        self.demonstration: Segment | None = None  # one for each episode, if the policy wants any

    @torch.inference_mode()
    def play(
        self, seeds: Sequence[int], progress: Progress | None = None, done: int = 0
    ) -> Outcomes:
        """Play one episode for each environment seed; the progress has ``done`` steps before."""
        count = len(seeds)
        returns, lengths = np.zeros(count), np.zeros(count, dtype=np.int64)
        space = self.environment.single_action_space
        actions = np.zeros((count, *(space.shape or ())), dtype=space.dtype)
        observations, info = self.environment.reset(seed=list(seeds))  # type: ignore[arg-type]
        alive = np.arange(count)
        state, previous = self._begin(count), None
        step = 0
        while alive.size:
            if step and self.policy.recurrent and step % self.protocol.segment_length == 0:
                state, previous = self._next_segment(previous, state, alive), None
            question = self._question(observations, returns, alive, previous)
            outputs, state = self.policy.step(question, state)
            previous = self._act(outputs)
            self.observer.acts(alive, question, previous, info)
            actions[alive] = previous.cpu().numpy()
            observations, rewards, terminated, truncated, info = self.environment.step(actions)
            step += 1
            returns[alive] += rewards[alive]
            lengths[alive] = step
            if progress is not None:
                progress.update(done + step, episodes=alive.size)
            ended = (terminated | truncated)[alive]
            if ended.any():
                keep = torch.from_numpy(~ended).to(self.device)
                alive, state, previous = alive[~ended], state.rows(keep), previous[keep]
                self.edit.rows(keep)
        return Outcomes(returns, lengths, terminated.copy(), info)

    def _begin(self, count: int) -> DecodeState:
        memory = self.policy.memory_after(self.demonstration, count)
        return self.policy.begin_segment(memory, self.protocol.context_steps)

    def _next_segment(
        self, last_action: Tensor | None, state: DecodeState, alive: NDArray[np.int64]
    ) -> DecodeState:
        assert last_action is not None
        memory = self.edit(self.policy.end_segment(last_action, state))
        self.observer.closes(alive, memory)
        return self.policy.begin_segment(memory, self.protocol.context_steps)

    def _question(
        self,
        observations: NDArray[Any],
        returns: NDArray[np.float64],
        alive: NDArray[np.int64],
        previous: Tensor | None,
    ) -> Step:
        """What the policy sees now: the target return falls by what has been received."""
        received = 0.0 if self.protocol.condition.return_to_go_held else returns[alive]
        asked = self.protocol.condition.target_return
        asked = self.protocol.target_return if asked is None else asked
        left = np.full(alive.size, asked) - received
        seen = torch.from_numpy(observations[alive]).to(self.device)
        return Step(seen, torch.from_numpy(left.astype(np.float32)).to(self.device), previous)

    def _act(self, outputs: Float[Tensor, "batch outputs"]) -> Tensor:
        """Greedy or sampled choices; continuous ones lie around their means (see ``spread``)."""
        if not isinstance(self.environment.single_action_space, gym_spaces.Discrete):
            spread = 0.0 if self.protocol.greedy else self.policy.spread
            return outputs + spread * self._uniform(outputs) if spread else outputs
        if self.protocol.greedy:
            return outputs.argmax(-1)
        drawn = torch.multinomial(outputs.softmax(-1), 1, generator=self.generator)
        return drawn[:, 0]

    def _uniform(self, outputs: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch outputs"]:
        """Draws from [-1, 1], one for each number."""
        return 2 * torch.rand(outputs.shape, generator=self.generator, device=self.device) - 1
