"""``claims.json``: verdicts for programs, and the digests of the runs behind them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memdt import paths
from memdt.errors import UserError
from memdt.results.claims_json import content
from memdt.results.metrics import write_metrics


def test_claims_are_written_with_their_runs(reported: Path) -> None:
    write_metrics("tiny", ["walk"], paths.metrics("tiny"))
    path = paths.claims("tiny").with_suffix(".json")
    content = json.loads(path.read_text(encoding="utf-8"))
    (claim,) = content["claims"]
    assert (claim["id"], claim["verdict"], claim["evidence"]) == ("R1", "holds", "a; b")
    assert (claim["seeds"], claim["p_holds"]) == (3, 0.03)
    assert [(run["variant"], run["seed"]) for run in content["runs"]["walk"]] == [
        (variant, seed) for variant in ("far", "near") for seed in (0, 1, 2)
    ]
    assert {run["source_digest"] for run in content["runs"]["walk"]} == {"5" * 16}


def test_a_number_that_was_not_computed_is_null_and_a_text_stays(reported: Path) -> None:
    path = paths.claims("tiny")
    row = path.read_text(encoding="utf-8").replace(",6,", ",more than 40,").replace("0.0300", "")
    path.write_text(row, encoding="utf-8")
    (claim,) = content("tiny", ["walk"])["claims"]
    assert claim["fewest_seeds"] == "more than 40"
    assert claim["p_holds"] is None


def test_a_run_without_digests_is_refused(reported: Path) -> None:
    path = paths.run("tiny", "walk", "near", 0) / "evaluation_manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest["source_digest"]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(UserError, match="a manifest without digests"):
        content("tiny", ["walk"])
