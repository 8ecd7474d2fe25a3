"""JSON Schemas of the YAML files under workflow/config, for editors: completion and red lines.

Made from the settings models, never edited; a test keeps both in step. Settings blocks (``set``,
``defaults``, ...) take nested mappings as well as dotted keys, so both are described.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from memdt import discovery
from memdt.errors import UserError
from memdt.files import write_text
from memdt.settings.layers import EXTENDS, TITLE
from memdt.settings.pages import FigureSettings, FindingsFile
from memdt.settings.schema import ExperimentFile, ModelFile, RunSettings, ScaleFile, Selection

FOLDER = Path("workflow/schemas")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Blocks of dotted settings in a file's model, and the files' models by the name of their schema.
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
    """Write every schema; those that are in step stay untouched."""
    for name, text in texts().items():
        path = FOLDER / f"{name}.schema.json"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def check() -> None:
    """UserError for the first schema that is not what the code would write."""
    for name, text in texts().items():
        path = FOLDER / f"{name}.schema.json"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            raise UserError("out of step with the settings", str(path), "python -m memdt schema")


def texts() -> dict[str, str]:
    """The text of every schema by its name."""
    schemas = {name: _file_schema(model) for name, model in FILES.items()}
    schemas["environment"] = _settings_block()
    schemas["environment"]["properties"][EXTENDS] = {
        "type": "string",
        "description": "the environment that this one is, but for what is said here",
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
    """The schema of a file, with its blocks of settings described."""
    schema = _inlined(model.model_json_schema())
    if _point_at_blocks(schema):
        schema["$defs"] = {"settings": _settings_block()}
    return schema


def _point_at_blocks(schema: Schema) -> bool:
    """Say wherever a block of settings stands what it may hold; False where there is none."""
    found = False
    for name, part in schema.get("properties", {}).items():
        holder = part.get("additionalProperties")
        if name not in BLOCKS or part.get("type") != "object":
            found |= isinstance(holder, dict) and _point_at_blocks(holder)
        elif isinstance(holder, dict):  # a block for each environment, model or experiment
            part["additionalProperties"] = SETTINGS
            found = True
        else:
            schema["properties"][name] = SETTINGS
            found = True
    return found


def _settings_block() -> Schema:
    """Any of the settings of a run, nested or dotted, none of them required."""
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
    """The settings of all modules of a package side by side; which go together the code checks."""
    properties: dict[str, list[Schema]] = {}
    for name in discovery.names(package):
        module = discovery.load(package, name)
        for key, part in (
            _inlined(module.Settings.model_json_schema()).get("properties", {}).items()
        ):
            known = properties.setdefault(key, [])
            if part not in known:
                known.append(part)
    joined = {k: v[0] if len(v) == 1 else {"anyOf": v} for k, v in properties.items()}
    return {"type": "object", "additionalProperties": False, "properties": joined}


def _dotted(schema: Schema, prefix: str = "") -> Schema:
    """Every part under its dotted name, at every depth; what people name is a pattern in it."""
    found: Schema = {}
    forms = [schema, *schema.get("anyOf", [])]  # settings that may be null have two
    properties = {k: v for form in forms for k, v in form.get("properties", {}).items()}
    parts = {f"{prefix}{name}": part for name, part in properties.items()}
    if isinstance(schema.get("additionalProperties"), dict) and prefix:
        parts[prefix.replace(".", r"\.") + "[^.]+"] = schema["additionalProperties"]
    for name, part in parts.items():
        found[name] = part
        found |= _dotted(part, f"{name}." if "[" not in name else rf"{name}\.")
    return found


def _without_required(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_required(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    # Defaults go as well: in a layer, what is not said is what the layer below says.
    kept = {k: v for k, v in schema.items() if k not in ("default", "title")}
    if isinstance(kept.get("required"), list):
        del kept["required"]
    return {key: _without_required(value) for key, value in kept.items()}


def _inlined(schema: Schema) -> Schema:
    """The schema without references: each is replaced by what it refers to."""
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
