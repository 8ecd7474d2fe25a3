"""The verbs that make datasets and runs, one dataclass each; field docstrings are the help text.

Snakemake calls them and passes every path; by hand, paths follow from the names. A step imports
its modules when it runs, because each import delays the first update.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from memdt import paths
from memdt.errors import UserError

if TYPE_CHECKING:
    from memdt.settings.resolve import Resolved


@contextlib.contextmanager
def remedy_outside_data() -> Iterator[None]:
    """Replace the remedy of a refused file outside of ``data``: no rule could make it anew."""
    try:
        yield
    except UserError as error:
        if "snakemake" not in error.remedy or Path(error.where).is_relative_to("data"):
            raise
        remedy = "name another file, or leave the option out: no rule makes files outside of data"
        raise UserError(error.what, error.where, remedy) from None


@dataclass(frozen=True, kw_only=True)
class FileStep:
    """Options of every step that makes a file."""

    scale: str = ""
    """A file under workflow/config/scales; that of config.yaml if not given."""
    threads: int = 1
    """Threads of torch and BLAS. Jobs side by side are faster than threads inside one."""
    settings_digest: str = ""
    """What Snakemake planned with; the step refuses to run where settings have changed since."""
    source_digest: str = ""
    """The same for the source code."""

    @property
    def scale_name(self) -> str:
        """The scale, or that of config.yaml."""
        from memdt.settings.files import selection

        return self.scale or selection().scale

    def refuse_change(self, settings: dict[str, Any]) -> None:
        """UserError where settings are not those that the step was planned with."""
        from memdt.settings.resolve import digest

        if self.settings_digest not in ("", digest(settings)):
            raise UserError(
                "the settings have changed since this job was planned", "", "run snakemake again"
            )

    def source(self, step: str, **names: str | None) -> str:
        """The source digest; UserError if it changed since the step was planned."""
        from memdt.workflow.digests import source_digest

        digest = source_digest(step, **names)
        if self.source_digest not in ("", digest):
            raise UserError(
                "the source code has changed since this job was planned", "", "run snakemake again"
            )
        return digest


@dataclass(frozen=True, kw_only=True)
class RunStep(FileStep):
    """Options of every step of one run."""

    experiment: str
    """A file under workflow/config/experiments."""
    variant: str
    """One of its variants."""
    seed: int = 0

    def resolve(self) -> Resolved:
        """The settings of the run; UserError where no run can have this seed."""
        from memdt.settings.resolve import resolve
        from memdt.settings.schema import MOST

        if not 0 <= self.seed <= MOST:
            remedy = f"give a whole number from 0 to {MOST:,}"
            raise UserError(f"{self.seed} is no seed", "--seed", remedy)
        return resolve(self.experiment, self.variant, self.scale_name)

    def run_source(self, step: str) -> str:
        """The source digest of a step of this run; refuses like ``source``."""
        from memdt.workflow.digests import components_of

        return self.source(step, **components_of(step, self.resolve().settings))

    @property
    def label(self) -> str:
        """What the log calls the run."""
        return f"{self.experiment}/{self.variant} seed {self.seed}"


@dataclass(frozen=True)
class Fetch:
    """Fetch a file that datasets are made from, and check its size and digest."""

    path: tyro.conf.Positional[Path]
    """Where it belongs, as `snakemake -n` names it; MEMDT_MIRROR says where to look first."""

    def run(self) -> None:
        """Fetch, or find that it is there already."""
        from memdt.data.download import fetch
        from memdt.workflow import inputs

        fetch(inputs.fetched(self.path))


@dataclass(frozen=True, kw_only=True)
class Agent(FileStep):
    """Train the agent that the datasets of an environment are made with."""

    environment: str
    """A file under workflow/config/environments."""
    out: Path | None = None
    """data/agents/{scale}/{environment} if not given."""

    def run(self) -> None:
        """Train and write."""
        from memdt.workflow import inputs

        agent = inputs.agent(self.scale_name, self.environment)
        if agent is None:
            what = f"the dataset of {self.environment} is made without an agent"
            raise UserError(what, "", "memdt dataset makes it")
        name, shaped = agent
        self.refuse_change(shaped)
        from memdt import device
        from memdt.data.agents import AgentSettings
        from memdt.environments.task import Task
        from memdt.settings.resolve import digest, resolve_dataset
        from memdt.training.online.agent import AgentJob, train_agent

        device.prepare(f"agent of {name}")
        settings = resolve_dataset(name, self.scale_name)
        metadata = {
            "settings": shaped,
            "settings_digest": digest(shaped),
            "source_digest": self.source("agent", environment=settings.environment.module),
        }
        task, agent_settings = Task.of(settings.environment), AgentSettings(**shaped["agent"])
        out = self.out or paths.agent(self.scale_name, name)
        train_agent(AgentJob(task, agent_settings, out, metadata, name))


@dataclass(frozen=True, kw_only=True)
class Dataset(FileStep):
    """Make the dataset of an environment: played here, or read from raw files."""

    environment: str
    """A file under workflow/config/environments."""
    out: Path | None = None
    """data/datasets/{scale}/{environment}.h5 if not given."""

    raw: tuple[Path, ...] = ()
    """The raw files that it is made from; derived from the settings if not given."""

    def run(self) -> None:
        """Make and write."""
        from memdt.settings import slices
        from memdt.settings.resolve import resolve_dataset
        from memdt.workflow import inputs

        settings = resolve_dataset(self.environment, self.scale_name)
        self.refuse_change(slices.dataset(settings))
        components = {
            "environment": settings.environment.module,
            "source": settings.dataset["source"],
        }
        source_digest = self.source("dataset", **components)
        from memdt.data.make import make_dataset

        out = self.out or paths.dataset(self.scale_name, self.environment)
        raw = self.raw or inputs.dataset_inputs(self.scale_name, self.environment)
        make_dataset(settings, out, raw, source_digest)


@dataclass(frozen=True, kw_only=True)
class Train(RunStep):
    """Train one curriculum stage of a run."""

    stage: int = 1
    """Stages count from 1; each starts from the checkpoint of the one before, if there is one."""
    dataset: Path | None = None
    """That of the run's environment if not given."""
    start: tuple[Path, ...] = ()
    """Checkpoint that training starts from; derived from the settings if not given."""
    out: Path | None = None
    """The folder of the stage if not given."""

    def run(self) -> None:
        """Train and write checkpoint, curve and manifest."""
        from memdt.settings import slices
        from memdt.workflow import plan

        resolved = self.resolve()
        if not plan.trains_itself(resolved, self.experiment, self.variant):
            raise UserError(
                f"{self.variant} is evaluated from other checkpoints, there is nothing to train",
                "",
                f"train {resolved.experiment}/{resolved.variant}",
            )
        self.refuse_change(slices.train(resolved.settings, self.stage))
        from memdt import device
        from memdt.settings.runs import Run
        from memdt.training.train import TrainingJob, train_stage

        device.prepare(f"{self.label} stage {self.stage}", resolved.settings.training.precision)
        key = (self.scale_name, self.experiment, self.variant, self.seed)
        run = Run(self.experiment, self.variant, self.seed)
        job = TrainingJob(
            settings=resolved.settings,
            stage=self.stage,
            seed=self.seed,
            dataset=self.dataset or plan.dataset(*key[:3]),
            start=self.start[0] if self.start else plan.start(self.scale_name, run, self.stage),
            out=self.out or paths.stage(*key, self.stage),
            source_digest=self.run_source("train"),
            label=self.label,
        )
        with remedy_outside_data(), device.naming_what_to_lower("training.batch_size"):
            train_stage(job)


@dataclass(frozen=True, kw_only=True)
class CheckpointStep(RunStep):
    """Options of every step that plays with what a run has learnt."""

    checkpoint: Path | None = None
    """That of the last stage if not given."""
    dataset: tuple[Path, ...] = ()
    """Dataset of demonstrations, if the model uses any; derived from the settings if not given."""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Scale, experiment, variant and seed of the run."""
        return (self.scale_name, self.experiment, self.variant, self.seed)

    def given(self) -> dict[str, Any]:
        """Arguments that all these steps share; UserError if another job was planned."""
        from memdt.settings import slices
        from memdt.settings.runs import Run
        from memdt.workflow import plan

        settings = self.resolve().settings
        self.refuse_change(slices.evaluate(settings))
        run = Run(self.experiment, self.variant, self.seed)
        shown = plan.demonstrations(*self.key[:3])
        return {
            "settings": settings,
            "seed": self.seed,
            "checkpoint": self.checkpoint or plan.last_checkpoint(self.scale_name, run),
            "dataset": self.dataset[0] if self.dataset else shown,
        }


@dataclass(frozen=True, kw_only=True)
class Evaluate(CheckpointStep):
    """Play the evaluation episodes of a run, at all lengths and under all conditions."""

    out: Path | None = None
    """episodes.csv in the folder of the run if not given."""

    def run(self) -> None:
        """Evaluate and write a row an episode."""
        given = self.given()
        from memdt import device
        from memdt.evaluation.evaluate import EvaluationJob, evaluate_run

        device.prepare(f"{self.label} evaluation")
        job = EvaluationJob(
            **given,
            out=self.out or paths.episodes(*self.key),
            source_digest=self.run_source("evaluate"),
            label=self.label,
        )
        with remedy_outside_data(), device.naming_what_to_lower("evaluation.episodes"):
            evaluate_run(job)


@dataclass(frozen=True, kw_only=True)
class Attention(CheckpointStep):
    """Record where a policy looks in one evaluation episode."""

    out: Path | None = None
    """attention.npz in the folder of the run if not given."""

    def run(self) -> None:
        """Play one episode and write its attention weights."""
        given = self.given()
        self.run_source("attention")  # only to refuse: the output holds no digest
        from memdt.evaluation.attention_maps import AttentionJob, record_attention

        with remedy_outside_data():
            record_attention(AttentionJob(**given, out=self.out or paths.attention(*self.key)))


@dataclass(frozen=True, kw_only=True)
class Record(CheckpointStep):
    """Record memory, counts and frames of the first evaluation episodes of a run."""

    out: Path | None = None
    """recording.npz in the folder of the run if not given."""

    def run(self) -> None:
        """Play and write."""
        given = self.given()
        self.run_source("record")  # only to refuse: the output holds no digest
        from memdt import device
        from memdt.evaluation.recorder import RecordingJob, record_run

        device.prepare(f"{self.label} recording")
        job = RecordingJob(
            **given,
            out=self.out or paths.recording(*self.key),
            label=self.label,
        )
        with remedy_outside_data(), device.naming_what_to_lower("evaluation.episodes"):
            record_run(job)
