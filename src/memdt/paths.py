"""Where each artefact lies: the path is the flow of the data (docs/output.md).

All paths are relative to the project's root, the folder that holds the Snakefile.
"""

from __future__ import annotations

from pathlib import Path

CONFIG = Path("workflow/config")
PUBLISHED = Path("data/published")
SECOND_OPINIONS = PUBLISHED / "second_opinions"
DATASETS = Path("data/datasets")
AGENTS = Path("data/agents")
RUNS = Path("data/runs")
LEDGER = "records.jsonl"


def published_files(root: Path = Path()) -> list[Path]:
    """The printed numbers of every paper, a file each; second transcriptions are for a test."""
    files = sorted((root / PUBLISHED).glob("[!.]*.csv"))
    return [file for file in files if not file.stem.endswith("_second_transcription")]


def second_opinions(experiment: str, root: Path = Path()) -> Path:
    """What others measured with an experiment's methods; most experiments have no such file."""
    return root / SECOND_OPINIONS / f"{experiment}.csv"


def dataset(scale: str, environment: str) -> Path:
    """The collected episodes of one configured environment."""
    return DATASETS / scale / f"{environment}.h5"


def agent(scale: str, environment: str) -> Path:
    """The folder of the agent that the datasets of an environment are made with."""
    return AGENTS / scale / environment


def experiment_folder(scale: str, experiment: str) -> Path:
    """The folder of all runs of an experiment."""
    return RUNS / scale / experiment


def run(scale: str, experiment: str, variant: str, seed: int) -> Path:
    """The folder of one variant under one seed."""
    return experiment_folder(scale, experiment) / variant / f"seed_{seed}"


def stage(scale: str, experiment: str, variant: str, seed: int, number: int) -> Path:
    """The folder of one training stage; stages count from 1."""
    return run(scale, experiment, variant, seed) / f"stage_{number}"


def checkpoint(scale: str, experiment: str, variant: str, seed: int, number: int) -> Path:
    """The weights at the end of a stage."""
    return stage(scale, experiment, variant, seed, number) / "checkpoint.safetensors"


def episodes(scale: str, experiment: str, variant: str, seed: int) -> Path:
    """The evaluation of one run, a row an episode."""
    return run(scale, experiment, variant, seed) / "episodes.csv"


def attention(scale: str, experiment: str, variant: str, seed: int) -> Path:
    """The attention weights of one evaluation episode."""
    return run(scale, experiment, variant, seed) / "attention.npz"


def recording(scale: str, experiment: str, variant: str, seed: int) -> Path:
    """What was recorded of the first evaluation episodes of a run."""
    return run(scale, experiment, variant, seed) / "recording.npz"


def table(scale: str, experiment: str) -> Path:
    """The published and reproduced cells of one experiment."""
    return Path("reports") / scale / "tables" / f"{experiment}.csv"


def figure(scale: str, name: str) -> Path:
    """A figure; the data behind it lie beside it as CSV."""
    return Path("reports") / scale / "figures" / f"{name}.svg"


def clip(scale: str, name: str) -> Path:
    """A figure as an animated picture."""
    return figure(scale, name).with_suffix(".webp")


def claims(scale: str) -> Path:
    """The verdict on every claim."""
    return Path("reports") / scale / "claims.csv"


def metrics(scale: str) -> Path:
    """Verdicts and means as numbers for programs."""
    return Path("reports") / scale / "metrics.json"


def report(scale: str) -> Path:
    """The report."""
    return Path("reports") / scale / "report.html"


def ledger(output: Path) -> Path:
    """The ledger that holds the record of an output: one an experiment, else one a file name."""
    if output.is_relative_to(RUNS):
        return experiment_folder(*output.relative_to(RUNS).parts[:2]) / LEDGER
    return output.with_suffix(f".{LEDGER}")
