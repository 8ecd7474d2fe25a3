"""Recorded evaluation episodes, and the file ``recording.npz`` that holds them.

`evaluation/recorder.py` plays the episodes. Figures read the file without the policy or simulator.
Time is the first dimension of every array. Measures are recorded before each step and after the
last one. After the end of an episode, measures keep their values and everything else is empty.
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
    groups: Shaped[np.ndarray, " episodes"]  # names
    lengths: Int[np.ndarray, " episodes"]  # steps
    measure_names: Shaped[np.ndarray, " measures"]
    measures: Int[np.ndarray, "moments episodes measures"]  # one moment more than steps
    actions: Shaped[np.ndarray, "steps episodes ..."]
    returns_to_go: Float[np.ndarray, "steps episodes"]  # NaN after the end
    memory: Float[np.ndarray, "borders episodes features"]  # NaN after the end
    segment_length: Int[np.ndarray, ""]
    hint: Int[np.ndarray, "2"]  # first and one-past-last step in which the hint is visible
    filmed: Int[np.ndarray, " films"]  # numbers of the episodes that have frames
    film_every: Int[np.ndarray, ""]  # steps between two frames
    frame_bytes: Int[np.ndarray, "films frames"]  # 0 after the end
    frames: UInt8[np.ndarray, " bytes"]  # WebP images one after the other, film by film

    @property
    def hint_steps(self) -> range:
        """The steps in which the information to remember is visible."""
        return range(int(self.hint[0]), int(self.hint[1]))

    def measure(self, name: str) -> Int[np.ndarray, "moments episodes"]:
        """Return the values of a measure. Raises UserError if it was not recorded."""
        names = list(self.measure_names)
        if name not in names:
            recorded = ", ".join(names) or "nothing"
            raise UserError(f"{name!r} was not recorded", "recording", f"there is: {recorded}")
        return np.asarray(self.measures[:, :, names.index(name)])

    def gains(self, name: str) -> Int[np.ndarray, "steps episodes"]:
        """Return the change of a measure in each step."""
        return np.diff(self.measure(name), axis=0)

    def alive_at_border(self, border: int) -> Bool[np.ndarray, " episodes"]:
        """Return True for episodes that continue after segment ``border``, counted from 0."""
        return self.lengths > (border + 1) * int(self.segment_length)

    def film(self, number: int) -> list[tuple[int, Image.Image]]:
        """Return the frames of a filmed episode, each with the number of its step."""
        sizes = self.frame_bytes[number]
        ends = int(self.frame_bytes[:number].sum()) + np.cumsum(sizes)
        pieces = [self.frames[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        return [
            (frame * int(self.film_every), Image.open(BytesIO(piece.tobytes())).convert("RGB"))
            for frame, piece in enumerate(pieces)
            if piece.size
        ]

    def check(self) -> None:
        """Raise ValueError if the shapes of the arrays do not match."""
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
        for actual, expected in shapes:
            if actual != expected:
                raise ValueError(f"an array has the shape {actual} instead of {expected}")


def write_recording(recording: Recording, path: Path) -> None:
    """Write a recording atomically; the same recording gives the same bytes."""
    recording.check()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {f.name: getattr(recording, f.name) for f in fields(recording)}
        np.savez_compressed(file, **arrays)


def read_recording(path: Path) -> Recording:
    """Read a recording. Raises UserError, with the command that makes it again, on any damage."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            recording = Recording(**{f.name: stored[f.name] for f in fields(Recording)})
        recording.check()
    except Exception as error:  # damage shows in zipfile, zlib and numpy alike, in many ways
        remedy = f"make it anew: snakemake {path} --force --cores all"
        raise UserError(f"not a recording: {error}", str(path), remedy) from error
    return recording


def joined(parts: Sequence[Recording]) -> Recording:
    """Join the recordings of several batches.

    The parts may have different numbers of steps, but must agree in everything else.
    """
    first = parts[0]
    offsets = np.cumsum([0, *(part.seeds.size for part in parts)])
    filmed = [part.filmed + offset for part, offset in zip(parts, offsets, strict=False)]
    return Recording(
        seeds=np.concatenate([part.seeds for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        measure_names=first.measure_names,
        measures=_side_by_side([part.measures for part in parts], repeat_last=True),
        actions=_side_by_side([part.actions for part in parts]),
        returns_to_go=_side_by_side([part.returns_to_go for part in parts], np.nan),
        memory=_side_by_side([part.memory for part in parts], np.nan),
        segment_length=first.segment_length,
        hint=first.hint,
        filmed=np.concatenate(filmed),
        film_every=first.film_every,
        frame_bytes=_side_by_side([part.frame_bytes.T for part in parts]).T.copy(),
        frames=np.concatenate([part.frames for part in parts]),
    )


def _side_by_side(
    parts: Sequence[Shaped[np.ndarray, "_time _episodes ..."]],
    fill: Any = 0,
    repeat_last: bool = False,
) -> Shaped[np.ndarray, "time episodes ..."]:
    """Arrays side by side; shorter ones are extended with ``fill`` or with their last values."""
    longest = max(len(part) for part in parts)
    rest: dict[str, Any] = {"mode": "edge"} if repeat_last else {"constant_values": fill}
    return np.concatenate(
        [
            np.pad(part, [(0, longest - len(part)), *[(0, 0)] * (part.ndim - 1)], **rest)
            for part in parts
        ],
        axis=1,
    )
