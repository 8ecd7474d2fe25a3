"""Planning: how long Snakemake thinks before its first job, how much it holds, how many files.

All experiments at the published sizes, with more seeds, in a copy of the project. Finished means
that every file is there and has its record, so that Snakemake finds nothing to do.
"""

from __future__ import annotations

import math
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import Table

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "src", "docs", "environment.yml", "data/published")
SCALE = "title: only planned, never run\nreduced: false\ndefaults: {{seeds: {seeds}}}\n"
CLUSTER = ("--profile", "workflow/profiles/slurm")
# Snakemake, which tells at its end the most memory that it has held. It takes files for finished
# without the pause of 0.1 s for each job.
RUN = """\
import atexit, sys
from snakemake.cli import main
from snakemake.executors import touch
from memdt.provenance import peak_memory
from memdt.workflow import upstream
upstream.refuse_options = lambda *options: None  # --touch is refused where files mean something
touch.Executor.SLEEPING_TIME = 0
atexit.register(lambda: print("peak", peak_memory()))
main(sys.argv[1:])
"""
NOTE = (
    "Wall time depends on what else the machine does; the memory is Snakemake's. Files: results, "
    "ledgers and\nSnakemake's records. A job that runs leaves a log and a line of figures as well."
)


@dataclass(frozen=True)
class Done:
    """What Snakemake printed, and the time it took."""

    text: str
    wall: float
    cpu: float

    @property
    def jobs(self) -> int:
        return self._number(r"^total\s+(\d+)")

    @property
    def megabytes(self) -> int:
        return round(self._number(r"^peak (\d+)") / 1e6)

    def _number(self, pattern: str) -> int:
        match = re.search(pattern, self.text, re.MULTILINE)
        return int(match[1]) if match else 0


def measure(long: bool = False, sizes: tuple[int, ...] = (), experiments: str = "all") -> Table:
    """Three rows a size: nothing done, the same for a cluster, and all finished."""
    measured = []
    for jobs in sizes or ((4_000, 10_000) if long else (4_000,)):
        with tempfile.TemporaryDirectory() as folder:
            measured += Project(Path(folder), experiments).rows(jobs)
    return Table("Planning", measured, NOTE)


@dataclass(frozen=True)
class Project:
    """A copy of the project with a scale whose seeds may be as many as one likes."""

    root: Path
    experiments: str

    def rows(self, jobs: int) -> list[dict[str, Any]]:
        """Plan so many jobs at least, before and after they are finished."""
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            (self.root / part).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / part, self.root / part)
        self.have_seeds(self.seeds_for(jobs))
        planned = self.snakemake("-n")
        measured = [
            row("nothing done", planned),
            row("nothing done, SLURM", self.snakemake("-n", *CLUSTER)),
        ]
        self.finish()
        finished = self.snakemake("-n")
        assert not finished.jobs, finished.text
        files = sum(len(names) for part in ("data", "reports", ".snakemake/metadata")
                    for _, _, names in os.walk(self.root / part))  # fmt: skip
        return [*measured, {**row("all finished", finished), "jobs": planned.jobs, "files": files}]

    def seeds_for(self, jobs: int) -> int:
        """How many seeds make so many jobs: some are there once, the others for each seed."""
        self.have_seeds(1)
        one = self.snakemake("-n").jobs
        self.have_seeds(2)
        two = self.snakemake("-n").jobs
        return max(1, 1 + math.ceil((jobs - one) / (two - one)))

    def have_seeds(self, count: int) -> None:
        """Let every experiment have so many seeds, and let Snakemake remember its settings."""
        scale = self.root / "workflow/config/scales/many.yaml"
        scale.write_text(SCALE.format(seeds=list(range(count))))
        self.snakemake("--list-rules")

    def finish(self) -> None:
        """Make every file, empty, and let Snakemake take it for what its job has made."""
        listed = self.snakemake("--summary").text.splitlines()[1:]
        for name in (line.split("\t")[0] for line in listed if "\t" in line):
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        # Cores for all at once: each time that a job ends, Snakemake weighs all that are ready.
        self.snakemake("--touch", "--forceall", "--cores", "10000")

    def snakemake(self, *options: str) -> Done:
        """Run Snakemake there."""
        selected = ("--config", "scale=many", f"experiments={self.experiments}")
        command = [sys.executable, "-c", RUN, *options, *selected]
        started, before = time.perf_counter(), _cpu_seconds()
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return Done(done.stdout, time.perf_counter() - started, _cpu_seconds() - before)


def row(label: str, done: Done) -> dict[str, Any]:
    return {
        "plan": label,
        "jobs": done.jobs,
        "wall s": done.wall,
        "CPU-s": done.cpu,
        "MB": done.megabytes,
        "files": 0,
    }


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
