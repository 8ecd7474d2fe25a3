"""Checked access to ``metadata.json`` of a Minari data set.

Minari stores a data set ``namespace/name-v0`` in ``<root>/namespace/name-v0/data``. The folder
holds this file, with spaces as JSON text, and ``main_data.hdf5`` (`arrays.py`).

Source: Minari 0.5.4, ``minari/dataset/minari_storage.py``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gymnasium import spaces

from memdt.data.sources.hdf5 import AGAIN
from memdt.data.sources.minari_parts.spaces import from_json
from memdt.errors import UserError

METADATA = "metadata.json"
MAIN = "main_data.hdf5"
WRITTEN_VERSION = "0.5.4"  # `export.py` writes the layout of this version
READ_VERSIONS = ("0.4", "0.5")


@dataclass(frozen=True)
class Metadata:
    """The values of ``metadata.json`` that reading needs."""

    path: Path
    steps: int | None  # None: not given
    observation: spaces.Space[Any]
    action: spaces.Space[Any]


def folder_of(root: Path | str, identifier: str) -> Path:
    """Return the folder that holds the files of a data set."""
    return Path(root).expanduser() / identifier / "data"


def read_metadata(folder: Path) -> Metadata:
    """Read and check the metadata of the data set in ``folder``.

    Raises:
        UserError: the file is missing, damaged, or of an unsupported version or format.
    """
    path = folder / METADATA
    content = _content(path)
    version = str(content.get("minari_version"))
    if ".".join(version.split(".")[:2]) not in READ_VERSIONS:
        supported = " and ".join(READ_VERSIONS)
        what = f"written by Minari {version}; this version of memdt reads {supported}"
        raise UserError(what, str(path), "write it again with one of these")
    data_format = content.get("data_format", "hdf5")
    if data_format != "hdf5":
        remedy = "write it again: minari.create_dataset_from_buffers(..., data_format='hdf5')"
        raise UserError(f"the set is stored as {data_format}, only hdf5 is read", str(path), remedy)
    steps = content.get("total_steps")
    return Metadata(
        path=path,
        steps=steps if isinstance(steps, int) else None,
        observation=_space(path, content, "observation_space"),
        action=_space(path, content, "action_space"),
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("there is no such file", str(path), _known_sets(path)) from None
    except (OSError, ValueError) as error:
        raise UserError(f"not readable as JSON ({error})", str(path), AGAIN) from None
    if not isinstance(content, dict):
        raise UserError("not a mapping of keys to values", str(path), AGAIN)
    return content


def _known_sets(path: Path) -> str:
    """The remedy for a missing data set, with the sets under the nearest folder that exists."""
    folder = path.parent
    if folder.is_dir():
        return f"{AGAIN} with Minari 0.5: earlier versions kept its content elsewhere"
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    sets = sorted(str(file.parents[1]) for file in folder.glob(f"**/data/{METADATA}"))[:5]
    return f"put one there; there are {', '.join(sets)}" if sets else "put one there"


def _space(path: Path, content: dict[str, Any], key: str) -> spaces.Space[Any]:
    if key not in content:
        raise UserError(f"there is no key {key!r}", str(path), AGAIN)
    try:
        return from_json(content[key])
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        what = f"{key} is not a space that can be read ({error})"
        raise UserError(what, str(path), AGAIN) from None
