"""Write ``claims.json``: every claim with its verdict, its evidence, and the digests behind it.

For programs, and for whoever checks a verdict: the runs that a claim rests on are named with the
settings, the code and the episodes that they were evaluated with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from memdt import paths
from memdt.errors import UserError
from memdt.files import write_text
from memdt.provenance import read_manifest
from memdt.results.claims import read_claims

FORMAT = "memdt claims 1"
TEXTS = ("id", "text", "sentence", "source", "origin", "experiment", "test", "verdict", "evidence")
NUMBERS = {"seeds": int, "fewest_seeds": int, "p_holds": float, "p_fails": float}


def write_claims_json(scale: str, experiments: Sequence[str], path: Path) -> None:
    """Write the claims of a scale; the same results give the same bytes."""
    text = json.dumps(content(scale, experiments), indent=1, ensure_ascii=False)
    write_text(path, text + "\n")


def content(scale: str, experiments: Sequence[str]) -> dict[str, Any]:
    """Gather the claims in the order of claims.csv, and the runs of each experiment."""
    rows = read_claims(paths.claims(scale)).to_dict("records")
    return {
        "format": FORMAT,
        "scale": scale,
        "claims": [_claim({str(key): value for key, value in row.items()}) for row in rows],
        "runs": {name: list(_runs(scale, name)) for name in experiments},
    }


def _claim(row: dict[str, str]) -> dict[str, Any]:
    """One claim; what was not computed is null."""
    numbers = {name: _number(row[name], kind) for name, kind in NUMBERS.items()}
    return {**{name: row[name] for name in TEXTS}, **numbers}


def _number(text: str, kind: type[int] | type[float]) -> int | float | str | None:
    """A number; a text such as `more than 40` stays one."""
    try:
        return kind(text) if text else None
    except ValueError:
        return text


def _runs(scale: str, experiment: str) -> Iterator[dict[str, Any]]:
    """The evaluated runs of an experiment, with the digests of their evaluations."""
    folder = paths.experiment_folder(scale, experiment)
    for path in sorted(folder.glob("*/seed_*/evaluation_manifest.json")):
        manifest = read_manifest(path)
        if "settings_digest" not in manifest and "source_digest" not in manifest:
            raise UserError("a manifest without digests", str(path), "evaluate the run again")
        yield {
            "variant": path.parts[-3],
            "seed": manifest["seed"],
            "settings_digest": manifest.get("settings_digest"),
            "source_digest": manifest.get("source_digest"),
            "episodes_sha256": manifest.get("files", {}).get("episodes.csv"),
        }
