"""Describe a dataset as Croissant, the format of MLCommons that data portals and loaders read.

The description names the HDF5 file with its digest. Croissant has no way to read an array out of
HDF5, so a table within the description says which arrays the file holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py

from memdt.data.episode_file import read_metadata
from memdt.errors import UserError
from memdt.files import sha256, write_text

COLUMNS = ("array", "type", "shape", "description")
MEANINGS = {
    "observations": "what was seen before each step",
    "actions": "what was done at each step",
    "rewards": "what was received after each step",
    "offsets": "episode i holds the steps from offsets[i] to offsets[i + 1] - 1",
    "final_observations": "what was seen after the last step of each episode",
    "terminated": "whether the environment ended the episode",
    "truncated": "whether a time limit cut the episode off",
    "seeds": "environment seed of each episode; -1: unknown",
    "groups": "number of each episode's group, among the attribute group_names",
    "later_steps": "steps of each episode that were played and not kept; -1: not to its end",
    "later_returns": "what was received in these steps",
    "labels": "what is learnt at each step instead of the action",
}


def write_croissant(dataset: Path, path: Path, name: str, scale: str) -> None:
    """Write the description of a dataset as JSON-LD, checked by mlcroissant.

    Raises:
        UserError: the dataset is missing or damaged, or mlcroissant is not installed.
    """
    remedy = f"snakemake {dataset} --cores all"
    if not dataset.is_file():
        raise UserError("there is no dataset", str(dataset), remedy)
    metadata = read_metadata(dataset, remedy)
    described = _describe(dataset, metadata, name, scale).to_json()
    write_text(path, json.dumps(described, indent=1, default=str) + "\n")


def _describe(dataset: Path, metadata: dict[str, str], name: str, scale: str) -> Any:
    try:
        import mlcroissant
    except ImportError:
        remedy = "pip install memdt[workflow]"
        raise UserError("mlcroissant is not installed", str(dataset), remedy) from None
    file = mlcroissant.FileObject(
        id=dataset.name, name=dataset.name, content_url=dataset.name, sha256=sha256(dataset),
        content_size=f"{dataset.stat().st_size} B", encoding_formats=["application/x-hdf5"],
        description="all episodes, one step after the other",
    )  # fmt: skip
    # All columns are text: they describe arrays and hold none.
    text = [mlcroissant.DataType.TEXT]
    records = mlcroissant.RecordSet(
        id="arrays", name="arrays", description="the arrays of the file", data=_arrays(dataset),
        fields=[
            mlcroissant.Field(id=f"arrays/{one}", name=one, description=one, data_types=text)
            for one in COLUMNS
        ],
    )  # fmt: skip
    return mlcroissant.Metadata(
        ctx=mlcroissant.Context(conforms_to="http://mlcommons.org/croissant/1.1"),
        name=f"{name}_{scale}",
        description=(
            f"Episodes of {name} at scale {scale}, for offline reinforcement learning. "
            f"Settings {metadata['settings_digest']}, source code {metadata['source_digest']}."
        ),
        version="1.0.0",
        distribution=[file],
        record_sets=[records],
        data_collection=metadata["settings"],
    )


def _arrays(dataset: Path) -> list[dict[str, str]]:
    """A row for each array of the file."""
    with h5py.File(dataset, "r", locking=False) as file:
        arrays = {key: array for key, array in sorted(file.items()) if hasattr(array, "dtype")}
        rows = [
            (key, str(array.dtype), str(list(array.shape)), MEANINGS.get(key, key))
            for key, array in arrays.items()
        ]
    return [
        {f"arrays/{name}": value for name, value in zip(COLUMNS, row, strict=True)} for row in rows
    ]
