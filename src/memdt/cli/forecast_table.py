"""``memdt plan``: the forecast of a scale as a table, and what its figures rest on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from memdt.cli.screen import console
from memdt.progress import duration
from memdt.provenance import usable_cores
from memdt.workflow import costs, forecast, peak, plan
from memdt.workflow.forecast import PlannedJob, Sum

KINDS = {"training": "training", "evaluation": "evaluations", "other": "others"}
NONE = "·"
SHORT_SECONDS = 0.3  # of measuring the peak: steady within a few per cent, too short to notice


def show(scale: str, experiments: Sequence[str]) -> None:
    """Print a row for each experiment, the sum, the work left, and the longest chain of jobs."""
    screen = console()
    possible = [name for name in experiments if not plan.missing_simulators(name)]
    fast = None if costs.uses_gpu(scale) else peak.peak()  # of a core here, operations a second
    planned = forecast.jobs(scale, possible, costs.CPU.at(fast) if fast else None)
    screen.print(table(scale, planned))
    for line in [*([here(planned, fast)] if fast else []), *notes(scale, planned)]:
        screen.print(line, markup=False)
    for name in experiments:
        if name not in possible:
            lacks = plan.missing_simulators(name)[0]
            screen.print(f"{name} is left out: {lacks} is not installed", markup=False)


def show_stages(scale: str, experiments: Sequence[str]) -> None:
    """Print a line for each stage of a report: its jobs, and how long what is left takes here.

    On a scale for a GPU, the jobs are taken to run one after the other on one card.
    """
    gpu = costs.uses_gpu(scale)
    # The peak of a core says nothing of a card.
    fast = 0.0 if gpu else peak.peak(SHORT_SECONDS)
    cores = 1 if gpu else usable_cores()
    speed = None if gpu else costs.CPU.at(fast)
    planned = forecast.jobs(scale, experiments, speed, weigh=False)
    machine = "one GPU" if gpu else f"{cores} cores of {fast / 1e9:,.0f} Gflop/s if idle"
    screen = console()
    screen.print(f"Four stages at scale {scale}, on {machine}:", markup=False)
    for number, (name, jobs) in enumerate(forecast.by_stage(planned).items(), start=1):
        screen.print(f"  {number} {name}: {stage(jobs, cores)}", markup=False)
    screen.print("Training and evaluation run side by side.")


def stage(planned: Sequence[PlannedJob], cores: int) -> str:
    """``60 jobs, 9 min 3 s (estimated)``: how many, how long what is left takes, and its basis."""
    count = f"{len(planned):,} job{'' if len(planned) == 1 else 's'}"
    if planned and all(job.done for job in planned):
        return f"{count}, done"
    seconds = forecast.wall_seconds(planned, cores)
    if not seconds:
        return f"{count}, not estimated"
    return f"{count}, {duration(seconds)} ({forecast.hours_from(planned) or 'estimated'})"


def table(scale: str, planned: Sequence[PlannedJob]) -> Table:
    """A row for each experiment, one for all, and one for what is left if some jobs are done."""
    lines = Table(title=f"scale {scale}", title_justify="left", box=None, pad_edge=False)
    lines.add_column("experiment")
    for name in ("datasets", *KINDS.values(), "jobs", "done", "GPU hours", "CPU hours", "hours are",
                 "GB", "+ running", "files"):  # fmt: skip
        lines.add_column(name, justify="right")
    for name in dict.fromkeys(job.row for job in planned):
        lines.add_row(*cells(forecast.summed(name, [job for job in planned if job.row == name])))
    lines.add_section()
    lines.add_row(*cells(forecast.summed("all", planned)))
    if any(job.done for job in planned):
        left = [job for job in planned if not job.done]
        lines.add_row(*cells(forecast.summed("left to do", left)))
    return lines


def cells(total: Sum) -> list[str]:
    """The texts of a row: counts of jobs and files, hours of one core or card, and gigabytes."""
    return [
        total.name,
        *(_count(total.counts[kind]) for kind in ("dataset", *KINDS)),
        _count(total.counts.total()),
        _count(total.done),
        _hours(total.gpu_seconds),
        _hours(total.seconds),
        total.hours_from or NONE,
        _gigabytes(total.bytes),
        _gigabytes(total.resume_bytes),
        _count(total.files),
    ]


def notes(scale: str, planned: Sequence[PlannedJob]) -> list[str]:
    """Where the figures come from, and what they leave out."""
    seconds, run = forecast.longest_chain(planned)
    lines = [f"longest chain: {_hours(seconds)} hours, {run}"] if run else []
    lines += [
        f"hours that were not measured here: {costs.speed(scale).origin} (memdt/workflow/costs.py)",
        "CPU hours: a core for each job, also beside a card; collecting a dataset where it was "
        "timed here, or where a simulator says its speed",
        "GB: checkpoints, evaluations, datasets (uncompressed until they are collected); "
        "+ running: to go on from, if all runs were at it at once",
    ]
    return lines


def here(planned_jobs: Sequence[PlannedJob], fast: float) -> str:
    """How long what is left takes on this machine, whose cores do ``fast`` operations a second."""
    cores = usable_cores()
    minutes = forecast.wall_seconds(planned_jobs, cores) / 60
    estimate = (
        "nothing is left to do"
        if all(job.done for job in planned_jobs)
        else f"{minutes:,.0f} minutes"
    )
    speed = f"{fast / 1e9:,.0f} Gflop/s (measured now)"
    return f"on this machine, {cores} cores of {speed} if idle: {estimate}"


def _count(number: int) -> str:
    return f"{number:,}" if number else NONE


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return NONE if not hours else f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


def _gigabytes(size: int) -> str:
    return NONE if not size else f"{size / 1e9:,.1f}" if size >= 1e8 else f"{size / 1e9:.1g}"
