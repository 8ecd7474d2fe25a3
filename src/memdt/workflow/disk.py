"""How much of a disk a plan takes: bytes of what is there, and what the settings say of the rest.

Weights are counted on torch's meta device, which holds none. Nothing but a whole plan asks for
this, so torch and the environments are imported late.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from memdt.data.sources.size import Size
from memdt.settings.schema import EnvironmentSettings, RunSettings
from memdt.workflow.observations import Observation

BLOCK = 4096  # what the smallest file takes
FLOAT = 4
MOMENTS = 2  # of the optimiser, each as large as the weights (`training/resume.py`)
ROW = 48  # of an evaluation, an episode a row
# Files of a job: what it writes, what was measured, its log and timing, Snakemake's records.
FILES = {"dataset": 5, "training": 9, "evaluation": 7, "other": 5}


def size(path: Path) -> int | None:
    """Bytes of a file; None where it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def parameters(settings: RunSettings) -> int:
    """Weights of the model."""
    return _parameters(_text(settings.model), settings.environment.model_dump_json())


def checkpoint_bytes(settings: RunSettings) -> int:
    """A stage's weights."""
    return FLOAT * parameters(settings)


def resume_bytes(settings: RunSettings) -> int:
    """What a stage keeps while it runs, to go on from: weights and the optimiser's state."""
    return (1 + MOMENTS) * checkpoint_bytes(settings)


def evaluation_bytes(settings: RunSettings) -> int:
    """All rows of an evaluation."""
    evaluation = settings.evaluation
    lengths = [len(one.segments or evaluation.segments) for one in evaluation.conditions.values()]
    return ROW * evaluation.episodes * sum(lengths)


def dataset_bytes(size: Size, seen: Observation) -> int:
    """Observations, actions and rewards that are kept; the file is compressed, and smaller."""
    return size.steps * (seen.bytes + 2 * FLOAT)


@cache
def _parameters(model: str, environment: str) -> int:
    import torch

    from memdt import discovery
    from memdt.environments.task import Task

    content = json.loads(model)
    module = discovery.load("memdt.models", content["name"])
    spaces = Task.of(EnvironmentSettings.model_validate_json(environment)).spaces
    with torch.device("meta"):
        policy = module.build(module.Settings(**content), spaces)
    return sum(one.numel() for one in policy.parameters())


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True)
