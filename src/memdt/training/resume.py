"""The state of a stage in the middle: enough to end, after a kill, with the bytes of a run without.

One file in the stage's folder, which Snakemake does not know of and so does not remove:

    policy.*      weights               since.*    score since the last row of the curve
    optimiser.*   averages and steps    metadata   what it belongs to, how far it is, the curve's
    random.*      of every generator               rows, time spent, a checksum of all

Batches and idle segments are functions of the update's number and need no state. No pickle is read.
This module counts for the source digest of training: a fault in it would change results.
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
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from memdt.errors import UserError
from memdt.files import atomic_path
from memdt.set_aside import set_aside
from memdt.training.losses import Score
from memdt.training.optimiser import AdamW

NAME = "resume.safetensors"
FORMAT = "memdt resume state 1"
EVERY = "MEMDT_SAVE_EVERY_SECONDS"
DEFAULT_SECONDS = 60.0


def save_every_seconds() -> float:
    """How often a state is saved; MEMDT_SAVE_EVERY_SECONDS says otherwise, 0 for every update."""
    text = os.environ.get(EVERY, "") or str(DEFAULT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"{text!r} is no number of seconds", EVERY, "0 saves after every update")
    return seconds


def tell(line: str) -> None:
    """A line for people that ends nothing; ``memdt: ...`` would be a failed job's last words."""
    print(f"note: {line}", file=sys.stderr, flush=True)


@dataclass
class Past:
    """What lies behind a stage, beside the tensors of its trainer."""

    updates: int = 0
    rows: list[str] = field(default_factory=list)  # of the curve
    since: Score | None = None  # since the last of these rows
    spent: tuple[float, float] = (0.0, 0.0)  # wall and CPU seconds, by processes before this one
    resumed: int = 0


class _Unfit(Exception):
    """Why a file is not the state of this stage, in words for a person."""


@dataclass(frozen=True)
class _Generator:
    """A source of random numbers: its state as bytes, and how to set it."""

    get: Callable[[], Tensor]
    set: Callable[[Tensor], object]


@dataclass(frozen=True)
class ResumeState:
    """The file of one stage's state, and the tensors that it is saved from and restored to."""

    path: Path
    belongs_to: dict[str, Any]  # what shapes the result; a state of something else is set aside
    policy: nn.Module
    optimiser: AdamW | None  # None: a policy without weights
    noise: torch.Generator

    def save(self, past: Past) -> None:
        """Write the state, whole or not at all: an OSError leaves the one before."""
        tensors = {**self._tensors(), **_score_tensors(past.since)}
        tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
        told = json.dumps({**self._belongs_to(), "past": _as_json(past)}, sort_keys=True)
        checked = {"memdt": told, "sha256": _checksum(told, tensors)}
        # One entry of metadata: several are written in random order.
        content = save(tensors, {"memdt": json.dumps(checked, sort_keys=True)})
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(content)

    def restore(self) -> Past:
        """Go on from the file where it fits; a file that does not is set aside, and told."""
        if not self.path.exists():
            return Past()
        try:
            past, tensors = self._read()
        except _Unfit as why:
            where = set_aside(self.path)
            tell(f"{self.path}: {why}; it is set aside as {where}, the stage begins anew")
            return Past()
        self._fill(tensors)
        past.resumed += 1
        return past

    def remove(self) -> None:
        """For when the stage's outputs are all there."""
        self.path.unlink(missing_ok=True)

    def _belongs_to(self) -> dict[str, Any]:
        # Another torch may draw and add up differently, and one result would come from two.
        return {"format": FORMAT, "torch": str(torch.__version__), **self.belongs_to}

    def _tensors(self) -> dict[str, Tensor]:
        """All tensors that change in training, by their names in the file."""
        optimiser = {} if self.optimiser is None else self.optimiser.state()
        return {
            **{f"policy.{name}": tensor for name, tensor in self.policy.state_dict().items()},
            **{f"optimiser.{name}": tensor for name, tensor in optimiser.items()},
            **{f"random.{name}": draws.get() for name, draws in self._generators().items()},
        }

    def _generators(self) -> dict[str, _Generator]:
        found = {
            "cpu": _Generator(torch.get_rng_state, torch.set_rng_state),
            "noise": _Generator(self.noise.get_state, self.noise.set_state),
        }
        if self.noise.device.type == "cuda":
            found["cuda"] = _Generator(torch.cuda.get_rng_state, torch.cuda.set_rng_state)
        return found

    def _fill(self, tensors: dict[str, Tensor]) -> None:
        def of(part: str) -> dict[str, Tensor]:
            named = ((name.partition("."), tensor) for name, tensor in tensors.items())
            return {name: tensor for (first, _, name), tensor in named if first == part}

        self.policy.load_state_dict(of("policy"))
        if self.optimiser is not None:
            self.optimiser.load_state(of("optimiser"))
        for name, draws in self._generators().items():
            draws.set(tensors[f"random.{name}"])

    def _read(self) -> tuple[Past, dict[str, Tensor]]:
        """The file's content, with every reason to refuse it found before anything is filled."""
        told, tensors = _read_whole(self.path)
        past = told.pop("past", {})
        wanted = self._belongs_to()
        if told != wanted:
            names = sorted(key for key in {*told, *wanted} if told.get(key) != wanted.get(key))
            raise _Unfit(f"the resume state of something else, it differs in {', '.join(names)}")
        scores = {name: tensors[name] for name in tensors if name.startswith("since.")}
        if _shapes(self._tensors()) != _shapes({k: tensors[k] for k in tensors if k not in scores}):
            raise _Unfit("the resume state of another model")
        return _from_json(past, scores, self.noise.device), tensors


def _read_whole(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            outer = json.loads((file.metadata() or {}).get("memdt", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = outer["memdt"]
        whole = outer["sha256"] == _checksum(told, tensors)
        content = json.loads(told)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Unfit(f"not a whole resume state ({type(error).__name__})") from None
    if not whole:
        raise _Unfit("a damaged resume state, its checksum does not fit")
    return content, tensors


def _checksum(told: str, tensors: dict[str, Tensor]) -> str:
    """Over metadata and tensors: a length that is right does not make the content so."""
    digest = hashlib.sha256(told.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _score_tensors(score: Score | None) -> dict[str, Tensor]:
    return {} if score is None else {"since.loss": score.loss, "since.correct": score.correct}


def _as_json(past: Past) -> dict[str, Any]:
    steps = None if past.since is None else past.since.steps
    return {**vars(past), "since": steps}


def _from_json(past: dict[str, Any], scores: dict[str, Tensor], device: torch.device) -> Past:
    since = None
    if past["since"] is not None:
        loss, correct = (scores[f"since.{name}"].to(device) for name in ("loss", "correct"))
        since = Score(loss, correct, past["since"])
    return Past(**{**past, "since": since, "spent": tuple(past["spent"])})
