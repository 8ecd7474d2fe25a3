"""Demonstrations: a stretch of another episode of the same group, for policies that want one.

Groups are told by the environment (``group``), such as the task that an episode plays. In training
an episode is shown another one of its group, drawn anew for each update; in an evaluation one of
the dataset of the environment that is played. Source: Prompt-DT (Xu et al. 2022) section 4.

    part first      [o0 o1 o2] o3 o4 o5 o6        so many steps from the beginning
    part last        o0 o1 o2 o3 [o4 o5 o6]       so many steps to the end

An episode that is shorter is shown whole, padded and masked like the end of any segment.
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
    """The episodes of a dataset by their groups, of each a stretch of ``steps`` steps."""

    def __init__(
        self, tensors: EpisodeTensors, groups: Sequence[str], steps: int, part: Part
    ) -> None:
        self.tensors, self.steps, self.part = tensors, steps, part
        names, numbers = np.unique(np.asarray(groups), return_inverse=True)
        self.names = [str(name) for name in names]
        self.members = [np.flatnonzero(numbers == number) for number in range(len(self.names))]
        self.numbers = numbers
        self.places = np.zeros(len(numbers), dtype=np.int64)  # of each episode among its group
        for members in self.members:
            self.places[members] = np.arange(len(members))

    @classmethod
    def of(
        cls, tensors: EpisodeTensors, wanted: DemonstrationSettings | None
    ) -> Demonstrations | None:
        """What a model can be shown of these episodes; None where it wants nothing."""
        if wanted is None:
            return None
        steps, part = wanted.demonstration_steps, wanted.demonstration_part
        return cls(tensors, tensors.groups.tolist(), steps, part)

    def of_others(self, episodes: Int[np.ndarray, " batch"], draw: Sequence[int]) -> Segment:
        """For each of these episodes a stretch of another one of its group.

        ``draw`` names the random numbers. UserError where an episode is alone in its group.
        """
        numbers = self.numbers[episodes]
        sizes = np.array([len(members) for members in self.members])[numbers]
        if (sizes < 2).any():
            name = self.names[numbers[sizes < 2][0]]
            what = f"only one episode of {name!r}: there is no other one to show"
            raise UserError(what, "dataset", "collect more, or raise training.data_fraction")
        ahead = 1 + (np.random.default_rng(draw).random(len(episodes)) * (sizes - 1)).astype(int)
        places = (self.places[episodes] + ahead) % sizes
        pairs = zip(numbers, places, strict=True)
        return self._shown(np.array([self.members[number][place] for number, place in pairs]))

    def of_groups(self, groups: Sequence[str], draws: Sequence[Sequence[int]]) -> Segment:
        """For each group one of its episodes; ``draws`` name the random numbers, row by row."""
        known = dict(zip(self.names, self.members, strict=True))
        for name in groups:
            if name not in known:
                remedy = f"it holds {', '.join(known)}"
                raise UserError(f"no demonstration of {name!r}", "dataset", remedy)
        rows = zip(groups, draws, strict=True)
        return self._shown(
            np.array([np.random.default_rng(draw).choice(known[name]) for name, draw in rows])
        )

    def _shown(self, episodes: Int[np.ndarray, " batch"]) -> Segment:
        begins, ends = self.tensors.offsets[episodes], self.tensors.offsets[episodes + 1]
        first = np.maximum(begins, ends - self.steps) if self.part == "last" else begins
        return self.tensors.window(first, ends, self.steps)
