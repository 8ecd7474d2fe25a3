"""Write a dataset as a Minari data set, which ``minari.load_dataset`` opens.

The same dataset gives the same bytes. Frames are stored unchanged, not as JPEG. Minari has no
fields for some of our data. These become attributes of an episode (``group``; also ``later_steps``,
``later_return``, ``terminated`` and ``truncated`` if only the first steps were kept). Labels to
learn instead of the actions become ``infos/label``. The source ``minari`` reads all of these.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Shaped

from memdt.data.episode_file import read_all_but_observations
from memdt.data.episodes import NO_SEED, Episode, EpisodeStore
from memdt.data.sources.minari_parts.metadata import MAIN, METADATA, WRITTEN_VERSION, folder_of
from memdt.data.sources.minari_parts.spaces import as_json
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.progress import Progress

LABEL = "label"  # under infos
NAMESPACE = "namespace_metadata.json"
SMALL = 2**16  # bytes; compressing a smaller array costs more than it saves
_IDENTIFIER = re.compile(r"(?:[-\w]{2,}/)*[-\w]+-v\d+")


def export(
    dataset: Path,
    settings_digest: str | None,
    task: Task,
    root: Path,
    identifier: str,
    about: Mapping[str, Any],
) -> Path:
    """Write a dataset atomically to a folder of Minari data sets.

    Args:
        dataset: the HDF5 file.
        settings_digest: of the settings that it must have been made with; None skips this check.
        task: the environment of its episodes.
        root: the folder of data sets, ``MINARI_DATASETS_PATH`` of the package minari.
        identifier: of the new set, such as ``tmaze/oracle-v0``.
        about: further keys of ``metadata.json``: author, description, ...

    Returns:
        The folder of the new set.

    Raises:
        UserError: the dataset is missing or damaged, or the identifier is invalid or taken.
    """
    if not _IDENTIFIER.fullmatch(identifier):
        what = f"{identifier!r} is not a valid id of a Minari data set"
        raise UserError(what, "--id", "such as tmaze/oracle-v0")
    folder = folder_of(root, identifier)
    if folder.parent.exists():
        raise UserError("there is already a data set", str(folder.parent), "give another --id")
    folder.parent.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.parent.name}.", dir=folder.parents[1]))
    try:
        (temporary / "data").mkdir()
        remedy = f"snakemake {dataset} --cores all"
        store, _ = read_all_but_observations(dataset, settings_digest, remedy)
        _write_episodes(dataset, store, temporary / "data" / MAIN)
        metadata = {**_metadata(task, store, identifier), **about}
        text = json.dumps(metadata)
        (temporary / "data" / METADATA).write_text(text, encoding="utf-8")
        # mkdtemp makes a folder that nobody else may read.
        temporary.chmod(0o755)
        os.replace(temporary, folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    # Minari expects a file in every namespace: the set a/b/c-v0 lies in a and in a/b.
    names = identifier.split("/")[:-1]
    for end in range(len(names)):
        namespace = folder_of(root, "/".join(names[: end + 1])).parent / NAMESPACE
        if not namespace.exists():
            namespace.write_text("{}", encoding="utf-8")
    return folder.parent


def _metadata(task: Task, store: EpisodeStore, identifier: str) -> dict[str, Any]:
    environment = task.module.make(task.settings)
    environment.close()
    metadata: dict[str, Any] = {
        "total_episodes": len(store),
        "total_steps": len(store.rewards),
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "observation_space": as_json(task.spaces.observation),
        "action_space": as_json(task.spaces.action),
        "dataset_id": identifier,
        "minari_version": WRITTEN_VERSION,
    }
    if environment.spec is not None:
        metadata["env_spec"] = environment.spec.to_json()
    return metadata


def _write_episodes(dataset: Path, store: EpisodeStore, path: Path) -> None:
    """Write one episode after the other, because all frames may not fit in memory."""
    progress = Progress(f"export {dataset.stem}", len(store), unit="episodes")
    with (
        h5py.File(dataset, "r", locking=False) as source,
        h5py.File(path, "w", libver=("v110", "v110"), track_order=False, locking=False) as file,
    ):
        on_disk = replace(store, observations=source["observations"])
        for number, episode in enumerate(on_disk):
            group = file.create_group(f"episode_{number}")
            _write_attributes(group, number, episode, store)
            _write_arrays(group, episode, bool(store.later_steps[number]))
            infos = group.create_group("infos")  # Minari cannot read an episode without it
            if store.labels is not None:
                steps = slice(store.offsets[number], store.offsets[number + 1])
                _write(infos, LABEL, store.labels[steps])
            progress.update(number + 1)


def _write_attributes(
    group: h5py.Group, number: int, episode: Episode, store: EpisodeStore
) -> None:
    group.attrs["id"] = number
    group.attrs["total_steps"] = len(episode)
    group.attrs["group"] = episode.group
    if episode.seed != NO_SEED:
        group.attrs["seed"] = episode.seed
    if store.later_steps[number]:
        group.attrs["later_steps"] = store.later_steps[number]
        group.attrs["later_return"] = store.later_returns[number]
        group.attrs["terminated"] = episode.terminated
        group.attrs["truncated"] = episode.truncated


def _write_arrays(group: h5py.Group, episode: Episode, continues: bool) -> None:
    """``continues``: the episode has steps after the last kept one."""
    last = np.arange(len(episode)) == len(episode) - 1
    observations = np.concatenate([episode.observations, episode.final_observation[None]])
    _write(group, "observations", observations)
    _write(group, "actions", episode.actions)
    _write(group, "rewards", episode.rewards)
    # To readers other than memdt, an episode with later steps must look cut off, not terminated.
    _write(group, "terminations", last & (episode.terminated and not continues))
    _write(group, "truncations", last & (episode.truncated or continues))


def _write(group: h5py.Group, name: str, array: Shaped[np.ndarray, "rows ..."]) -> None:
    compression = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
    options = compression if array.nbytes >= SMALL else {}
    group.create_dataset(name, data=array, track_times=False, **options)
