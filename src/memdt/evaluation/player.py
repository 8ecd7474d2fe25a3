"""A trained policy that plays any environment of its spaces, one or several side by side.

    policy = memdt.load("data/runs/quick/tmaze_table_2/rate-3/seed_0")
    observation, _ = environment.reset()
    action = policy.act(observation)
    while not ended:
        observation, reward, terminated, truncated, _ = environment.step(action)
        action, ended = policy.act(observation, reward), terminated or truncated

A policy has a memory, so it must be told where an episode begins: ``reset()``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from memdt.data.segments import Segment, returns_to_go
from memdt.environments.frame_stacks import StackedEnvironment
from memdt.environments.spaces import Spaces
from memdt.errors import UserError
from memdt.evaluation.policy_settings import PolicySettings
from memdt.models.interface import Choice, Policy, Segmentation, State, Step


@dataclass
class _Together:
    """Rows whose episodes began at the same step, and so are at the same step of a segment."""

    rows: NDArray[np.int64]
    state: State


class Player:
    """A policy in use: it counts the rewards, and carries its memory from step to step."""

    def __init__(
        self,
        policy: Policy,
        settings: PolicySettings,
        target_return: float,
        greedy: bool,
        seed: int,
    ) -> None:
        self.policy, self.settings, self.target_return = policy, settings, target_return
        self.device = next((p.device for p in policy.parameters()), torch.device("cpu"))
        generator = torch.Generator(self.device).manual_seed(seed)
        self._choice = Choice(greedy, generator)
        self._demonstration: Segment | None = None
        self.reset()

    @property
    def spaces(self) -> Spaces:
        """The spaces of single observations and actions."""
        return self.policy.spaces

    def make_environment(
        self, segments: int | None = None, render_mode: str | None = None
    ) -> gymnasium.Env[Any, Any]:
        """Make the environment of the run, with the wrappers that it was trained in.

        Args:
            segments: length of its episodes, where that can be set; as configured if not given.
            render_mode: of Gymnasium, where the environment has several.
        """
        task = self.settings.task
        if segments is not None:
            task = task.lengthened(segments * self.settings.segment_length)
        frames, single = self.settings.inputs.frame_stack, task.shown(render_mode)
        return single if frames == 1 else StackedEnvironment(single, frames)

    def reset(
        self,
        rows: ArrayLike | None = None,
        demonstration: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Forget an episode: the next observation is the first one of another.

        Args:
            rows: of a vector environment, True where a new episode begins; all if not given.
            demonstration: for policies that read one, ``observations``, ``actions`` and ``rewards``
                of another episode of the same task, one row for each step. It is kept until
                another one is given.
        """
        if demonstration is not None:
            self._demonstration = self._as_segment(demonstration)
        if rows is None:
            self._received: NDArray[np.float64] | None = None
            self._groups: list[_Together] = []
        elif self._received is not None:
            self._forget(np.asarray(rows, bool))

    @torch.inference_mode()
    def act(self, observation: ArrayLike, reward: ArrayLike = 0.0) -> Any:
        """Return the action for an observation.

        Args:
            observation: of one environment, or of several along the first axis.
            reward: of the step before; ignored at the first step of an episode.

        Returns:
            One action, or one for each environment along the first axis.

        Raises:
            UserError: the observation is not of the policy's space, or a demonstration is missing.
        """
        seen = self._checked(observation)
        single = seen.shape == self.spaces.observation.shape
        batch = seen[None] if single else seen
        self._begin(len(batch))
        received = self._receive(np.broadcast_to(np.asarray(reward, float), len(batch)))
        left = torch.from_numpy((self.target_return - received).astype(np.float32))
        space = self.spaces.action
        actions = np.zeros((len(batch), *(space.shape or ())), space.dtype)
        for group in self._groups:
            inputs = torch.from_numpy(batch[group.rows]).to(self.device)
            step = Step(inputs, left[torch.from_numpy(group.rows)].to(self.device))
            chosen, group.state = self.policy.act(
                self.policy.scaled(step), group.state, self._choice
            )
            actions[group.rows] = chosen.cpu().numpy()
        return actions[0] if single else actions

    def _checked(self, observation: ArrayLike) -> NDArray[Any]:
        """The observation as the policy takes it."""
        seen, space = np.asarray(observation), self.spaces.observation
        shape = space.shape or ()
        if seen.shape != shape and (seen.ndim == 0 or seen.shape[1:] != shape):
            what = f"an observation has shape {seen.shape}, this policy takes {shape}"
            raise UserError(what, self.settings.module, "see make_environment()")
        if space.dtype == np.uint8:
            if seen.dtype != np.uint8:
                what = f"an observation is of {seen.dtype}, this policy takes frames of uint8"
                raise UserError(what, self.settings.module, "give pixels from 0 to 255")
            return np.ascontiguousarray(seen)
        return np.ascontiguousarray(seen, np.float32)

    def _begin(self, count: int) -> None:
        """Begin an episode in every row that has none."""
        if self._received is None:
            self._received = np.zeros(count)
            self._new = np.ones(count, bool)
        if len(self._received) != count:
            what = f"{count} observations after {len(self._received)} in the step before"
            raise UserError(what, "", "call reset() before the number of environments changes")
        if not self._new.any():
            return
        rows = np.flatnonzero(self._new)
        length = self.settings.segment_length
        state = self.policy.begin(
            len(rows), self._shown(len(rows)), Segmentation(length, context_steps=length)
        )
        self._groups.append(_Together(rows, state))

    def _receive(self, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the rewards of episodes that have begun before, and return all that was received."""
        assert self._received is not None
        self._received = np.where(self._new, 0.0, self._received + rewards)
        self._new = np.zeros(len(self._received), bool)
        return self._received

    def _forget(self, rows: NDArray[np.bool_]) -> None:
        if rows.shape != self._new.shape:
            what = f"rows of shape {rows.shape} for {len(self._new)} environments"
            raise UserError(what, "", "give one True or False for each environment")
        if not rows.any():
            return
        self._new |= rows
        groups = []
        for group in self._groups:
            keep = ~rows[group.rows]
            if keep.all():
                groups.append(group)
            elif keep.any():
                kept = torch.from_numpy(keep).to(self.device)
                groups.append(_Together(group.rows[keep], group.state.rows(kept)))
        self._groups = groups

    def _shown(self, count: int) -> Segment | None:
        """The demonstration for so many episodes."""
        steps = self.settings.demonstration_steps
        if not steps:
            return None
        if self._demonstration is None:
            what = f"{self.settings.model['name']} reads a demonstration of up to {steps} steps"
            remedy = "policy.reset(demonstration=...) with its observations, actions and rewards"
            raise UserError(what, "", remedy)
        one = self._demonstration
        return Segment(
            one.observations.expand(count, *one.observations.shape[1:]),
            one.actions.expand(count, *one.actions.shape[1:]),
            one.returns_to_go.expand(count, -1),
            one.mask.expand(count, -1),
        )

    def _as_segment(self, demonstration: Mapping[str, NDArray[Any]]) -> Segment:
        """The stretch of a demonstration that the model reads, padded to its length."""
        prompt, kinds = self.settings.demonstration, ("observations", "actions", "rewards")
        missing = [kind for kind in kinds if kind not in demonstration]
        lengths = {len(demonstration[kind]) for kind in kinds if kind in demonstration}
        if missing or len(lengths) != 1:
            what = f"has no {missing[0]}" if missing else "its arrays differ in length"
            raise UserError(what, "demonstration", f"give {', '.join(kinds)}, a row for each step")
        steps = prompt.demonstration_steps
        cut = slice(-steps, None) if prompt.demonstration_part == "last" else slice(steps)
        seen = self._checked(demonstration["observations"])[cut]
        kind = np.int64 if self.spaces.discrete else np.float32
        actions = np.asarray(demonstration["actions"], kind)[cut]
        earned = returns_to_go(np.asarray(demonstration["rewards"], np.float32))[cut]
        arrays = (np.ascontiguousarray(one) for one in (seen, actions, earned))
        tensors = [torch.from_numpy(one).to(self.device) for one in arrays]
        scaling = self.policy.inputs
        if scaling is not None:
            tensors[0] = scaling.observations(tensors[0])
            tensors[2] = scaling.returns(tensors[2])
        mask = (torch.arange(steps, device=self.device) < len(seen))[None]
        padded = [_padded(one, steps)[None] for one in tensors]
        return Segment(padded[0], padded[1], padded[2], mask)


def _padded(rows: torch.Tensor, steps: int) -> torch.Tensor:
    """Rows made ``steps`` long with zeros."""
    return torch.cat([rows, rows.new_zeros(steps - len(rows), *rows.shape[1:])])
