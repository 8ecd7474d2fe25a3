"""Derive named random streams from one seed, so that extra draws in one do not affect another."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def stream(seed: int, *name: str | int) -> int:
    """A seed for a named stream: weights, batches, rollout, ...

    >>> stream(0, "weights") != stream(0, "batches")
    True
    """
    # Not `hash`, which differs from process to process. 63 bits fit a signed integer.
    words = [zlib.crc32(str(part).encode()) for part in name]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)[0] >> 1)


def generator(seed: int, *name: str | int, device: str = "cpu") -> torch.Generator:
    """A torch generator of a named stream."""
    return torch.Generator(device=device).manual_seed(stream(seed, *name))
