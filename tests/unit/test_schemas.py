"""JSON Schemas for editors are in step with the settings, and accept the files that are there."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from memdt.settings import json_schemas

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "workflow" / "config"
FILES = {
    **{path: path.parent.name.rstrip("s") for path in sorted(CONFIG.glob("*/*.yaml"))},
    CONFIG / "config.yaml": "config",
    CONFIG / "figures.yaml": "figures",
}


@pytest.fixture(scope="module")
def schemas() -> dict[str, str]:
    return json_schemas.texts()


@pytest.fixture(scope="module")
def validators(schemas: dict[str, str]) -> dict[str, jsonschema.Draft202012Validator]:
    """A validator for each kind of file; reading and checking a schema takes half a second."""
    contents = {kind: json.loads(text) for kind, text in schemas.items()}
    for content in contents.values():
        jsonschema.Draft202012Validator.check_schema(content)
    return {kind: jsonschema.Draft202012Validator(content) for kind, content in contents.items()}


def test_the_committed_schemas_are_what_the_code_writes(schemas):
    folder = ROOT / json_schemas.FOLDER
    committed = {path.name.split(".")[0]: path.read_text() for path in folder.glob("*.schema.json")}
    assert committed == schemas, "run: python -m memdt schema"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIG)))
def test_every_file_fits_its_schema_and_names_it(validators, path):
    validators[FILES[path]].validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert f"/schemas/{FILES[path]}.schema.json\n" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("scale", {"title": "t", "reduced": True, "defaults": {"training.learnin_rate": 1.0}}),
        ("scale", {"title": "t", "reduced": True, "defaults": {"training": {"batch_size": -1}}}),
        ("model", {"environments": {"tmaze": {"model.layer": 2}}}),
        ("model", {"defaults": {"evaluation.conditions.noise.memory_edit": "loud"}}),
        ("experiment", {"title": "t"}),
        ("environment", {"segment_lenght": 30}),
        ("config", {"scale": "quick", "experiment": []}),
        ("figures", {"name": {"module": "m", "title": "t", "caption": "c"}}),
    ],
)
def test_slips_are_seen(validators, kind, content):
    with pytest.raises(jsonschema.ValidationError):
        validators[kind].validate(content)
