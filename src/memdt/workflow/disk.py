"""Estimate the disk space of a plan from existing files and, for the rest, from the settings.

Weights are counted on torch's meta device, which allocates none. Only a whole plan needs the
count, so torch and the environments are imported late.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from memdt.data.sources.size import Size
from memdt.settings.schema import EnvironmentSettings, InputSettings, RunSettings
from memdt.workflow.observations import Observation

BLOCK = 4096  # bytes that even the smallest file takes
FLOAT = 4  # bytes
MOMENTS = 2  # of the optimiser, each as large as the weights (`training/resume.py`)
ROW = 48  # bytes of an evaluation's row, which holds one episode
# Files of a job: its outputs, its measurements, its log and timing, Snakemake's records.
FILES = {"dataset": 5, "training": 9, "evaluation": 7, "other": 5}


def size(path: Path) -> int | None:
    """Bytes of a file; None if it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def parameters(settings: RunSettings) -> int:
    """How many weights the model has."""
    model = json.dumps(settings.model, sort_keys=True)  # as text, so that the count can be cached
    inputs = settings.inputs.model_dump_json()
    return _parameters(model, settings.environment.model_dump_json(), inputs)


def checkpoint_bytes(settings: RunSettings) -> int:
    """Bytes of a stage's checkpoint."""
    return FLOAT * parameters(settings)


def resume_bytes(settings: RunSettings) -> int:
    """Bytes that a running stage keeps to resume from: weights and the optimiser's state."""
    return (1 + MOMENTS) * checkpoint_bytes(settings)


def evaluation_bytes(settings: RunSettings) -> int:
    """Bytes of an evaluation's rows."""
    evaluation = settings.evaluation
    lengths = [len(one.segments or evaluation.segments) for one in evaluation.conditions.values()]
    return ROW * evaluation.episodes * sum(lengths)


def dataset_bytes(size: Size, seen: Observation) -> int:
    """Bytes of observations, actions and rewards; the compressed file is smaller."""
    return size.steps * (seen.bytes + 2 * FLOAT)


@cache
def _parameters(model: str, environment: str, inputs: str) -> int:
    import torch

    from memdt.environments.task import Task
    from memdt.models.building import build

    spaces = Task.of(EnvironmentSettings.model_validate_json(environment)).spaces
    with torch.device("meta"):
        policy = build(json.loads(model), InputSettings.model_validate_json(inputs), spaces)
    return sum(one.numel() for one in policy.parameters())
