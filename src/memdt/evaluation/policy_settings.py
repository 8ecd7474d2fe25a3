"""What a policy needs beside its weights to be played, read from a run or from an exported folder.

An exported folder holds it in ``settings.json``. In a run it follows from the metadata of the
checkpoint and, where the run has been evaluated, from ``evaluation_manifest.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from memdt.data.sources.minari_parts.spaces import as_json, from_json
from memdt.environments.spaces import Spaces
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.files import sha256
from memdt.provenance import read_manifest
from memdt.settings.schema import DemonstrationSettings, Frozen, InputSettings

FORMAT = "memdt policy 1"
SETTINGS, WEIGHTS = "settings.json", "policy.safetensors"
CHECKPOINT = "checkpoint.safetensors"  # of a stage
EVALUATION = "evaluation_manifest.json"  # of a run


class PolicySettings(Frozen):
    """The content of ``settings.json``."""

    format: Literal["memdt policy 1"] = "memdt policy 1"
    module: str = Field(description="the module under memdt.environments")
    parameters: dict[str, Any] = Field(description="of that module")
    observation_space: dict[str, Any] = Field(description="as Minari writes spaces")
    action_space: dict[str, Any] = Field(description="as Minari writes spaces")
    model: dict[str, Any] = Field(description="with the name of its module under memdt.models")
    inputs: InputSettings = InputSettings()
    segment_length: int = Field(gt=0, description="steps")
    trained_segments: int = Field(gt=0, description="segments of the longest training episodes")
    target_return: float | None = Field(description="null: the run has not been evaluated")
    action_selection: Literal["greedy", "sampled"] = "greedy"
    weights: str = Field(description="SHA-256 of the file of weights")

    @property
    def spaces(self) -> Spaces:
        """The spaces of observations and actions; no simulator is needed."""
        return Spaces(from_json(self.observation_space), from_json(self.action_space))

    @property
    def demonstration_steps(self) -> int:
        """Steps of the demonstration that the model reads; 0: it reads none."""
        return int(self.model.get("demonstration_steps", 0))

    @property
    def demonstration(self) -> DemonstrationSettings:
        """Which part of another episode the model reads."""
        known = {k: self.model[k] for k in DemonstrationSettings.model_fields if k in self.model}
        return DemonstrationSettings(**known)

    @property
    def task(self) -> Task:
        """The environment as it was configured; UserError where its simulator is not installed."""
        task = Task.named(self.module, self.parameters)
        if task.missing:
            what = f"needs {', '.join(task.missing)}, which is not installed"
            raise UserError(what, f"environment {self.module}", "pip install memdt[simulators]")
        return task

    def as_text(self) -> str:
        """Return the settings as JSON; the same settings give the same text."""
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"


def read(folder: Path) -> PolicySettings:
    """Read the settings of an exported folder; UserError where they are damaged."""
    path = folder / SETTINGS
    try:
        settings = PolicySettings.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        what = f"not the settings of an exported policy ({reason})"
        raise UserError(what, str(path), "export the run again") from None
    return settings


def of_checkpoint(path: Path, metadata: Mapping[str, Any]) -> PolicySettings:
    """Derive the settings from a stage's checkpoint, and from its run where that is evaluated."""
    trained = metadata["settings"]
    evaluation = path.absolute().parents[1] / EVALUATION
    recorded = read_manifest(evaluation)["settings"] if evaluation.is_file() else {}
    evaluated = recorded.get("evaluation", {})
    environment = recorded or trained["dataset"]
    task = Task.named(environment["module"], environment["parameters"])
    spaces = task.spaces
    return PolicySettings(
        module=environment["module"],
        parameters=environment["parameters"],
        observation_space=json.loads(as_json(spaces.observation)),
        action_space=json.loads(as_json(spaces.action)),
        model=trained["model"],
        inputs=InputSettings(**trained.get("inputs", {})),
        segment_length=trained["segment_length"],
        trained_segments=trained["stages"][-1]["segments"],
        target_return=evaluated.get("target_return"),
        action_selection=evaluated.get("action_selection", "greedy"),
        weights=sha256(path),
    )
