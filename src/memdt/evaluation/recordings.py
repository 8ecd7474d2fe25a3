"""What was recorded of some evaluation episodes: the file ``recording.npz`` and what is in it.

`evaluation/recorder.py` plays the episodes; figures read the file without the policy or simulator.
Time runs first in every array. What is counted is known before each step and after the last one;
after the end of an episode counts stay and all else is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from PIL import Image

from memdt.errors import UserError
from memdt.files import atomic_path


@dataclass(frozen=True)
class Recording:
    """Some evaluation episodes of one run, side by side."""

    seeds: Int[np.ndarray, " episodes"]  # of the environment
    groups: Shaped[np.ndarray, " episodes"]  # words
    lengths: Int[np.ndarray, " episodes"]  # steps
    measure_names: Shaped[np.ndarray, " measures"]
    measures: Int[np.ndarray, "moments episodes measures"]  # one moment more than steps
    actions: Shaped[np.ndarray, "steps episodes ..."]
    returns_to_go: Float[np.ndarray, "steps episodes"]  # NaN after the end
    memory: Float[np.ndarray, "borders episodes features"]  # NaN after the end
    segment_length: Int[np.ndarray, ""]
    hint: Int[np.ndarray, "2"]  # the steps in which it is seen, as a range
    filmed: Int[np.ndarray, " films"]  # episodes of which there are frames
    film_every: Int[np.ndarray, ""]  # steps between two frames
    frame_bytes: Int[np.ndarray, "films frames"]  # 0 after the end
    frames: UInt8[np.ndarray, " bytes"]  # WebP images one after the other, film by film

    @property
    def hint_steps(self) -> range:
        """The steps in which what must be remembered is seen."""
        return range(int(self.hint[0]), int(self.hint[1]))

    def measure(self, name: str) -> Int[np.ndarray, "moments episodes"]:
        """What was counted under a name; UserError where nothing was."""
        names = list(self.measure_names)
        if name not in names:
            known = ", ".join(names) or "nothing"
            raise UserError(f"{name!r} was not recorded", "recording", f"there is: {known}")
        return np.asarray(self.measures[:, :, names.index(name)])

    def gains(self, name: str) -> Int[np.ndarray, "steps episodes"]:
        """How much was counted in each step."""
        return np.diff(self.measure(name), axis=0)

    def alive_at_border(self, border: int) -> Bool[np.ndarray, " episodes"]:
        """Which episodes began another segment after this border, counted from 0."""
        return self.lengths > (border + 1) * int(self.segment_length)

    def film(self, number: int) -> list[tuple[int, Image.Image]]:
        """The frames of a filmed episode, each with the step at which it was seen."""
        sizes = self.frame_bytes[number]
        ends = int(self.frame_bytes[:number].sum()) + np.cumsum(sizes)
        pieces = [self.frames[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        return [
            (frame * int(self.film_every), Image.open(BytesIO(piece.tobytes())).convert("RGB"))
            for frame, piece in enumerate(pieces)
            if piece.size
        ]

    def check(self) -> None:
        """ValueError where the parts do not belong together."""
        episodes, steps = self.seeds.size, self.returns_to_go.shape[0]
        shapes = (
            (self.groups.shape, (episodes,)),
            (self.lengths.shape, (episodes,)),
            (self.measures.shape, (steps + 1, episodes, self.measure_names.size)),
            (self.actions.shape[:2], (steps, episodes)),
            (self.returns_to_go.shape, (steps, episodes)),
            (self.memory.shape[1:2], (episodes,)),
            (self.hint.shape, (2,)),
            (self.frame_bytes.shape[:1], self.filmed.shape),
            (self.frames.shape, (int(self.frame_bytes.sum()),)),
        )
        for found, asked in shapes:
            if found != asked:
                raise ValueError(f"a part has the shape {found} instead of {asked}")


def write_recording(recording: Recording, path: Path) -> None:
    """Write it whole; the same recording gives the same bytes."""
    recording.check()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {f.name: getattr(recording, f.name) for f in fields(recording)}
        np.savez_compressed(file, **arrays)


def read_recording(path: Path) -> Recording:
    """A recording; UserError, with the command that makes it anew, where the file is none."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            recording = Recording(**{f.name: stored[f.name] for f in fields(Recording)})
        recording.check()
    except Exception as error:  # damage shows in zipfile, zlib and numpy alike, in many ways
        remedy = f"make it anew: snakemake {path} --force --cores all"
        raise UserError(f"no recording: {error}", str(path), remedy) from error
    return recording


def joined(parts: Sequence[Recording]) -> Recording:
    """Episodes that were played one batch after the other, as one recording.

    The parts may end at different steps; all else about them is alike.
    """
    first = parts[0]
    episodes = np.cumsum([0, *(part.seeds.size for part in parts)])
    filmed = [part.filmed + before for part, before in zip(parts, episodes, strict=False)]
    return Recording(
        seeds=np.concatenate([part.seeds for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        measure_names=first.measure_names,
        measures=_beside([part.measures for part in parts], keep=True),
        actions=_beside([part.actions for part in parts]),
        returns_to_go=_beside([part.returns_to_go for part in parts], np.nan),
        memory=_beside([part.memory for part in parts], np.nan),
        segment_length=first.segment_length,
        hint=first.hint,
        filmed=np.concatenate(filmed),
        film_every=first.film_every,
        frame_bytes=_beside([part.frame_bytes.T for part in parts]).T.copy(),
        frames=np.concatenate([part.frames for part in parts]),
    )


def _beside(
    parts: Sequence[Shaped[np.ndarray, "_time _episodes ..."]], fill: Any = 0, keep: bool = False
) -> Shaped[np.ndarray, "time episodes ..."]:
    """Arrays side by side, shorter ones filled up, or gone on with their last values."""
    longest = max(len(part) for part in parts)
    rest: dict[str, Any] = {"mode": "edge"} if keep else {"constant_values": fill}
    return np.concatenate(
        [
            np.pad(part, [(0, longest - len(part)), *[(0, 0)] * (part.ndim - 1)], **rest)
            for part in parts
        ],
        axis=1,
    )
