"""Cost and commit of the results: everything that differs from run to run.

Reads ``measured.json`` beside the manifests for the page ``cost.html``. These files exist only
where the runs were made, so every number may be missing. The report itself does not use them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from memdt.provenance import read_measured
from memdt.report.job_manifests import named_values

MISSING = "–"
MEASURED = (
    "git_commit", "git_dirty", "platform", "wall_seconds", "cpu_seconds", "peak_memory_bytes",
    "updates_per_second", "resumed", "finished",
)  # fmt: skip
WORDS = {"git_commit": "git commit", "git_dirty": "uncommitted changes", "platform": "platform"}
TIMES = ("training_wall", "training_cpu", "evaluation_wall", "evaluation_cpu")


def content(records: pd.DataFrame) -> dict[str, Any]:
    """Everything on the page, under the template's names.

    ``records`` are the manifests, a row a job (`job_manifests.load_records`).
    """
    jobs = with_measured(records)
    commits = jobs["git_commit"].dropna().unique().tolist()
    commit, day = newest_commit(commits)
    dirty = bool(jobs["git_dirty"].dropna().any())
    return {
        "jobs": len(jobs),
        "measured": int(jobs["finished"].notna().sum()),
        "head": {"commit": commit, "day": day, "commits": len(commits), "dirty": dirty},
        "variants": _variant_rows(jobs),
        "runs": [
            {"experiment": experiment, "variant": variant, "seed": str(seed), **_texts(group)}
            for (experiment, variant, seed), group in _runs(jobs)
        ],
        "facts_measured": {name: fact for name, fact in named_values(jobs, WORDS).items() if fact},
    }


def with_measured(records: pd.DataFrame) -> pd.DataFrame:
    """The records, a row a job, with the columns MEASURED; empty where nothing was measured here.

    Times are in seconds, memory in bytes.
    """
    measurements = [read_measured(Path(path)) for path in records["path"]]
    rows = [[one.get(name) for name in MEASURED] for one in measurements]
    columns = pd.DataFrame(rows, columns=list(MEASURED), index=records.index)
    return pd.concat([records, columns], axis=1)


def newest_commit(commits: Iterable[str]) -> tuple[str, str]:
    """The newest of several commits and its date (`YYYY-MM-DD`) according to git.

    Without git the first commit is returned, without a day.
    """
    # A commit of another clone has no date here, so one that git knows comes first.
    known = sorted(commits)
    dated = sorted((day, commit) for commit in known if (day := _day(commit)))
    if dated:
        return dated[-1][1], dated[-1][0]
    return (known[0] if known else ""), ""


def duration(seconds: float) -> str:
    """A time for readers: `41 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _variant_rows(jobs: pd.DataFrame) -> list[dict[str, str]]:
    """The cost of every variant as texts, and the sum over all in the last row."""
    if jobs.empty:
        return []
    rows = [
        {"experiment": experiment, "variant": variant, **_texts(group)}
        for (experiment, variant), group in jobs.groupby(["experiment", "variant"], sort=False)
    ]
    total = {**_texts(jobs), "seeds": f"{len(_runs(jobs)):,}", "updates_per_second": ""}
    return [*rows, {"experiment": "all experiments", "variant": "sum", **total}]


def _runs(jobs: pd.DataFrame) -> Any:
    return jobs.groupby(["experiment", "variant", "seed"], sort=False)


def _texts(jobs: pd.DataFrame) -> dict[str, str]:
    """Seconds are sums over jobs, memory the largest, speed the mean over stages and seeds."""
    steps = {name: jobs[jobs["step"] == name] for name in ("training", "evaluation")}
    times = {
        name: _sum(steps[name.partition("_")[0]][f"{name.partition('_')[2]}_seconds"])
        for name in TIMES
    }
    commits = jobs["git_commit"].dropna().unique().tolist()
    return {
        "seeds": f"{jobs['seed'].nunique():,}",
        **{name: _formatted(seconds, duration) for name, seconds in times.items()},
        "peak_memory": _formatted(
            jobs["peak_memory_bytes"].max(), lambda n: f"{n / 2**20:,.0f} MiB"
        ),
        "updates_per_second": _formatted(
            pd.to_numeric(jobs["updates_per_second"]).mean(), lambda n: f"{n:,.1f}"
        ),
        "resumed": _formatted(_sum(jobs["resumed"]), lambda n: f"{n:,.0f}"),
        "finished": max(jobs["finished"].dropna(), default=MISSING),
        "commits": ", ".join(commit[:10] for commit in commits) or MISSING,
        "measured": f"{jobs['finished'].notna().sum()} of {len(jobs)}",
    }


def _sum(seconds: pd.Series) -> float | None:
    """The sum of what was measured; None where nothing was."""
    known = seconds.dropna()
    return float(known.sum()) if len(known) else None


def _formatted(value: Any, words: Any) -> str:
    return MISSING if pd.isna(value) else str(words(float(value)))


def _day(commit: str) -> str:
    # Without locks, because jobs that still run ask git too.
    command = ["git", "--no-optional-locks", "show", "-s", "--format=%cs", commit]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
