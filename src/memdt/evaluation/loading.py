"""``memdt.load``: a trained policy from a run, a checkpoint or an exported folder."""

from __future__ import annotations

from pathlib import Path

import torch

from memdt.device import default_device
from memdt.errors import UserError
from memdt.evaluation import policy_settings
from memdt.evaluation.player import Player
from memdt.evaluation.policy_settings import CHECKPOINT, EVALUATION, SETTINGS, WEIGHTS
from memdt.files import sha256
from memdt.models.building import build
from memdt.training.checkpoints import fill, read_checkpoint

REMEDY = "give the folder of a run, a checkpoint.safetensors, or a folder of memdt export policy"


def load(
    path: str | Path,
    *,
    target_return: float | None = None,
    greedy: bool | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> Player:
    """Load a trained policy.

    Args:
        path: the folder of a run or of one of its stages, a ``checkpoint.safetensors``, or a folder
            that ``memdt export policy`` has written.
        target_return: return asked for at the first step; as the run was evaluated if not given.
        greedy: take the best action instead of a drawn one; as evaluated if not given.
        seed: of drawn actions.
        device: that of ``memdt.device.default_device`` if not given.

    Raises:
        UserError: nothing to load is there, or the files are damaged or do not belong together.
    """
    weights = find(Path(path))
    metadata, tensors = read_checkpoint(weights, REMEDY)
    exported = weights.name == WEIGHTS
    settings = (
        policy_settings.read(weights.parent)
        if exported
        else policy_settings.of_checkpoint(weights, metadata)
    )
    if sha256(weights) != settings.weights:
        raise UserError(f"not the weights that {SETTINGS} names", str(weights), "export it again")
    target = settings.target_return if target_return is None else target_return
    if target is None:
        raise UserError(
            "its run has not been evaluated, so no target return is known", str(weights),
            "give one: memdt.load(..., target_return=1.0)",
        )  # fmt: skip
    policy = build(settings.model, settings.inputs, settings.spaces)
    fill(policy, tensors, weights)
    policy = policy.to(default_device() if device is None else torch.device(device)).eval()
    best = settings.action_selection == "greedy" if greedy is None else greedy
    return Player(policy, settings, float(target), best, seed)


def find(path: Path) -> Path:
    """Return the file of weights that a path stands for; of a run that of its last stage."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError("there is no such file or folder", str(path), REMEDY)
    for name in (WEIGHTS, CHECKPOINT):
        if (path / name).is_file():
            return path / name
    stages = {
        int(file.parent.name.partition("_")[2]): file
        for file in path.glob(f"stage_*/{CHECKPOINT}")
        if file.parent.name.partition("_")[2].isdecimal()
    }
    if stages:
        return stages[max(stages)]
    if (path / EVALUATION).is_file():
        what = "this run plays the checkpoints of another one (checkpoint_of)"
        raise UserError(what, str(path), "name the run that was trained")
    raise UserError("there is no checkpoint in this folder", str(path), REMEDY)
