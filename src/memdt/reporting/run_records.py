"""What the manifests say: cost of every variant, and how all the results came about.

Between the manifests that training and evaluation wrote and `reporting/render.py`. A manifest
describes one job; here they are summed by variant and compared, so that the report shows what all
share once and what differs as a list.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from memdt.errors import UserError
from memdt.reporting.results import find_runs, load_manifests

KEYS = ["experiment", "variant", "seed"]
COST_COLUMNS = (
    "experiment", "variant", "runs", "parameters", "updates", "updates_per_second",
    "training_wall", "training_cpu", "evaluation_wall", "evaluation_cpu", "peak_memory",
)  # fmt: skip
PROVENANCE = {
    "git_commit": "git commit",
    "git_dirty": "uncommitted changes",
    "source_digest": "source digest",
    "python": "Python",
    "platform": "platform",
    "cpu": "CPU",
    "device": "device",
    "device_name": "device name",
    "threads": "threads",
    "seed": "seeds",
}

Seeds = Mapping[str, Mapping[str, Sequence[int]]]  # experiment -> variant -> seeds


def load_records(scale: str, seeds: Seeds) -> pd.DataFrame:
    """One row a job: experiment, variant, seed, step (training or evaluation), its manifest."""
    frames = [_of_experiment(scale, name, variants) for name, variants in seeds.items()]
    found = [frame for frame in frames if not frame.empty]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[*KEYS, "step"])


def _of_experiment(scale: str, name: str, variants: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Both steps of all runs of an experiment, its variants in their order."""
    training = load_manifests(scale, name, variants).assign(step="training")
    evaluation = pd.DataFrame(_evaluations(scale, name, variants))
    found = [frame for frame in (training, evaluation) if not frame.empty]
    if not found:
        return training
    order = list(variants)
    return pd.concat(found, ignore_index=True).sort_values(
        "variant", key=lambda names: names.map(order.index), kind="stable"
    )


def _evaluations(
    scale: str, name: str, variants: Mapping[str, Sequence[int]]
) -> list[dict[str, Any]]:
    files = [
        (run, run.folder / "evaluation_manifest.json") for run in find_runs(scale, name, variants)
    ]
    return [
        {**run.keys, "step": "evaluation", **_read(path)} for run, path in files if path.is_file()
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        remedy = f"make it anew: snakemake {path.parent / 'episodes.csv'} --force --cores all"
        raise UserError(f"no JSON: {error.msg}", str(path), remedy) from error
    return {key: value for key, value in content.items() if key not in ("seed", "settings")}


def cost(records: pd.DataFrame) -> pd.DataFrame:
    """One row a variant with COST_COLUMNS: seconds are sums over all its jobs, memory the largest.

    ``updates`` counts those of one run, ``updates_per_second`` is the mean over stages and seeds.
    """
    rows = [
        _cost_of(str(experiment), str(variant), group)
        for (experiment, variant), group in records.groupby(["experiment", "variant"], sort=False)
    ]
    return pd.DataFrame(rows, columns=list(COST_COLUMNS))


def _cost_of(experiment: str, variant: str, jobs: pd.DataFrame) -> dict[str, Any]:
    training = jobs[jobs["step"] == "training"]
    evaluation = jobs[jobs["step"] == "evaluation"]
    trained = training["seed"].nunique()
    return {
        "experiment": experiment,
        "variant": variant,
        "runs": jobs["seed"].nunique(),
        "parameters": training["parameters"].max() if trained else None,
        "updates": training["updates"].sum() / trained if trained else None,
        "updates_per_second": training["updates_per_second"].mean() if trained else None,
        "training_wall": training["wall_seconds"].sum(),
        "training_cpu": training["cpu_seconds"].sum(),
        "evaluation_wall": evaluation["wall_seconds"].sum(),
        "evaluation_cpu": evaluation["cpu_seconds"].sum(),
        "peak_memory": jobs["peak_memory_bytes"].max(),
    }


def provenance(records: pd.DataFrame) -> dict[str, list[str]]:
    """What the manifests say, each name with all the different values that occur."""
    return {
        words: _distinct(records[key])
        for key, words in PROVENANCE.items()
        if key in records.columns
    }


def packages(records: pd.DataFrame) -> dict[str, list[str]]:
    """Every package with all versions that occur."""
    found: dict[str, set[str]] = {}
    for named in records.get("packages", pd.Series(dtype=object)).dropna():
        for name, version in named.items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(found[name]) for name in sorted(found)}


def newest_commit(commits: Iterable[str]) -> tuple[str, str]:
    """The newest of some commits and its day (`YYYY-MM-DD`), as git knows them.

    The report is dated by this and not by a clock: the same results give the same bytes. Without
    git the first commit is returned, without a day.
    """
    known = sorted(commits)
    dated = sorted((day, commit) for commit in known if (day := _day(commit)))
    if dated:
        return dated[-1][1], dated[-1][0]
    return (known[0] if known else ""), ""


def _day(commit: str) -> str:
    command = ["git", "--no-optional-locks", "show", "-s", "--format=%cs", commit]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _distinct(values: pd.Series) -> list[str]:
    """The different values as text, numbers and truths in words."""
    found = values.dropna().unique().tolist()
    return [_words(value) for value in sorted(found, key=lambda one: (str(type(one)), one))]


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
