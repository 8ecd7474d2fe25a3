"""Forecast a scale before it runs: jobs, hours and disk of each experiment (``memdt plan``).

Jobs follow from the settings (`plan.py`). Hours are those that finished jobs took, or else an
estimate (`costs.py`). Bytes are those of existing files, or else follow from the settings
(`disk.py`). A job counts as done if its file exists; Snakemake decides whether it is up to date.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memdt import paths
from memdt.data.agents import FILES
from memdt.provenance import read_manifest, read_measured
from memdt.settings.pages import figures
from memdt.settings.remembered import resolve
from memdt.settings.resolve import resolve_dataset
from memdt.settings.runs import Run, recorded_for, runs
from memdt.workflow import costs, disk, inputs, plan
from memdt.workflow.costs import Speed
from memdt.workflow.observations import observation_of, size_of

DATASETS, REPORT = "(datasets)", "(report)"  # rows of what all experiments share
SHORT = 5.0  # seconds of a table, a figure or a report


@dataclass(frozen=True)
class PlannedJob:
    """One job that Snakemake plans when nothing exists yet."""

    row: str  # the experiment, DATASETS or REPORT
    kind: str  # dataset, training, evaluation or other
    output: Path
    seconds: float
    bytes: int
    gpu: bool = False
    resume_bytes: int = 0  # kept only while it runs
    run: tuple[str, str, int] | None = None  # experiment, variant and seed that are trained
    measured: bool = False  # whether `seconds` was measured
    done: bool = False

    @property
    def like(self) -> tuple[str, str, str] | None:
        """A key of jobs whose estimates are off by the same factor."""
        return None if self.run is None else (self.kind, *self.run[:2])


def jobs(
    scale: str, experiments: Sequence[str], device: Speed | None = None, weigh: bool = True
) -> list[PlannedJob]:
    """All jobs of a scale's report on these experiments, each once.

    Args:
        scale: a file under workflow/config/scales.
        experiments: files under workflow/config/experiments.
        device: what they run on; by default the device that the scale is made for.
        weigh: whether to count the bytes of checkpoints, for which every model is built.
    """
    evaluated = [run for name in experiments for run in runs(scale, name)]
    planned = [*_datasets(scale, experiments)]
    planned += [*_stages(scale, evaluated, device, weigh), *_evaluations(scale, evaluated, device)]
    planned += [*_tables(scale, experiments), *_report(scale, experiments)]
    return _corrected([_as_it_was(job) for job in planned], planned)


def _datasets(scale: str, experiments: Sequence[str]) -> Iterator[PlannedJob]:
    for path in plan.datasets(scale, experiments):
        settings = resolve_dataset(path.stem, scale)
        seen = observation_of(settings.environment.model_dump_json())
        size = disk.size(path) or disk.dataset_bytes(size_of(settings.dataset), seen)
        yield PlannedJob(DATASETS, "dataset", path, costs.collection_seconds(settings), size)
    yield from _agents(scale, experiments)
    fetched = {file.path: file for e in experiments for file in inputs.fetched_for(e, scale)}
    for file in fetched.values():
        yield PlannedJob(DATASETS, "other", file.path, SHORT, file.size or 0)


def _agents(scale: str, experiments: Sequence[str]) -> Iterator[PlannedJob]:
    """The agents that datasets are made with, each once."""
    agents = [inputs.agent(scale, path.stem) for path in plan.datasets(scale, experiments)]
    for name in dict.fromkeys(one[0] for one in agents if one is not None):
        settings = resolve_dataset(name, scale)
        output = paths.agent(scale, name) / FILES[0]
        seen = observation_of(settings.environment.model_dump_json())
        # What it saw, and what its state keeps of that: observations before and after each step.
        kept = settings.dataset["agent"]["steps"] * seen.bytes
        yield PlannedJob(
            DATASETS, "other", output, costs.agent_seconds(settings), kept, resume_bytes=3 * kept
        )


def _stages(
    scale: str, runs: Sequence[Run], device: Speed | None, weigh: bool
) -> Iterator[PlannedJob]:
    """Training stages, including those of other experiments whose checkpoints are used."""
    for run in dict.fromkeys(one for each in runs for one in plan.trained(scale, each)):
        settings = resolve(run.experiment, run.variant, scale).settings
        size = disk.checkpoint_bytes(settings) if weigh else 0
        state = disk.resume_bytes(settings) if weigh else 0
        key = (run.experiment, run.variant, run.seed)
        for number in range(1, settings.stages + 1):
            seconds = costs.training_seconds(scale, *key[:2], number, device)
            output = paths.stage(scale, *key, number) / "manifest.json"
            gpu = costs.uses_gpu(scale)
            yield PlannedJob(run.experiment, "training", output, seconds, size, gpu, state, key)


def _evaluations(scale: str, runs: Sequence[Run], device: Speed | None) -> Iterator[PlannedJob]:
    for run in runs:
        size = disk.evaluation_bytes(resolve(run.experiment, run.variant, scale).settings)
        seconds = costs.evaluation_seconds(scale, run.experiment, run.variant, device)
        folder = paths.run(scale, run.experiment, run.variant, run.seed)
        output, gpu = folder / "evaluation_manifest.json", costs.uses_gpu(scale)
        trained = plan.trained(scale, run)[0]
        key = (trained.experiment, trained.variant, trained.seed)
        yield PlannedJob(run.experiment, "evaluation", output, seconds, size, gpu, 0, key)


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
    """A finished job with the seconds that it took, if they were measured on this machine."""
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
    """The seconds that Snakemake noted for a dataset; other jobs keep their estimate."""
    if job.kind != "dataset":
        return job.seconds
    timing = Path("data/benchmarks/dataset", job.output.parent.name, f"{job.output.stem}.tsv")
    try:
        with timing.open(encoding="utf-8", newline="") as file:
            return float(next(csv.DictReader(file, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, ValueError):
        return job.seconds


def _corrected(planned: list[PlannedJob], expected: list[PlannedJob]) -> list[PlannedJob]:
    """Scale the estimates of a variant's open jobs by how long its finished ones took.

    If the measured jobs took twice as long as expected, so will the others.
    """
    took: dict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for job, before in zip(planned, expected, strict=True):
        if job.measured:
            took[job.like][0] += job.seconds
            took[job.like][1] += before.seconds
    factors = {like: seconds / before for like, (seconds, before) in took.items()}
    return [
        job if job.done else replace(job, seconds=job.seconds * factors.get(job.like, 1.0))
        for job in planned
    ]


# ---- sums ------------------------------------------------------------------------------------

STAGES = ("datasets", "training", "evaluation", "tables, figures and report")


def by_stage(planned: Iterable[PlannedJob]) -> dict[str, list[PlannedJob]]:
    """The jobs of each of the four STAGES, in their order; agents and downloads are datasets'."""
    stages: dict[str, list[PlannedJob]] = {name: [] for name in STAGES}
    stage_of_kind = {"training": STAGES[1], "evaluation": STAGES[2]}
    for job in planned:
        name = STAGES[0] if job.row == DATASETS else stage_of_kind.get(job.kind, STAGES[3])
        stages[name].append(job)
    return stages


@dataclass(frozen=True)
class Sum:
    """The jobs, hours and disk of several jobs together."""

    name: str
    counts: Counter[str]  # by kind
    done: int
    seconds: float  # of one core; a job on a GPU also holds a core
    gpu_seconds: float
    bytes: int
    resume_bytes: int  # needed on top if all of them ran at once
    files: int
    hours_from: str


def summed(name: str, planned: Sequence[PlannedJob]) -> Sum:
    """The sum over planned jobs."""
    runs = {job.run: job.resume_bytes for job in planned if job.resume_bytes}
    files = sum(disk.FILES[job.kind] for job in planned)
    return Sum(
        name=name,
        counts=Counter(job.kind for job in planned),
        done=sum(job.done for job in planned),
        seconds=sum(job.seconds for job in planned),
        gpu_seconds=sum(job.seconds for job in planned if job.gpu),
        bytes=sum(job.bytes for job in planned) + disk.BLOCK * files,
        resume_bytes=sum(runs.values()),
        files=files,
        hours_from=hours_from(planned),
    )


def hours_from(planned: Iterable[PlannedJob]) -> str:
    """How many jobs of runs were measured, in words; empty where there are no runs."""
    of_runs = [job for job in planned if job.run is not None]
    measured = sum(job.measured for job in of_runs)
    if not of_runs:
        return ""
    if measured == len(of_runs):
        return "measured"
    return f"{measured:,} of {len(of_runs):,} measured" if measured else "estimated"


def longest_chain(planned: Sequence[PlannedJob]) -> tuple[float, str]:
    """The run whose remaining jobs take longest one after the other: its seconds, and its name."""
    stages: dict[Any, float] = defaultdict(float)
    plays: dict[Any, float] = defaultdict(float)
    for job in planned:
        if job.kind == "training" and not job.done:
            stages[job.run] += job.seconds
        elif job.kind == "evaluation" and not job.done:
            plays[job.run] = max(plays[job.run], job.seconds)
    chains = {run: stages[run] + plays[run] for run in {*stages, *plays}}
    if not chains:
        return 0.0, ""
    run = max(sorted(chains), key=lambda one: chains[one])
    return chains[run], f"{run[0]}/{run[1]} seed {run[2]}"


def wall_seconds(planned: Sequence[PlannedJob], cores: int) -> float:
    """Seconds until the unfinished jobs are done on ``cores`` idle cores.

    No number of cores shortens a single job, or the jobs of a run, which wait for each other.
    """
    remaining = [job.seconds for job in planned if not job.done]
    longest = max(remaining, default=0.0)
    return max(sum(remaining) / cores, longest, longest_chain(planned)[0])
