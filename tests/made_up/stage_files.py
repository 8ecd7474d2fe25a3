"""What a training stage leaves, as tests compare it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

from memdt.training.resume import NAME


def result(folder: Path | str) -> dict[str, bytes]:
    return {name: (Path(folder) / name).read_bytes() for name in ("checkpoint.safetensors",
            "curve.csv")}  # fmt: skip


def state(folder: Path) -> dict[str, Any]:
    """The metadata of a resume state."""
    with safe_open(folder / NAME, framework="pt") as file:
        outer = json.loads(file.metadata()["memdt"])
    metadata: dict[str, Any] = json.loads(outer["memdt"])
    return metadata
