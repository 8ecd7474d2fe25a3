"""JSON Schemas of the YAML files under workflow/config, for completion and checks in editors.

They are generated from the settings classes and never edited; a test compares both. Blocks of
settings (``set``, ``defaults``, ...) may use nested mappings and dotted keys, so the schemas allow
both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from memdt import discovery
from memdt.errors import UserError
from memdt.files import write_text
from memdt.settings.files import ExperimentFile, ModelFile, ScaleFile, Selection
from memdt.settings.layers import EXTENDS, TITLE
from memdt.settings.pages import FigureSettings, FindingsFile
from memdt.settings.schema import RunSettings

FOLDER = Path("workflow/schemas")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Names of the blocks of dotted settings, and the class of each file by the name of its schema.
BLOCKS = ("set", "defaults", "environments", "models", "experiments")
FILES: dict[str, type[BaseModel]] = {
    "experiment": ExperimentFile,
    "model": ModelFile,
    "scale": ScaleFile,
    "config": Selection,
    "findings": FindingsFile,
}

Schema = dict[str, Any]
SETTINGS: Schema = {"$ref": "#/$defs/settings"}


def write() -> None:
    """Write every schema that has changed."""
    for name, text in texts().items():
        path = FOLDER / f"{name}.schema.json"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def check() -> None:
    """Raise UserError for the first schema that differs from the code."""
    for name, text in texts().items():
        path = FOLDER / f"{name}.schema.json"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            raise UserError("out of step with the settings", str(path), "python -m memdt schema")


def texts() -> dict[str, str]:
    """Return the text of every schema, by name."""
    schemas = {name: _file_schema(model) for name, model in FILES.items()}
    schemas["environment"] = _settings_block()
    schemas["environment"]["properties"][EXTENDS] = {
        "type": "string",
        "description": "the environment whose settings this file changes",
    }
    schemas["environment"]["properties"][TITLE] = {
        "type": "string",
        "description": "its name for readers; that of the environment it extends where not given",
    }
    figure = _inlined(TypeAdapter(FigureSettings).json_schema())
    schemas["figures"] = {"type": "object", "additionalProperties": figure}
    return {
        name: json.dumps({"$schema": DIALECT, **schema}, indent=1, sort_keys=True) + "\n"
        for name, schema in schemas.items()
    }


def _file_schema(model: type[BaseModel]) -> Schema:
    """The schema of a file, including its blocks of settings."""
    schema = _inlined(model.model_json_schema())
    if _refer_to_settings(schema):
        schema["$defs"] = {"settings": _settings_block()}
    return schema


def _refer_to_settings(schema: Schema) -> bool:
    """Make every block of settings refer to ``SETTINGS``; returns whether there is any block."""
    any_block = False
    for name, part in schema.get("properties", {}).items():
        values = part.get("additionalProperties")
        if name not in BLOCKS or part.get("type") != "object":
            any_block |= isinstance(values, dict) and _refer_to_settings(values)
        elif isinstance(values, dict):  # a block for each environment, model or experiment
            part["additionalProperties"] = SETTINGS
            any_block = True
        else:
            schema["properties"][name] = SETTINGS
            any_block = True
    return any_block


def _settings_block() -> Schema:
    """The schema of a block: any settings of a run, nested or dotted, none of them required."""
    schema = _inlined(RunSettings.model_json_schema())
    properties = schema["properties"]
    properties["model"] = _union("memdt.models")
    properties["environment"]["properties"]["parameters"] = _union("memdt.environments")
    properties["dataset"] = _union("memdt.data.sources")
    properties["learner"] = _union("memdt.training.learners")
    optional = _without_required(schema)
    dotted = _dotted(optional)
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: part for name, part in dotted.items() if "[" not in name},
        "patternProperties": {f"^{name}$": part for name, part in dotted.items() if "[" in name},
    }


def _union(package: str) -> Schema:
    """The settings of all modules of a package together.

    The schema does not tell which keys belong to which module; ``resolve`` checks that.
    """
    properties: dict[str, list[Schema]] = {}
    for name in discovery.names(package):
        module = discovery.load(package, name)
        for key, part in (
            _inlined(module.Settings.model_json_schema()).get("properties", {}).items()
        ):
            forms = properties.setdefault(key, [])
            if part not in forms:
                forms.append(part)
    joined = {k: v[0] if len(v) == 1 else {"anyOf": v} for k, v in properties.items()}
    return {"type": "object", "additionalProperties": False, "properties": joined}


def _dotted(schema: Schema, prefix: str = "") -> Schema:
    """Every part under its dotted name, at every depth; names that users choose are patterns."""
    dotted: Schema = {}
    forms = [schema, *schema.get("anyOf", [])]  # settings that may be null have two forms
    properties = {k: v for form in forms for k, v in form.get("properties", {}).items()}
    parts = {f"{prefix}{name}": part for name, part in properties.items()}
    if isinstance(schema.get("additionalProperties"), dict) and prefix:
        parts[prefix.replace(".", r"\.") + "[^.]+"] = schema["additionalProperties"]
    for name, part in parts.items():
        dotted[name] = part
        dotted |= _dotted(part, f"{name}." if "[" not in name else rf"{name}\.")
    return dotted


def _without_required(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_required(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    # Defaults are removed too, because a missing key takes its value from the layer below.
    optional = {k: v for k, v in schema.items() if k not in ("default", "title")}
    if isinstance(optional.get("required"), list):
        del optional["required"]
    return {key: _without_required(value) for key, value in optional.items()}


def _inlined(schema: Schema) -> Schema:
    """The schema with every reference replaced by its target."""
    definitions = schema.get("$defs", {})

    def resolve(part: Any) -> Any:
        if isinstance(part, list):
            return [resolve(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return resolve(definitions[part["$ref"].rpartition("/")[2]])
        return {key: resolve(value) for key, value in part.items() if key != "$defs"}

    resolved: Schema = resolve(schema)
    return resolved
