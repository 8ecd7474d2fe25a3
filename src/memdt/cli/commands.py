"""The command line: the verbs of `steps.py` and `report_steps.py`, and those that only print.

Heavy imports happen only when a verb runs, so that help does not wait for torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import tyro

from memdt import paths
from memdt.cli import report_steps, steps
from memdt.cli.export import Export
from memdt.cli.play import Play
from memdt.errors import UserError


@dataclass(frozen=True)
class Settings:
    """Print the settings of a variant, each with the file that it came from."""

    experiment: tyro.conf.Positional[str]
    """A file under workflow/config/experiments."""
    variant: tyro.conf.Positional[str]
    """One of its variants."""
    scale: str = ""
    """A file under workflow/config/scales; that of config.yaml if not given."""
    sources: bool = False
    """Print the modules whose source code counts for the run, instead."""

    def run(self) -> None:
        """Print."""
        from memdt.cli.settings_table import show, show_sources
        from memdt.settings.files import selection
        from memdt.settings.resolve import resolve

        resolved = resolve(self.experiment, self.variant, self.scale or selection().scale)
        if self.sources:
            show_sources(resolved)
        else:
            show(resolved)


@dataclass(frozen=True)
class Schema:
    """Write to workflow/schemas the JSON Schemas of the YAML files, and the pinned defaults."""

    check: bool = False
    """Write nothing; fail where a file is out of step with the code."""
    accept_defaults: bool = False
    """Pin changed defaults too. Results that were made with the old ones are not made anew."""

    def run(self) -> None:
        """Write or check."""
        from memdt.settings import defaults, json_schemas

        if self.check:
            json_schemas.check()
            defaults.check()
        else:
            json_schemas.write()
            defaults.update(self.accept_defaults)


@dataclass(frozen=True)
class Doctor:
    """Say what this machine has, what is missing, and how to fix it."""

    def run(self) -> None:
        """Look and print."""
        from memdt.cli.doctor import examine

        examine()


@dataclass(frozen=True)
class Status:
    """Say what is done, running, waiting and failed, from the files alone."""

    scale: str = ""
    """A file under workflow/config/scales; that of config.yaml if not given."""
    experiments: tuple[str, ...] = ()
    """Those that the report is about if not given."""
    watch: bool = False
    """Look again every few seconds, until Ctrl-C."""
    seconds: float = 5.0
    """Between two looks."""

    def run(self) -> None:
        """Look and print."""
        from memdt.cli.status import show, watch
        from memdt.settings.files import selection
        from memdt.workflow import plan

        scale = self.scale or selection().scale
        experiments = tuple(self.experiments or plan.default_experiments(scale))
        watch(scale, experiments, self.seconds) if self.watch else show(scale, experiments)


@dataclass(frozen=True)
class Plan:
    """Say what a scale takes before it runs: jobs, GPU and CPU hours, and disk."""

    scale: str = ""
    """A file under workflow/config/scales; that of config.yaml if not given."""
    experiments: tuple[str, ...] = ()
    """Files under workflow/config/experiments; all of them if not given."""
    stages: bool = False
    """Print a line for each stage of the report instead; its experiments if none are given."""

    def run(self) -> None:
        """Count, estimate and print."""
        from memdt.cli.forecast_table import show, show_stages
        from memdt.settings.files import selection
        from memdt.workflow import plan

        overrides = {"scale": self.scale} if self.scale else {}
        # Joined as `--config` has them, so that `all` means the same here.
        chosen = selection({**overrides, "experiments": ",".join(self.experiments) or "all"})
        if not self.stages:
            show(chosen.scale, tuple(chosen.experiments))
        elif self.experiments:
            show_stages(chosen.scale, tuple(chosen.experiments))
        else:
            show_stages(chosen.scale, plan.default_experiments(chosen.scale))


@dataclass(frozen=True)
class Publish:
    """Write docs/results and the README's table of findings from a finished report."""

    scale: str = ""
    """A file under workflow/config/scales; that of config.yaml if not given."""
    experiments: tuple[str, ...] = ()
    """Those that the report is about if not given."""
    check: bool = False
    """Write nothing; fail where a page is not what was published."""

    def run(self) -> None:
        """Write or check."""
        from memdt.report import publish
        from memdt.settings.files import selection
        from memdt.workflow import plan

        if self.check:
            publish.check()
            return
        scale = self.scale or selection().scale
        experiments = self.experiments or tuple(plan.default_experiments(scale))
        for page in publish.publish(scale, experiments):
            print(f"written: {page}")


@dataclass(frozen=True)
class Verify:
    """Name every file that is not what was written; exit status 1 where there is one."""

    scale: str = ""
    """A file under workflow/config/scales; all that have files if not given."""

    def run(self) -> None:
        """Compare and print."""
        from memdt.workflow.verify import show

        if not show(self.scale):
            sys.exit(1)


@dataclass(frozen=True)
class Pipeline:
    """Write dvc.yaml, what DVC keeps, as config.yaml and the imports are now."""

    check: bool = False
    """Write nothing; fail where dvc.yaml is out of step."""

    def run(self) -> None:
        """Write or check."""
        from memdt.workflow import pipeline

        pipeline.check() if self.check else pipeline.write()


@dataclass(frozen=True)
class Tidy:
    """Set aside runs that an experiment no longer asks for; the first part of its DVC stage."""

    experiment: str
    """A file under workflow/config/experiments."""
    scale: str = ""
    """A file under workflow/config/scales; that of config.yaml if not given."""

    def run(self) -> None:
        """Move and tell."""
        from memdt.settings.files import selection
        from memdt.workflow.restore import tidy

        tidy(self.scale or selection().scale, self.experiment)


@dataclass(frozen=True)
class Restore:
    """After `dvc pull`: hold all files against dvc.lock, then let Snakemake take them over."""

    def run(self) -> None:
        """Check, take over and tell."""
        from memdt.workflow.restore import restore

        restore()


@dataclass(frozen=True)
class CancelJobs:
    """Cancel the jobs in SLURM that a Snakemake of this folder, now gone, has left behind."""

    def run(self) -> None:
        """Cancel, wait until they are gone, and tell how many there were."""
        from memdt.workflow import guard, slurm

        submitted = slurm.jobs()
        if submitted is None:
            raise UserError("squeue does not answer here", "SLURM", "go to a login node")
        if guard.is_anyone_here():
            what = "Snakemake is at work in this folder and would submit them again"
            raise UserError(what, "", "stop it by Ctrl-C: it cancels its jobs")
        slurm.cancel(submitted)
        print(f"{slurm.count(submitted)} cancelled")


VERBS: dict[str, Any] = {
    "fetch": steps.Fetch,
    "agent": steps.Agent,
    "dataset": steps.Dataset,
    "export": Export,
    "play": Play,
    "train": steps.Train,
    "evaluate": steps.Evaluate,
    "attention": steps.Attention,
    "record": steps.Record,
    "table": report_steps.Table,
    "claims": report_steps.Claims,
    "figure": report_steps.Figure,
    "clip": report_steps.Clip,
    "metrics": report_steps.Metrics,
    "report": report_steps.Report,
    "settings": Settings,
    "schema": Schema,
    "doctor": Doctor,
    "plan": Plan,
    "status": Status,
    "publish": Publish,
    "verify": Verify,
    "pipeline": Pipeline,
    "tidy": Tidy,
    "restore": Restore,
    "cancel-jobs": CancelJobs,
}


def parse(arguments: Sequence[str] | None = None) -> Any:
    """The verb with its options; prints help or an error and exits if necessary."""
    return cast(
        Any,
        tyro.extras.subcommand_cli_from_dict(
            VERBS,
            args=arguments,
            prog="memdt",
            description="Memory decision transformers, step by step.",
        ),
    )


def require_project() -> None:
    """UserError if the current folder is not the project's root, from which all paths start."""
    if not paths.CONFIG.is_dir():
        raise UserError(
            f"there is no {paths.CONFIG} here", str(Path.cwd()), "cd to the folder of the Snakefile"
        )
