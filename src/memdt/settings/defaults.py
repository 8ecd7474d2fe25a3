"""A file that pins every default of every setting, so that nobody changes one by accident.

Digests leave out values that equal their default (`slices.py`). After a change of a default, old
results would therefore pass for new ones. `memdt schema` adds new defaults to the file and refuses
changed ones. A test compares the file with the code.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, TypeAdapter

from memdt import discovery
from memdt.errors import UserError
from memdt.files import write_text
from memdt.settings import schema

FILE = Path("workflow/schemas/defaults.json")
ACCEPT = "memdt schema --accept-defaults"
# Packages whose modules have a class `Settings`.
COMPONENTS = ("memdt.models", "memdt.environments", "memdt.data.sources", "memdt.training.learners")

Defaults = dict[str, dict[str, Any]]  # by the name of a class, then of a field


def update(accept: bool = False) -> None:
    """Update the file. Raises UserError for a changed default, unless ``accept``."""
    if not accept:
        refuse_changes(pinned(), current())
    text = json.dumps(current(), indent=1, sort_keys=True) + "\n"
    if not FILE.is_file() or FILE.read_text(encoding="utf-8") != text:
        write_text(FILE, text)


def check() -> None:
    """Raise UserError if the file differs from the code."""
    refuse_changes(pinned(), current())
    if pinned() != current():
        raise UserError("out of step with the settings", str(FILE), "python -m memdt schema")


def refuse_changes(before: Defaults, now: Defaults) -> None:
    """Raise UserError for the first default that differs; new and removed ones are allowed."""
    for name, fields in now.items():
        for field, value in fields.items():
            old = before.get(name, {})
            if field in old and old[field] != value:
                raise UserError(
                    f"the default of {name}.{field} was {json.dumps(old[field])} and is "
                    f"{json.dumps(value)}: changing it changes results silently, since no digest "
                    "holds a default",
                    str(FILE),
                    "give the setting a new name, or run "
                    f"`{ACCEPT}` and make anew what it shapes (snakemake --forcerun)",
                )


def pinned() -> Defaults:
    """Return the defaults in the file; empty if there is no file yet."""
    if not FILE.is_file():
        return {}
    try:
        content: Defaults = json.loads(FILE.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"not valid JSON ({error})", str(FILE), "git restore it") from None
    return content


def current() -> Defaults:
    """Return the defaults in the code, as JSON values."""
    classes = {name: of_class(model) for name, model in settings_classes().items()}
    return {name: defaults for name, defaults in classes.items() if defaults}


def of_class(model: type[BaseModel]) -> dict[str, Any]:
    """Return the defaults of a class by field; for nested settings, what differs from their own."""
    return {
        name: TypeAdapter[Any](cast(Any, field.annotation)).dump_python(
            field.get_default(call_default_factory=True), mode="json", exclude_defaults=True
        )
        for name, field in model.model_fields.items()
        if not field.is_required()
    }


def settings_classes() -> dict[str, type[BaseModel]]:
    """Return all settings classes by name: of `schema.py`, of components, and nested in these."""
    classes = {
        name: value
        for name, value in vars(schema).items()
        if _is_settings(value) and value.__module__ == schema.__name__
    }
    for package in filter(importlib.util.find_spec, COMPONENTS):
        for component in discovery.names(package):
            settings = getattr(discovery.load(package, component), "Settings", None)
            if settings is not None:
                classes[f"{package.removeprefix('memdt.')}.{component}"] = settings
    for outer in tuple(classes.values()):
        for nested in _nested(outer):
            if nested not in classes.values():
                module = nested.__module__.removeprefix("memdt.")
                classes[f"{module}.{nested.__qualname__}"] = nested
    return classes


def _nested(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The settings classes in the fields of another one, at any depth."""
    for field in model.model_fields.values():
        annotations: list[Any] = [field.annotation]
        while annotations:
            annotation = annotations.pop()
            if _is_settings(annotation):
                yield annotation
                yield from _nested(annotation)
            annotations += get_args(annotation)


def _is_settings(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)
