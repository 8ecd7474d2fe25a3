"""What is done, running, waiting and failed, from files alone; and what a run says at both ends.

A job writes its progress to its log (`progress.py`), so ``memdt status`` needs only the project's
folder and works for a run on a cluster as on a laptop.
"""

from __future__ import annotations

import csv
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memdt import paths
from memdt.progress import duration
from memdt.settings.runs import Run, seeds_of
from memdt.stopping import STOPPED  # a step that is stopped has not failed
from memdt.workflow import plan, upstream

LOGS = Path("data/logs")
# A job writes a line every ten seconds. A job that is silent for this long counts as dead.
SILENT_SECONDS = 120.0
# How the first line of a cluster job's log ends.
NODE_AND_JOB = re.compile(r"\| (node \S+, job \S+)$")
FAILURE_LINES = 8  # shown of a log that ends in a traceback
# How a step's log ends where it failed: our one line, or a traceback.
FAILURE_LINE = re.compile(r"^(memdt: |Traceback \(most recent|\w*(Error|Exception|Killed)\b)")


@dataclass(frozen=True)
class Job:
    """One output of a run and the log of the job that makes it."""

    name: str
    output: Path
    log: Path


@dataclass(frozen=True)
class State:
    """How a run stands: done, running, failed, stopped or waiting, with what there is to say."""

    word: str
    detail: str = ""


def jobs_of(scale: str, run: Run) -> list[Job]:
    """The jobs of a run in their order: its stages, then its evaluation."""
    key = (scale, run.experiment, run.variant, run.seed)
    folder = Path(scale) / run.experiment / run.variant
    count = plan.stages(scale, run)
    stages = [
        Job(
            f"stage {number}/{count}",
            paths.stage(*key, number) / "manifest.json",
            LOGS / "train" / folder / f"seed_{run.seed}" / f"stage_{number}.log",
        )
        for number in range(1, count + 1)
    ]
    log = LOGS / "evaluate" / folder / f"seed_{run.seed}.log"
    return [*stages, Job("evaluation", paths.episodes(*key), log)]


def state_of(scale: str, run: Run, now: float | None = None) -> State:
    """How a run stands, from its first job without an output.

    ``now`` is in seconds since 1970, the present if not given.
    """
    for number, job in enumerate(jobs_of(scale, run)):
        if not job.output.is_file():
            return _unfinished(job, number, time.time() if now is None else now)
    return State("done")


def _unfinished(job: Job, before: int, now: float) -> State:
    queued = _submitted_as(job)
    if queued:
        return State("waiting", f"{job.name}: job {queued} of the cluster has not begun")
    if not job.log.is_file():
        return State("waiting", f"for {job.name}" if before else "")
    lines = _last_lines(job.log)
    line = f"{job.name}: {lines[-1]}" if lines else f"{job.name}: starting"
    if lines and lines[-1].startswith(STOPPED):
        return State("stopped", line)
    if any(FAILURE_LINE.match(line) for line in lines):
        return State("failed", f"{line} ({job.log})")
    if now - job.log.stat().st_mtime > SILENT_SECONDS:
        return State("stopped", f"{job.name}, no sign of life ({job.log})")
    return State("running", f"{line}{_batch_job(job.log)}")


def _submitted_as(job: Job) -> str:
    """The number of a cluster's job that was submitted and has not begun; else blank."""
    try:
        marker = upstream.record_path(job.output, "incomplete")
        number = upstream.cluster_job(marker)
        begun = job.log.is_file() and job.log.stat().st_mtime >= marker.stat().st_mtime
    except OSError:
        return ""
    return "" if begun else number or ""


def _batch_job(log: Path) -> str:
    """`` (node gpu1, job 17)`` if the first line of a log names them (`device.py`)."""
    with log.open(encoding="utf-8", errors="replace") as file:
        match = NODE_AND_JOB.search(file.readline())
    return f" ({match[1]})" if match else ""


def _last_lines(log: Path, count: int = 30) -> list[str]:
    # A log that is being written may end within a character, and a terminal's progress ends its
    # lines with a carriage return.
    text = log.read_text(encoding="utf-8", errors="replace")
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()][-count:]


def show(scale: str, experiments: Sequence[str]) -> None:
    """Print a line for each variant, and one for every run that is not simply done or waiting."""
    # Here, because every Snakemake imports this module for its messages and prints no table.
    from rich.table import Table

    from memdt.cli.screen import console

    table = Table(title=f"scale {scale}", title_justify="left", box=None, pad_edge=False)
    words = ("done", "running", "waiting", "failed", "stopped")
    for column in ("experiment", "variant"):
        table.add_column(column)
    for word in words:
        table.add_column(word, justify="right")
    notes: list[str] = []
    for experiment in experiments:
        for variant, seeds in seeds_of(scale, experiment).items():
            states = {s: state_of(scale, Run(experiment, variant, s)) for s in seeds}
            counts = Counter(state.word for state in states.values())
            table.add_row(experiment, variant, *(str(counts[word] or "·") for word in words))
            notes += [
                f"{state.word}: {experiment}/{variant} seed {seed}: {state.detail}"
                for seed, state in states.items()
                if state.word not in ("done", "waiting")
            ]
    screen = console()
    screen.print(table)
    for note in notes:
        screen.print(note, markup=False)
    report = paths.report(scale)
    screen.print(f"report: {report}" if report.is_file() else "report: not written yet")


def watch(scale: str, experiments: Sequence[str], seconds: float) -> None:
    """Print the same again and again, over what was there before, until Ctrl-C."""
    from memdt.cli.screen import console

    screen = console()
    while True:
        screen.clear()  # nothing where there is no terminal
        show(scale, experiments)
        screen.print(f"{time.strftime('%H:%M:%S')}, every {seconds:g} s; Ctrl-C ends this")
        time.sleep(seconds)


def plan_in_words(jobs: Iterable[Any]) -> str:
    """A line for each scale: its jobs and unfinished runs; ``jobs`` are Snakemake's."""
    planned = list(jobs)
    lines = []
    for scale in _scales(planned):
        mine = [job for job in planned if job.wildcards.get("scale") == scale]
        kinds = Counter(job.rule.name for job in mine)
        runs = {
            (job.wildcards.experiment, job.wildcards.variant, job.wildcards.seed)
            for job in mine
            if hasattr(job.wildcards, "seed")
        }
        names = {name for name, _, _ in runs}
        parts = [
            _count(kinds["dataset"], "dataset"),
            _count(kinds["train"], "training stage"),
            _count(kinds["evaluate"], "evaluation"),
            _count(len(mine) - sum(kinds[n] for n in ("dataset", "train", "evaluate")),
                   "job for the report", "jobs for the report"),
        ]  # fmt: skip
        where = f" of {', '.join(sorted(names))}" if names else ""
        counts = ", ".join(part for part in parts if part)
        unfinished = f"; {_count(len(runs), 'run')}{where} not finished" if runs else ""
        lines.append(f"memdt: scale {scale}: {counts}{unfinished}")
    if lines:
        lines.append("memdt: how far it is: python -m memdt status, in another terminal")
    return "\n".join(lines)


def end_in_words(jobs: Iterable[Any], seconds: float) -> str:
    """How many ``seconds`` a run took; last, where its reports are and how the claims stand."""
    lines = []
    for scale in _scales(job for job in jobs if job.rule.name == "report"):
        report = paths.report(scale)
        if report.is_file():
            lines.append(f"memdt: {report}{_claims(scale)}")
    return "\n".join([f"memdt: done in {duration(seconds)}", *lines])


def failure_in_words(jobs: Iterable[Any], since: float) -> str:
    """The last words of each failed job, its log, and the command that runs it alone.

    ``since`` is when this run started, in seconds since 1970: older logs are of other runs.
    """
    messages = []
    for job in jobs:
        logs = [path for path in map(Path, map(str, job.log)) if path.is_file()]
        if not logs or logs[0].stat().st_mtime < since:
            continue
        lines = _last_lines(logs[0])
        failed = any(FAILURE_LINE.match(line) for line in lines)
        if failed and not lines[-1].startswith(STOPPED):
            # A refusal is one line of ours; a traceback says where it happened in the ones before.
            last = lines[-1:] if lines[-1].startswith("memdt: ") else lines[-FAILURE_LINES:]
            alone = f"snakemake --cores 1 {job.output[0]}"
            messages.append("\n".join([*last, f"       log: {logs[0]}", f"       alone: {alone}"]))
    return "\n".join([*messages, "memdt: not finished; the same command continues from here"])


def _claims(scale: str) -> str:
    """``: 5 claims hold, 1 does not hold``, counted in claims.csv."""
    path = paths.claims(scale)
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", newline="") as file:
        counts = Counter(row["verdict"] for row in csv.DictReader(file))
    verdicts = ", ".join(f"{word} {count}" for word, count in counts.most_common())
    return f" (claims: {verdicts})" if verdicts else ""


def _scales(jobs: Iterable[Any]) -> list[str]:
    return sorted({str(job.wildcards.scale) for job in jobs if hasattr(job.wildcards, "scale")})


def _count(number: int, noun: str, plural: str = "") -> str:
    if not number:
        return ""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
