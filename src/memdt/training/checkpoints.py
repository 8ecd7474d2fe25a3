"""Weights on disk, as safetensors files with one metadata entry.

Loading never reads a pickle, and refuses a checkpoint that does not fit the run. Metadata is a
single JSON string, because safetensors writes several keys in random order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from memdt.errors import UserError
from memdt.files import atomic_path
from memdt.provenance import check_described

FORMAT = "memdt checkpoint 1"
MANIFEST = "manifest.json"


def save_checkpoint(policy: nn.Module, path: Path, metadata: dict[str, Any]) -> None:
    """Write the weights of a policy, whole or not at all; UserError where one is no number."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in policy.state_dict().items()}
    _check_numbers(weights, path, "lower training.learning_rate, or look at the dataset")
    text = json.dumps({"format": FORMAT, **metadata}, sort_keys=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(weights, {"memdt": text}))


def load_checkpoint(
    policy: nn.Module, path: Path, settings_digest: str, remedy: str
) -> dict[str, Any]:
    """Load the weights of a checkpoint into a policy, and return the checkpoint's metadata.

    Raises UserError, with ``remedy``, where the file is missing, truncated, not ours, not what the
    manifest beside it describes, holds NaN or infinity, or was made by other settings than
    ``settings_digest`` stands for.
    """
    metadata, weights = read_checkpoint(path, remedy)
    made_with = metadata["settings_digest"]
    if made_with != settings_digest:
        what = f"trained with settings {made_with}, this run asks for {settings_digest}"
        raise UserError(what, str(path), remedy)
    fill(policy, weights, path)
    return metadata


def fill(policy: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Load weights of the file ``path`` into a policy; UserError if they do not fit."""
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        # The settings are the same, so the spaces of the environment must differ.
        what = "its weights do not fit where observations or actions have other sizes"
        raise UserError(what, str(path), "name an environment of the same spaces") from error


def _check_numbers(weights: dict[str, Tensor], path: Path, remedy: str) -> None:
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"{name} holds what is no finite number", str(path), remedy)


def read_checkpoint(path: Path, remedy: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the metadata and the weights of a checkpoint.

    Raises UserError with ``remedy`` if the file is missing, truncated, of another format, not what
    the manifest beside it describes, or holds NaN or infinity.
    """
    if not path.is_file():
        raise UserError("no such checkpoint", str(path), remedy)
    check_described(path, MANIFEST, remedy)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("memdt", "{}"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        what = f"not a whole checkpoint ({type(error).__name__})"
        raise UserError(what, str(path), remedy) from None
    if metadata.get("format") != FORMAT:
        raise UserError("not a checkpoint of this project", str(path), remedy)
    _check_numbers(weights, path, remedy)
    return metadata, weights
