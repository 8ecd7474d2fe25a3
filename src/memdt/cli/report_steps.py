"""The verbs that make the report from the results of runs; written like those of `steps.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memdt import paths
from memdt.cli.steps import FileStep


def _episodes_for_table(scale: str, experiment: str) -> Any:
    """The episodes of an experiment with everything that its table shows."""
    from memdt.results import results
    from memdt.settings.files import experiment_file
    from memdt.settings.runs import seeds_of

    metrics = experiment_file(experiment).table.metrics
    return results.load_episodes(scale, experiment, seeds_of(scale, experiment), metrics=metrics)


def _manifests(scale: str, experiment: str) -> dict[str, list[list[Path]]]:
    """Of each variant's runs, the manifests of all stages that were trained for them."""
    from memdt.settings.runs import runs
    from memdt.workflow import plan

    manifests: dict[str, list[list[Path]]] = {}
    for run in runs(scale, experiment):
        manifests.setdefault(run.variant, []).append(plan.stages_behind(scale, run))
    return manifests


@dataclass(frozen=True, kw_only=True)
class Table(FileStep):
    """Hold the results of an experiment against the published numbers."""

    experiment: str
    """A file under workflow/config/experiments."""
    out: Path | None = None
    """reports/{scale}/tables/{experiment}.csv if not given."""

    def run(self) -> None:
        """Gather, compare and write."""
        self.source("table")
        from memdt.results import budgets, published, tables
        from memdt.settings.files import experiment_file

        scale, name = self.scale_name, self.experiment
        shape = experiment_file(name).table
        episodes = _episodes_for_table(scale, name)
        spent = budgets.budgets(_manifests(scale, name))
        table = tables.build_table(name, shape, episodes, published.published_cells(), spent)
        tables.write_table(table, self.out or paths.table(scale, name))


@dataclass(frozen=True, kw_only=True)
class ReportStep(FileStep):
    """Options of every step about the results of several experiments."""

    experiments: tuple[str, ...] = ()
    """Those whose results count; those of config.yaml if not given."""

    @property
    def counted(self) -> tuple[str, ...]:
        """The experiments, or those of config.yaml."""
        from memdt.workflow import plan

        return self.experiments or tuple(plan.default_experiments(self.scale_name))


@dataclass(frozen=True, kw_only=True)
class Claims(ReportStep):
    """Decide the papers' claims."""

    out: Path | None = None
    """reports/{scale}/claims.csv if not given."""

    def run(self) -> None:
        """Test every claim and write the verdicts."""
        self.source("claims")
        from memdt.results import claims, published, sequential

        scale = self.scale_name
        episodes = {name: _episodes_for_table(scale, name) for name in self.counted}
        verdicts = claims.evaluate_claims(
            claims.load_claims(), episodes, published.published_cells(), sequential.load_looks()
        )
        claims.write_claims(verdicts, self.out or paths.claims(scale))


@dataclass(frozen=True, kw_only=True)
class Figure(FileStep):
    """Draw figures of workflow/config/figures.yaml as SVG, with their data as CSV."""

    figure: tuple[str, ...] = ()
    """One or more of them; all that the experiments of config.yaml allow if not given."""

    def run(self) -> None:
        """Draw."""
        from memdt.workflow import plan

        scale = self.scale_name
        names = self.figure or tuple(plan.figures_of(plan.default_experiments(scale)))
        if len(names) == 1:
            self.source("figure", figure=plan.figure_module(names[0]))
        from memdt.figures.drawing import draw_all

        draw_all(names, scale)


@dataclass(frozen=True, kw_only=True)
class Clip(FileStep):
    """Make an animated picture of a figure that has one."""

    figure: str
    """One of workflow/config/figures.yaml."""
    out: Path | None = None
    """reports/{scale}/figures/{figure}.webp if not given."""

    def run(self) -> None:
        """Draw frame by frame and write."""
        from memdt.workflow import plan

        self.source("clip", figure=plan.figure_module(self.figure))
        from memdt.figures.clips import make_clip

        scale = self.scale_name
        make_clip(self.figure, scale, self.out or paths.clip(scale, self.figure))


@dataclass(frozen=True, kw_only=True)
class Metrics(ReportStep):
    """Write verdicts and means as a few numbers, for `dvc metrics`."""

    out: Path | None = None
    """reports/{scale}/metrics.json if not given."""

    def run(self) -> None:
        """Gather and write."""
        self.source("metrics")
        from memdt.results.metrics import write_metrics

        scale = self.scale_name
        write_metrics(scale, self.counted, self.out or paths.metrics(scale))


@dataclass(frozen=True, kw_only=True)
class Report(ReportStep):
    """Write the report of a scale, and beside it what the results cost."""

    out: Path | None = None
    """reports/{scale}/report.html if not given."""

    def run(self) -> None:
        """Render."""
        self.source("report")
        from memdt.report.render import render

        scale = self.scale_name
        render(scale, self.counted, out=self.out or paths.report(scale))
