"""Demonstrations: part of another episode of the same group, for policies that use one.

The environment names the group of an episode (``group``), such as its task. Training draws another
episode of the same group, anew for each update. Evaluation draws one from the dataset of its
environment. Source: Prompt-DT (Xu et al. 2022) section 4.

    part first      [o0 o1 o2] o3 o4 o5 o6        the first steps
    part last        o0 o1 o2 o3 [o4 o5 o6]       the last steps

A demonstration that is shorter is padded and masked, like the end of any segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int

from memdt.data.segments import EpisodeTensors, Segment
from memdt.errors import UserError
from memdt.settings.schema import DemonstrationSettings

Part = Literal["first", "last"]


class Demonstrations:
    """Demonstrations of ``steps`` steps, from the episodes of a dataset sorted by group."""

    def __init__(
        self, tensors: EpisodeTensors, groups: Sequence[str], steps: int, part: Part
    ) -> None:
        self.tensors, self.steps, self.part = tensors, steps, part
        names, numbers = np.unique(np.asarray(groups), return_inverse=True)
        self.names = [str(name) for name in names]
        self.members = [np.flatnonzero(numbers == number) for number in range(len(self.names))]
        self.numbers = numbers
        self.positions = np.zeros(len(numbers), dtype=np.int64)  # of each episode in its group
        for members in self.members:
            self.positions[members] = np.arange(len(members))

    @classmethod
    def of(
        cls, tensors: EpisodeTensors, settings: DemonstrationSettings | None
    ) -> Demonstrations | None:
        """Return the demonstrations that a model needs; None if it needs none."""
        if settings is None:
            return None
        steps, part = settings.demonstration_steps, settings.demonstration_part
        return cls(tensors, tensors.groups.tolist(), steps, part)

    def of_others(self, episodes: Int[np.ndarray, " batch"], draw: Sequence[int]) -> Segment:
        """Return part of another episode of the same group, for each of these episodes.

        ``draw`` seeds the random numbers. Raises UserError if a group has only one episode.
        """
        numbers = self.numbers[episodes]
        sizes = np.array([len(members) for members in self.members])[numbers]
        if (sizes < 2).any():
            name = self.names[numbers[sizes < 2][0]]
            what = f"only one episode of {name!r}, so no other one can be its demonstration"
            raise UserError(what, "dataset", "collect more, or raise training.data_fraction")
        # A random shift of 1 to size - 1 within the group never returns to the episode itself.
        shifts = 1 + (np.random.default_rng(draw).random(len(episodes)) * (sizes - 1)).astype(int)
        positions = (self.positions[episodes] + shifts) % sizes
        pairs = zip(numbers, positions, strict=True)
        return self._segment(
            np.array([self.members[number][position] for number, position in pairs])
        )

    def of_groups(self, groups: Sequence[str], draws: Sequence[Sequence[int]]) -> Segment:
        """Return part of a random episode of each group; ``draws`` seed the rows one by one.

        Raises UserError if the dataset has no episode of a group.
        """
        members = dict(zip(self.names, self.members, strict=True))
        for name in groups:
            if name not in members:
                remedy = f"it holds {', '.join(members)}"
                raise UserError(f"no demonstration of {name!r}", "dataset", remedy)
        # A seed for each row: a demonstration must not depend on the episodes played beside it.
        rows = zip(groups, draws, strict=True)
        return self._segment(
            np.array([np.random.default_rng(draw).choice(members[name]) for name, draw in rows])
        )

    def _segment(self, episodes: Int[np.ndarray, " batch"]) -> Segment:
        begins, ends = self.tensors.offsets[episodes], self.tensors.offsets[episodes + 1]
        first = np.maximum(begins, ends - self.steps) if self.part == "last" else begins
        return self.tensors.window(first, ends, self.steps)
