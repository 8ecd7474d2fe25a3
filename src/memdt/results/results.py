"""Load the files of runs as tidy frames: episodes, training curves and manifests.

Everything that the report shows (`results/tables.py`, `results/claims.py`, `figures/`) reads
`data/runs/{scale}/…` here. A run that has not finished has no file and is simply absent. A broken
file is an error, because leaving it out would quietly shrink the sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from memdt import paths
from memdt.environments.outcomes import OUTCOMES
from memdt.errors import UserError, closest
from memdt.evaluation import episode_table
from memdt.evaluation.recordings import Recording, read_recording
from memdt.provenance import check_described, read_manifest
from memdt.results import metric_names
from memdt.results.metric_names import MetricName
from memdt.training.curve import FIXED_COLUMNS

CELL_KEYS = ("experiment", "variant", "condition", "segments")
MANIFEST_KEYS = ("experiment", "variant", "seed", "step", "path")

Variants = Mapping[str, Sequence[int]] | Sequence[str]


@dataclass(frozen=True)
class RunFiles:
    """One variant with one seed, and the folder of its files."""

    experiment: str
    variant: str
    seed: int
    folder: Path

    @property
    def keys(self) -> dict[str, str | int]:
        """The columns that every row of this run carries."""
        return {"experiment": self.experiment, "variant": self.variant, "seed": self.seed}


def find_runs(
    scale: str, experiment: str, variants: Variants, root: Path = Path(".")
) -> list[RunFiles]:
    """The runs of some variants, whether or not they have written anything yet.

    ``variants`` either maps each variant to its seeds, or lists variants, of which all seeds with a
    folder are taken.
    """
    return [
        RunFiles(experiment, variant, seed, root / paths.run(scale, experiment, variant, seed))
        for variant, seeds in _with_seeds(scale, experiment, variants, root)
        for seed in seeds
    ]


def load_episodes(
    scale: str,
    experiment: str,
    variants: Variants,
    root: Path = Path("."),
    metrics: Sequence[str] = (),
) -> pd.DataFrame:
    """One row per evaluation episode: experiment, variant, seed, then columns of episodes.csv.

    ``return`` is undiscounted, ``steps`` are environment steps. ``success`` (0 or 1) and ``score``
    exist if the environment defines them. After ``group`` come its other measures, and the columns
    that ``metrics`` need, which only recorded episodes have.

    Raises:
        UserError: if a file is truncated or foreign, holds an episode twice, or is the recording of
            other episodes.
    """
    runs = find_runs(scale, experiment, variants, root)
    late = metric_names.late(metrics)
    frames = [_episodes_of(run, late) for run in runs if _episodes_path(run).is_file()]
    outcomes = [name for name in OUTCOMES if any(name in frame for frame in frames)]
    measures = dict.fromkeys(measure for frame in frames for measure in measures_in(frame))
    columns = ("experiment", "variant", "seed", *episode_table.columns(outcomes, [*measures]))
    return _joined(frames, columns)


def measures_in(episodes: pd.DataFrame) -> list[str]:
    """The environment's own measures: no outcomes, and no columns that all episodes have."""
    known = {"experiment", "variant", "seed", *episode_table.columns(tuple(OUTCOMES), ())}
    return [column for column in episodes.columns if column not in known]


def load_curves(
    scale: str, experiment: str, variants: Variants, root: Path = Path(".")
) -> pd.DataFrame:
    """One row per logged update, all stages of a run in order.

    Columns: experiment, variant, seed, stage, update, segments, then those of the runs' learners,
    NaN if a run has no such column. A loss that diverged is a result, not an error; it is NaN.
    """
    frames = [
        _curve_of(run, path)
        for run in find_runs(scale, experiment, variants, root)
        for path in _stage_files(run, "curve.csv")
    ]
    columns = ("experiment", "variant", "seed", *FIXED_COLUMNS)
    own = dict.fromkeys(name for frame in frames for name in frame if name not in columns)
    return _joined(frames, (*columns, *own))


def _curve_of(run: RunFiles, path: Path) -> pd.DataFrame:
    frame = _numbers(path, FIXED_COLUMNS, FIXED_COLUMNS, further=True)
    check_described(path, "manifest.json", _remedy(path))
    return frame.assign(**run.keys)


def load_manifests(
    scale: str, experiment: str, variants: Variants, root: Path = Path(".")
) -> pd.DataFrame:
    """One row per finished job: experiment, variant, seed, step, then the manifest's keys.

    ``step`` is training (one row per stage) or evaluation, ``path`` that of the manifest. Nested
    values (settings, packages) stay dictionaries. A variant that is evaluated from another
    experiment's checkpoints has no stages of its own, so no rows of training.
    """
    rows = [
        {**run.keys, "step": step, "path": str(path), **_manifest_of(run, path)}
        for run in find_runs(scale, experiment, variants, root)
        for step, path in _manifest_files(run)
    ]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(MANIFEST_KEYS))


def per_seed(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The value of ``metric`` (`metric_names.py`) in each seed: the sample behind every interval.

    Columns: experiment, variant, condition, segments, seed, value, episodes (their number). Cells
    keep the order of their first appearance, seeds ascend. A share of nothing is NaN, and so is an
    imbalance if a group has no episodes. UserError if the frame lacks a column or a group.
    """
    name = metric_names.parse(metric)
    keys = [*CELL_KEYS, "seed"]
    if frame.empty:
        return pd.DataFrame(columns=[*keys, "value", "episodes"])
    episodes = _episodes_with(frame, metric, name)
    if episodes.empty:
        return pd.DataFrame(columns=[*keys, "value", "episodes"])
    values = _values(episodes, name, keys)
    order = values.groupby(list(CELL_KEYS), sort=False).ngroup()
    ordered = values.assign(_cell=order).sort_values(["_cell", "seed"], kind="stable")
    return ordered.drop(columns="_cell").reset_index(drop=True)


def _episodes_with(frame: pd.DataFrame, metric: str, name: MetricName) -> pd.DataFrame:
    """The episodes that a metric covers; environments that do not measure it have none."""
    outcomes = [name for name in OUTCOMES if name in frame]
    present = (*metric_names.EVERYWHERE, *outcomes, *measures_in(frame))
    metric_names.refuse_unknown(metric, name, present)
    if not set(name.columns) <= set(frame.columns):
        return frame.iloc[:0]  # nothing was recorded
    frame = frame.dropna(subset=list(name.columns))
    if not (name.group or name.imbalance):
        return frame
    groups = list(frame["group"].unique())
    if name.group and name.group not in groups:
        raise UserError(f"no group {name.group!r}", f"metric {metric}", closest(name.group, groups))
    if name.imbalance and len(groups) < 2:
        raise UserError("there is only one group", f"metric {metric}", "leave it out here")
    return frame[frame["group"] == name.group] if name.group else frame


def _values(frame: pd.DataFrame, name: MetricName, keys: list[str]) -> pd.DataFrame:
    """A metric's value by ``keys``: columns ``keys``, value and episodes."""
    if name.imbalance:
        groups = _values(frame, replace(name, imbalance=False), [*keys, "group"])
        sides = groups.groupby(keys, sort=False)
        value = sides["value"].max() - sides["value"].min()
        value[sides["value"].count() < frame["group"].nunique()] = math.nan
        return pd.DataFrame({"value": value, "episodes": sides["episodes"].sum()}).reset_index()
    grouped = frame.groupby(keys, sort=False)
    value, *others = (grouped[column].mean() for column in name.columns)
    # A share of all episodes' counts: a share by episode has no value where nothing was counted.
    for other in others:
        value = value / (value + other)
    return pd.DataFrame({"value": value, "episodes": grouped.size()}).reset_index()


def _with_seeds(
    scale: str, experiment: str, variants: Variants, root: Path
) -> Iterator[tuple[str, Sequence[int]]]:
    if isinstance(variants, Mapping):
        yield from variants.items()
        return
    for variant in variants:
        folder = root / paths.run(scale, experiment, variant, 0).parent
        names = (path.name for path in folder.glob("seed_*") if path.is_dir())
        numbers = (name.removeprefix("seed_") for name in names)
        yield variant, sorted(int(number) for number in numbers if number.isdecimal())


def _episodes_path(run: RunFiles) -> Path:
    return run.folder / "episodes.csv"


def _episodes_of(run: RunFiles, late: Mapping[str, tuple[str, int]]) -> pd.DataFrame:
    path = _episodes_path(run)
    frame = _numbers(path, episode_table.FIRST, episode_table.FIRST, further=True)
    _refuse(episode_table.GROUP not in frame, path, "there is no column 'group'")
    _refuse(bool(frame.isna().any(axis=None)), path, "a value is missing")
    real = frame.select_dtypes("number")
    _refuse(not np.isfinite(real).all(axis=None), path, "a value is no finite number")
    if "success" in frame:
        _refuse(not frame["success"].isin((0, 1)).all(), path, "success must be 0 or 1")
    twice = frame.duplicated(["condition", "segments", "episode"]).any()
    _refuse(bool(twice), path, "an episode is there twice")
    check_described(path, "evaluation_manifest.json", _remedy(path))
    recorded = run.folder / "recording.npz"
    if late and recorded.is_file():
        frame = _with_recorded(frame, recorded, late)
    return frame.assign(**run.keys)


def _with_recorded(
    frame: pd.DataFrame, path: Path, late: Mapping[str, tuple[str, int]]
) -> pd.DataFrame:
    """Add the columns counted after some step to the episodes that were recorded."""
    recording = read_recording(path)
    plain = frame["condition"] == "as_published"
    if not plain.any():
        plain = frame["condition"] == frame["condition"].iloc[0]
    longest = frame[plain & (frame["segments"] == frame.loc[plain, "segments"].max())]
    rows = longest.reset_index().set_index("environment_seed").reindex(recording.seeds)
    same = np.array_equal(rows["steps"].to_numpy(), recording.lengths)
    _refuse(not same, path, "it was recorded of other episodes")
    counted = {
        column: pd.Series(_after(recording, *what), rows["index"]) for column, what in late.items()
    }
    return frame.assign(**counted)


def _after(recording: Recording, measure: str, step: int) -> Int[np.ndarray, " episodes"]:
    """The count of ``measure`` after the first ``step`` steps of each recorded episode."""
    counts = recording.measure(measure)
    return np.asarray(counts[-1] - counts[min(step, len(counts) - 1)])


def _stage_files(run: RunFiles, name: str) -> list[Path]:
    files = [path for path in run.folder.glob(f"stage_*/{name}") if _stage_number(path.parent)]
    return sorted(files, key=lambda path: _stage_number(path.parent))


def _stage_number(folder: Path) -> int:
    """Number of a stage's folder, 0 for any other folder (stages count from 1)."""
    number = folder.name.removeprefix("stage_")
    return int(number) if number.isdecimal() else 0


def read_csv(
    path: Path | str, columns: Sequence[str], further: bool = False, **options: Any
) -> pd.DataFrame:
    """Read a CSV file with these columns, and others after them only if ``further`` is true.

    ``options`` are those of `pandas.read_csv`. UserError, with the command that makes the file
    anew, if it is truncated or foreign.
    """
    file = Path(path)
    frame = _parse(file, options)
    # pandas turns the first column into an index where rows are longer than the header.
    header = list(frame.columns)[: len(columns) if further else None]
    shaped = header == list(columns) and isinstance(frame.index, pd.RangeIndex)
    _refuse(not shaped, file, f"expected the columns {','.join(columns)}")
    return frame


def _parse(path: Path, options: Mapping[str, Any]) -> pd.DataFrame:
    try:
        text = path.read_text(encoding="utf-8")
        # pandas reads a last row that was cut off inside a number as if it were whole.
        _refuse(not text.endswith("\n"), path, "the file is truncated")
        return pd.read_csv(StringIO(text), **options)
    except (OSError, ValueError) as error:  # pandas' own and UnicodeDecodeError are ValueErrors
        raise UserError(f"no table of values: {error}", str(path), _remedy(path)) from error


def _numbers(
    path: Path, columns: Sequence[str], filled: Sequence[str], further: bool = False
) -> pd.DataFrame:
    """Read a CSV of numbers, and refuse gaps in the columns ``filled``."""
    frame = read_csv(path, columns, further, dtype=dict.fromkeys(episode_table.TEXTS, str))
    _refuse(frame.empty, path, "the file has no rows")
    _refuse(bool(frame[list(filled)].isna().any(axis=None)), path, "a value is missing")
    numbers = frame.drop(columns=list(episode_table.TEXTS), errors="ignore")
    numeric = map(pd.api.types.is_numeric_dtype, numbers.dtypes)
    _refuse(not all(numeric), path, "a value is no number")
    return frame


def _manifest_files(run: RunFiles) -> list[tuple[str, Path]]:
    """The existing manifests of a run, each with its step, in the order of the jobs."""
    evaluation = run.folder / "evaluation_manifest.json"
    training = [("training", path) for path in _stage_files(run, "manifest.json")]
    return [*training, *([("evaluation", evaluation)] if evaluation.is_file() else [])]


def _manifest_of(run: RunFiles, path: Path) -> dict[str, object]:
    manifest = read_manifest(path)
    _refuse(manifest.get("seed") != run.seed, path, f"not the manifest of seed {run.seed}")
    return manifest


def _refuse(wrong: bool, path: Path, what: str) -> None:
    if wrong:
        raise UserError(what, str(path), _remedy(path))


def _remedy(path: Path) -> str:
    return f"make it anew: snakemake {path} --force --cores all"


def _joined(frames: Iterable[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    present = list(frames)
    if not present:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(present, ignore_index=True)[list(columns)]
