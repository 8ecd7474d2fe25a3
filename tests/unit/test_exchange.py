"""``memdt export croissant``, ``crate`` and ``curves``: what other people's tools accept."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import pytest

from made_up.project import put
from memdt import paths
from memdt.data.croissant import write_croissant
from memdt.data.make import make_dataset
from memdt.environments import tmaze
from memdt.errors import UserError
from memdt.files import sha256
from memdt.settings.schema import DatasetSettings
from memdt.training.tensorboard import write_events
from memdt.workflow.crate import PROFILES, write_crate


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    settings = DatasetSettings.model_validate(
        {
            "environment": {
                "name": "maze", "module": "tmaze", "parameters": tmaze.Settings().model_dump()
            },
            "dataset": {"source": "played", "lengths": [5], "episodes_per_length": 3},
        }
    )  # fmt: skip
    make_dataset(settings, tmp_path / "maze.h5", source_digest="s")
    return tmp_path / "maze.h5"


# rdflib, which mlcroissant reads JSON-LD with, uses a class of its own that it deprecates.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")
def test_mlcroissant_reads_the_description_of_a_dataset(dataset: Path, tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    write_croissant(dataset, tmp_path / "maze.json", "maze", "tiny")
    read = mlcroissant.Dataset(str(tmp_path / "maze.json"))  # raises where it is not valid
    (file,) = read.metadata.distribution
    assert (file.name, file.sha256) == ("maze.h5", sha256(dataset))
    rows = {text(row["arrays/array"]): row for row in read.records("arrays")}
    with h5py.File(dataset) as arrays:
        assert set(rows) == set(arrays)
        for name, array in arrays.items():
            assert text(rows[name]["arrays/shape"]) == str(list(array.shape))


def text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def test_a_dataset_that_is_not_there_is_not_described(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no dataset -> snakemake"):
        write_croissant(tmp_path / "maze.h5", tmp_path / "maze.json", "maze", "tiny")


@pytest.fixture
def crate(reported: Path) -> Path:
    pytest.importorskip("rocrate")
    put(Path("Snakefile"), "rule all:\n")
    put(Path("requirements.lock"), "torch==2.13.0\n")
    put(paths.report("tiny"), "<!doctype html>\n")
    return write_crate("tiny", ["walk"], reported / "crate")


def entities(crate: Path) -> dict[str, Any]:
    text = (crate / "ro-crate-metadata.json").read_text(encoding="utf-8")
    return {entity["@id"]: entity for entity in json.loads(text)["@graph"]}


def test_a_crate_says_what_ran_on_what_and_what_came_of_it(crate: Path) -> None:
    by_id = entities(crate)
    assert {one["@id"] for one in by_id["./"]["conformsTo"]} == set(PROFILES)
    assert by_id["./"]["mainEntity"] == {"@id": "Snakefile"}
    (action,) = [entity for entity in by_id.values() if entity["@type"] == "CreateAction"]
    assert action["instrument"] == {"@id": "Snakefile"}
    results = {one["@id"] for one in action["result"]}
    assert {"reports/tiny/report.html", "reports/tiny/claims.json"} <= results
    for one in (*action["object"], *action["result"]):
        assert (crate / one["@id"]).is_file()
    assert "Reduced scale" in by_id["./"]["description"]


def test_the_validator_of_ro_crates_has_no_complaint(crate: Path) -> None:
    validator = shutil.which("rocrate-validator")
    if validator is None:
        pytest.skip("no rocrate-validator: pip install roc-validator, in an environment of its own")
    command = [validator, "--no-interactive", "validate", "--no-paging", "-p", "workflow-run-crate"]
    done = subprocess.run([*command, str(crate)], capture_output=True, text=True, check=False)
    if "URLError" in done.stdout:
        pytest.skip("rocrate-validator reads the vocabularies of its profiles from the network")
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_packed_over_something_or_without_a_report(crate: Path) -> None:
    with pytest.raises(UserError, match="there is already something"):
        write_crate("tiny", ["walk"], crate)
    with pytest.raises(UserError, match="there is no report yet"):
        write_crate("full", ["walk"], crate / "another")


def test_curves_need_a_run_and_become_scalars(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stage of this run has a curve"):
        write_events(tmp_path, tmp_path / "events")
    for stage in (1, 2):
        text = f"stage,update,segments,loss\n{stage},10,1,0.5\n{stage},20,1,0.25\n"
        put(tmp_path / f"stage_{stage}" / "curve.csv", text)
    pytest.importorskip("tensorboard")
    assert write_events(tmp_path, tmp_path / "events") == 4
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    scalars = events.Scalars("loss")
    assert [(one.step, one.value) for one in scalars] == [
        (10, 0.5),
        (20, 0.25),
        (30, 0.5),
        (40, 0.25),
    ]
