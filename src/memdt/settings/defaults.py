"""Every default of every setting, pinned in a file, so that nobody changes one unawares.

A value that equals its default is in no digest (`slices.py`), so results made with an old default
would pass for results of the new one. `memdt schema` adds new defaults to the file and refuses
changed ones; a test holds the file against the code.
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
# Packages whose modules have a class `Settings`; one that is not there has no modules.
COMPONENTS = ("memdt.models", "memdt.environments", "memdt.data.sources", "memdt.training.learners")

Defaults = dict[str, dict[str, Any]]  # by the name of a class, then of a field


def update(accept: bool = False) -> None:
    """Bring the file into step with the code. UserError for a changed default, unless accepted."""
    if not accept:
        refuse_changes(pinned(), current())
    text = json.dumps(current(), indent=1, sort_keys=True) + "\n"
    if not FILE.is_file() or FILE.read_text(encoding="utf-8") != text:
        write_text(FILE, text)


def check() -> None:
    """UserError where the file is not what the code would write."""
    refuse_changes(pinned(), current())
    if pinned() != current():
        raise UserError("out of step with the settings", str(FILE), "python -m memdt schema")


def refuse_changes(before: Defaults, now: Defaults) -> None:
    """UserError for the first default that differs; a field may come, go or lose its default."""
    for name, fields in now.items():
        for field, value in fields.items():
            known = before.get(name, {})
            if field in known and known[field] != value:
                raise UserError(
                    f"the default of {name}.{field} was {json.dumps(known[field])} and is "
                    f"{json.dumps(value)}: changing it changes results silently, since no digest "
                    "holds a default",
                    str(FILE),
                    "give the setting a new name, or run "
                    f"`{ACCEPT}` and make anew what it shapes (snakemake --forcerun)",
                )


def pinned() -> Defaults:
    """What the file says; nothing where there is none yet."""
    if not FILE.is_file():
        return {}
    try:
        content: Defaults = json.loads(FILE.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"not valid JSON ({error})", str(FILE), "git restore it") from None
    return content


def current() -> Defaults:
    """What the code says, as JSON values."""
    found = {name: of_class(model) for name, model in settings_classes().items()}
    return {name: defaults for name, defaults in found.items() if defaults}


def of_class(model: type[BaseModel]) -> dict[str, Any]:
    """The defaults of a class by field; of settings in settings, only what differs from theirs."""
    return {
        name: TypeAdapter[Any](cast(Any, field.annotation)).dump_python(
            field.get_default(call_default_factory=True), mode="json", exclude_defaults=True
        )
        for name, field in model.model_fields.items()
        if not field.is_required()
    }


def settings_classes() -> dict[str, type[BaseModel]]:
    """Those of `schema.py`, of every component, and those that are fields of these, by name."""
    found = {
        name: one
        for name, one in vars(schema).items()
        if _is_settings(one) and one.__module__ == schema.__name__
    }
    for package in filter(importlib.util.find_spec, COMPONENTS):
        for component in discovery.names(package):
            its_class = getattr(discovery.load(package, component), "Settings", None)
            if its_class is not None:
                found[f"{package.removeprefix('memdt.')}.{component}"] = its_class
    for one in tuple(found.values()):
        for nested in _nested(one):
            if nested not in found.values():
                found[f"{nested.__module__.removeprefix('memdt.')}.{nested.__qualname__}"] = nested
    return found


def _nested(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The settings classes in the fields of another one, at any depth."""
    for field in model.model_fields.values():
        open_types: list[Any] = [field.annotation]
        while open_types:
            one = open_types.pop()
            if _is_settings(one):
                yield one
                yield from _nested(one)
            open_types += get_args(one)


def _is_settings(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, BaseModel)
