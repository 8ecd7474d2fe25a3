"""Write a trained policy to a folder that ``memdt.load`` takes on any machine.

    policy.safetensors   the weights: the bytes of the run's last checkpoint
    settings.json        what is needed to play it (`policy_settings.py`)
    scores.csv           means of the run's evaluation episodes
    provenance.json      the manifests of the training and of the evaluation
    README.md            a model card, in the format of the Hugging Face Hub
    LICENSE

The same run gives the same bytes.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from memdt.errors import UserError
from memdt.evaluation import model_card, policy_settings
from memdt.evaluation.episode_table import FIRST
from memdt.evaluation.loading import REMEDY, find
from memdt.evaluation.model_card import Score
from memdt.evaluation.policy_settings import CHECKPOINT, EVALUATION, SETTINGS, WEIGHTS
from memdt.provenance import read_manifest, read_measured
from memdt.training.checkpoints import read_checkpoint

OUTCOMES = ("success", "score", "return")  # columns of episodes.csv that a card averages


def export_policy(run: Path, to: Path) -> Path:
    """Write a run to the new folder ``to``, whole or not at all, and return it.

    Raises:
        UserError: the run has no checkpoint or has not been evaluated, or ``to`` is there already.
    """
    weights = find(run)
    if weights.name != CHECKPOINT:
        raise UserError("this is no run", str(run), "name a folder under data/runs")
    if to.exists():
        raise UserError("there is already something", str(to), "give another --to")
    content, _ = read_checkpoint(weights, REMEDY)
    settings = policy_settings.of_checkpoint(weights, content)
    folder = weights.parents[1]
    if settings.target_return is None:
        remedy = "evaluate it first: the card gives its scores"
        raise UserError("this run has not been evaluated", str(folder), remedy)
    results = scores(folder / "episodes.csv")
    origin = provenance(weights, folder)
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    try:
        shutil.copyfile(weights, temporary / WEIGHTS)
        texts = {
            SETTINGS: settings.as_text(),
            "scores.csv": _as_csv(results),
            "provenance.json": json.dumps(origin, indent=1, sort_keys=True) + "\n",
            "README.md": model_card.text(settings, results, origin, folder),
            "LICENSE": _licence(),
        }
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
        os.replace(temporary, to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return to


def scores(episodes: Path) -> list[Score]:
    """Average the episodes of each condition and length, in the order of the file."""
    try:
        with episodes.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise UserError(
            f"cannot be read ({error.strerror})", str(episodes), "evaluate it again"
        ) from None
    if not rows or not set(FIRST) <= set(rows[0]):
        raise UserError("not the episodes of an evaluation", str(episodes), "evaluate it again")
    cells: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for row in rows:
        for outcome in OUTCOMES:
            if outcome in row:
                cells[row["condition"], int(row["segments"]), outcome].append(float(row[outcome]))
    return [
        Score(*cell, mean=sum(values) / len(values), episodes=len(values))
        for cell, values in cells.items()
    ]


def provenance(weights: Path, run: Path) -> dict[str, Any]:
    """Both manifests, and the commit that each was made at."""
    parts = {
        "training": weights.with_name("manifest.json"),
        "evaluation": run / EVALUATION,
    }
    return {
        name: {
            **read_manifest(path),
            "git_commit": read_measured(path).get("git_commit"),
        }
        for name, path in parts.items()
    }


def _as_csv(results: Iterable[Score]) -> str:
    lines = ["condition,segments,outcome,mean,episodes"]
    lines += [f"{s.condition},{s.segments},{s.outcome},{s.mean:.6g},{s.episodes}" for s in results]
    return "\n".join(lines) + "\n"


def _licence() -> str:
    """The licence of the project, or that of the installed package."""
    own = Path("LICENSE")
    if own.is_file():
        return own.read_text(encoding="utf-8")
    return metadata.distribution("memdt").read_text("licenses/LICENSE") or "MIT\n"
