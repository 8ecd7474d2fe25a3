"""The saved state of an unfinished stage: a resumed stage ends with the bytes of an unbroken one.

It is one file in the stage's folder. Snakemake does not know the file and so never removes it:

    learner.*    tensors of the learner       metadata   the stage it belongs to, updates done, rows
    figures.*    figures since the last row              of the curve, time spent, a checksum
    random.*     torch's own generators

Batches are functions of the update's number and need no state. Loading never reads a pickle. This
module is part of the source digest of training, because a fault in it would change results.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from memdt.errors import UserError
from memdt.files import atomic_path
from memdt.set_aside import set_aside
from memdt.training.curve import Curve
from memdt.training.learner import part

NAME = "resume.safetensors"
FORMAT = "memdt resume state 2"
EVERY = "MEMDT_SAVE_EVERY_SECONDS"
DEFAULT_SECONDS = 60.0


def save_every_seconds() -> float:
    """Return the seconds between two saves, from MEMDT_SAVE_EVERY_SECONDS if it is set.

    0 means after every update. Raises UserError if the variable is not a number of seconds.
    """
    text = os.environ.get(EVERY, "") or str(DEFAULT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        # Refused below, like a negative number.
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        what = f"{text!r} is not a number of seconds"
        raise UserError(what, EVERY, "0 saves after every update")
    return seconds


def note(line: str) -> None:
    """Print a note. The prefix ``memdt:`` is reserved for the last line of a failed job."""
    print(f"note: {line}", file=sys.stderr, flush=True)


@dataclass
class ResumePoint:
    """The progress of a stage, apart from the tensors of its learner."""

    updates: int = 0
    curve: Curve = field(default_factory=Curve)
    seconds: tuple[float, float] = (0.0, 0.0)  # wall and CPU time of the processes before this one
    resumed: int = 0


class _Unfit(Exception):
    """The file is not the state of this stage; the message says why."""


@dataclass(frozen=True)
class _Generator:
    """A source of random numbers: functions that get and set its state as bytes."""

    get: Callable[[], Tensor]
    set: Callable[[Tensor], object]


@runtime_checkable
class Resumable(Protocol):
    """What a state is saved of: a learner, or all of an agent that learns by playing."""

    def state(self) -> dict[str, Tensor]:
        """All tensors that change, by names."""

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what ``state`` gave, bit for bit."""


@dataclass(frozen=True)
class ResumeFile:
    """The resume file of one stage, and the learner whose state it holds."""

    path: Path
    belongs_to: dict[str, Any]  # what shapes the result; a state with other values is set aside
    learner: Resumable
    device: torch.device

    def save(self, point: ResumePoint) -> None:
        """Write the state atomically. On an OSError, the previous file remains."""
        tensors = {**self._tensors(), **_named("figures", point.curve.figures)}
        tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
        content = json.dumps({**self._belongs_to(), "point": _as_json(point)}, sort_keys=True)
        checked = {"memdt": content, "sha256": _checksum(content, tensors)}
        # A single entry, because safetensors writes several entries in random order.
        file = save(tensors, {"memdt": json.dumps(checked, sort_keys=True)})
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(file)

    def restore(self) -> ResumePoint:
        """Load the file, or start from the beginning if there is none.

        A file that does not fit this stage is set aside with a note, and never deleted.
        """
        if not self.path.exists():
            return ResumePoint()
        try:
            point, tensors = self._read()
        except _Unfit as reason:
            new_path = set_aside(self.path)
            note(f"{self.path}: {reason}; it is set aside as {new_path}, the stage starts over")
            return ResumePoint()
        self.learner.load(part(tensors, "learner"))
        for name, draws in self._generators().items():
            draws.set(tensors[f"random.{name}"])
        point.resumed += 1
        return point

    def remove(self) -> None:
        """Delete the file, once all outputs of the stage exist."""
        self.path.unlink(missing_ok=True)

    def _belongs_to(self) -> dict[str, Any]:
        # Another torch may draw and add up differently, and the result would mix both versions.
        return {"format": FORMAT, "torch": str(torch.__version__), **self.belongs_to}

    def _tensors(self) -> dict[str, Tensor]:
        """All tensors that training changes, by their names in the file."""
        random = {name: draws.get() for name, draws in self._generators().items()}
        return {**_named("learner", self.learner.state()), **_named("random", random)}

    def _generators(self) -> dict[str, _Generator]:
        generators = {"cpu": _Generator(torch.get_rng_state, torch.set_rng_state)}
        if self.device.type == "cuda":
            generators["cuda"] = _Generator(torch.cuda.get_rng_state, torch.cuda.set_rng_state)
        return generators

    def _read(self) -> tuple[ResumePoint, dict[str, Tensor]]:
        """Read the file and check all of it, before anything is loaded into the learner."""
        content, tensors = _read_checked(self.path)
        point = content.pop("point", {})
        expected = self._belongs_to()
        if content != expected:
            keys = {*content, *expected}
            names = sorted(key for key in keys if content.get(key) != expected.get(key))
            raise _Unfit(f"the resume state of something else, it differs in {', '.join(names)}")
        figures = part(tensors, "figures")
        saved = {name: t for name, t in tensors.items() if not name.startswith("figures.")}
        if _shapes(self._tensors()) != _shapes(saved):
            raise _Unfit("the resume state of another model")
        return _from_json(point, figures), tensors


def _read_checked(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            outer = json.loads((file.metadata() or {}).get("memdt", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = outer["memdt"]
        intact = outer["sha256"] == _checksum(text, tensors)
        content = json.loads(text)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Unfit(f"not a whole resume state ({type(error).__name__})") from None
    if not intact:
        raise _Unfit("a damaged resume state, its checksum does not match")
    return content, tensors


def _checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """Over metadata and tensors, because safetensors itself checks lengths only."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _as_json(point: ResumePoint) -> dict[str, Any]:
    return {
        "updates": point.updates,
        "rows": point.curve.rows,
        "seconds": point.seconds,
        "resumed": point.resumed,
    }


def _from_json(content: dict[str, Any], figures: dict[str, Tensor]) -> ResumePoint:
    curve = Curve(content["rows"], figures)
    return ResumePoint(content["updates"], curve, tuple(content["seconds"]), content["resumed"])
