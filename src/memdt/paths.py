"""Where each artefact lies: the path is the flow of the data (docs/output.md).

All paths are relative to the project's root, the folder that holds the Snakefile.
"""

from __future__ import annotations

from pathlib import Path

CONFIG = Path("workflow/config")
PUBLISHED = Path("data/published")


def dataset(scale: str, environment: str) -> Path:
    """The collected episodes of one configured environment."""
    return Path("data/datasets") / scale / f"{environment}.h5"


def run(scale: str, experiment: str, variant: str, seed: int) -> Path:
    """The folder of one variant under one seed."""
    return Path("data/runs") / scale / experiment / variant / f"seed_{seed}"


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


def table(scale: str, experiment: str) -> Path:
    """The published and reproduced cells of one experiment."""
    return Path("reports") / scale / "tables" / f"{experiment}.csv"


def figure(scale: str, name: str) -> Path:
    """A figure; the data behind it lie beside it as CSV."""
    return Path("reports") / scale / "figures" / f"{name}.svg"


def claims(scale: str) -> Path:
    """The verdict on every claim."""
    return Path("reports") / scale / "claims.csv"


def report(scale: str) -> Path:
    """The report."""
    return Path("reports") / scale / "report.html"
