"""What a scale takes before it runs: jobs, hours and disk of each experiment (``memdt plan``).

Jobs follow from the settings (`plan.py`), hours from what finished jobs have taken or else from an
estimate (`costs.py`), bytes from files that are there or else from the settings (`disk.py`). A job
counts as done where its file is there; whether the file still fits is for Snakemake to say.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memdt import paths
from memdt.provenance import read_manifest, read_measured
from memdt.settings.remembered import resolve
from memdt.settings.resolve import figures, resolve_dataset
from memdt.settings.runs import Run, recorded_for, runs
from memdt.workflow import costs, disk, plan
from memdt.workflow.costs import Speed
from memdt.workflow.observations import observation_of, size_of

DATASETS, REPORT = "(datasets)", "(report)"  # rows of what all experiments share
SHORT = 5.0  # seconds of a table, a figure or a report


@dataclass(frozen=True)
class PlannedJob:
    """One job that Snakemake plans where nothing is there yet."""

    row: str  # the experiment, DATASETS or REPORT
    kind: str  # dataset, training, evaluation or other
    output: Path
    seconds: float
    bytes: int
    gpu: bool = False
    resume_bytes: int = 0  # kept while it runs
    run: tuple[str, str, int] | None = None  # experiment, variant and seed that are trained
    measured: bool = False  # its seconds were
    done: bool = False

    @property
    def like(self) -> tuple[str, str, str] | None:
        """Jobs with the same name take as long as the estimate says, times the same factor."""
        return None if self.run is None else (self.kind, *self.run[:2])


def jobs(scale: str, experiments: Sequence[str], device: Speed | None = None) -> list[PlannedJob]:
    """All jobs of a scale's report on these experiments, each once.

    ``device``: what they run on; that which the scale is made for if not given.
    """
    asked = [run for name in experiments for run in runs(scale, name)]
    found = [*_datasets(scale, experiments)]
    found += [*_stages(scale, asked, device), *_evaluations(scale, asked, device)]
    found += [*_tables(scale, experiments), *_report(scale, experiments)]
    return _corrected([_as_it_was(job) for job in found], found)


def _datasets(scale: str, experiments: Sequence[str]) -> Iterator[PlannedJob]:
    for path in plan.datasets(scale, experiments):
        settings = resolve_dataset(path.stem, scale)
        seen = observation_of(settings.environment.model_dump_json())
        size = disk.size(path) or disk.dataset_bytes(size_of(settings.dataset), seen)
        yield PlannedJob(DATASETS, "dataset", path, costs.collection_seconds(settings), size)


def _stages(scale: str, runs: Sequence[Run], device: Speed | None) -> Iterator[PlannedJob]:
    """Those of other experiments too, where their checkpoints are taken."""
    for run in dict.fromkeys(one for asked in runs for one in plan.trained(scale, asked)):
        settings = resolve(run.experiment, run.variant, scale).settings
        size, state = disk.checkpoint_bytes(settings), disk.resume_bytes(settings)
        place = (run.experiment, run.variant, run.seed)
        for number in range(1, settings.stages + 1):
            seconds = costs.training_seconds(scale, *place[:2], number, device)
            output = paths.stage(scale, *place, number) / "manifest.json"
            gpu = costs.uses_gpu(scale)
            yield PlannedJob(run.experiment, "training", output, seconds, size, gpu, state, place)


def _evaluations(scale: str, runs: Sequence[Run], device: Speed | None) -> Iterator[PlannedJob]:
    for run in runs:
        size = disk.evaluation_bytes(resolve(run.experiment, run.variant, scale).settings)
        seconds = costs.evaluation_seconds(scale, run.experiment, run.variant, device)
        folder = paths.run(scale, run.experiment, run.variant, run.seed)
        output, gpu = folder / "evaluation_manifest.json", costs.uses_gpu(scale)
        trained = plan.trained(scale, run)[0]
        place = (trained.experiment, trained.variant, trained.seed)
        yield PlannedJob(run.experiment, "evaluation", output, seconds, size, gpu, 0, place)


def _tables(scale: str, experiments: Sequence[str]) -> Iterator[PlannedJob]:
    for name in experiments:
        yield PlannedJob(name, "other", paths.table(scale, name), SHORT, 0)
    drawn = [figures()[name] for name in plan.figures_of(experiments)]
    recorded = {
        path: run.experiment for one in drawn for path, run in recorded_for(scale, one).items()
    }
    recorded |= {path: name for name in experiments for path in plan.counted(scale, name)}
    for output, name in recorded.items():
        yield PlannedJob(name, "other", output, SHORT, 0)


def _report(scale: str, experiments: Sequence[str]) -> Iterator[PlannedJob]:
    drawn = [paths.figure(scale, name) for name in plan.figures_of(experiments)]
    drawn += [paths.clip(scale, name) for name in plan.clips_of(experiments)]
    for output in (*drawn, *(of(scale) for of in (paths.claims, paths.metrics, paths.report))):
        yield PlannedJob(REPORT, "other", output, SHORT, 0)


# ---- what was measured -----------------------------------------------------------------------


def _as_it_was(job: PlannedJob) -> PlannedJob:
    """A finished job with the seconds that it has taken, where these were measured here."""
    if not job.output.is_file():
        return job
    done = replace(job, done=True, resume_bytes=0)
    if job.run is None:
        return replace(done, seconds=_timed(job))
    seconds = read_measured(job.output).get("wall_seconds")
    if seconds is None:
        return done
    gpu = read_manifest(job.output).get("device") == "cuda"
    return replace(done, seconds=float(seconds), gpu=gpu, measured=True)


def _timed(job: PlannedJob) -> float:
    """Seconds as Snakemake has noted them for a dataset; those of other jobs are not looked at."""
    if job.kind != "dataset":
        return job.seconds
    timing = Path("data/benchmarks/dataset", job.output.parent.name, f"{job.output.stem}.tsv")
    try:
        with timing.open(encoding="utf-8", newline="") as file:
            return float(next(csv.DictReader(file, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, ValueError):
        return job.seconds


def _corrected(found: list[PlannedJob], expected: list[PlannedJob]) -> list[PlannedJob]:
    """Estimates of a variant's other jobs, by what the finished ones have taken.

    Where some of them are measured, the others take as much longer than was expected as these did.
    """
    took: dict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for job, before in zip(found, expected, strict=True):
        if job.measured:
            took[job.like][0] += job.seconds
            took[job.like][1] += before.seconds
    factors = {like: seconds / before for like, (seconds, before) in took.items()}
    return [
        job if job.done else replace(job, seconds=job.seconds * factors.get(job.like, 1.0))
        for job in found
    ]


# ---- sums ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sum:
    """What some jobs take together."""

    name: str
    counts: Counter[str]  # by kind
    done: int
    seconds: float  # of a core each; those of a card hold a core too
    gpu_seconds: float
    bytes: int
    resume_bytes: int  # more, if all of them ran at once
    files: int
    hours_from: str


def summed(name: str, found: Sequence[PlannedJob]) -> Sum:
    """The sum over jobs."""
    runs = {job.run: job.resume_bytes for job in found if job.resume_bytes}
    files = sum(disk.FILES[job.kind] for job in found)
    return Sum(
        name=name,
        counts=Counter(job.kind for job in found),
        done=sum(job.done for job in found),
        seconds=sum(job.seconds for job in found),
        gpu_seconds=sum(job.seconds for job in found if job.gpu),
        bytes=sum(job.bytes for job in found) + disk.BLOCK * files,
        resume_bytes=sum(runs.values()),
        files=files,
        hours_from=_hours_from([job for job in found if job.run is not None]),
    )


def _hours_from(found: Sequence[PlannedJob]) -> str:
    measured = sum(job.measured for job in found)
    if not found:
        return ""
    if measured == len(found):
        return "measured"
    return f"{measured:,} of {len(found):,} measured" if measured else "estimated"


def longest_chain(found: Sequence[PlannedJob]) -> tuple[float, str]:
    """The most seconds that jobs of one run need one after the other, and which run that is."""
    stages: dict[Any, float] = defaultdict(float)
    plays: dict[Any, float] = defaultdict(float)
    for job in found:
        if job.kind == "training" and not job.done:
            stages[job.run] += job.seconds
        elif job.kind == "evaluation" and not job.done:
            plays[job.run] = max(plays[job.run], job.seconds)
    chains = {run: stages[run] + plays[run] for run in {*stages, *plays}}
    if not chains:
        return 0.0, ""
    run = max(sorted(chains), key=lambda one: chains[one])
    return chains[run], f"{run[0]}/{run[1]} seed {run[2]}"


def wall_seconds(found: Sequence[PlannedJob], cores: int) -> float:
    """Seconds that what is left takes on so many idle cores: no shorter than its longest chain."""
    left = sum(job.seconds for job in found if not job.done)
    return max(left / cores, longest_chain(found)[0])
