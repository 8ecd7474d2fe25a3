"""Read the YAML layers and merge them, recording the file that each value came from.

Later layers win: environments/ <- models/ <- experiments/ (set, variants.<name>.set) <- scales/.
A variant is defined by the values that it sets, so a scale can only change these in the block of
the experiment.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from memdt import paths
from memdt.errors import UserError, closest
from memdt.settings import yaml_files
from memdt.settings.names import fault

# Keys of an environment's file that are no settings: another one that it is like, and its name for
# readers.
EXTENDS, TITLE = "extends", "title"
FileModel = TypeVar("FileModel", bound=BaseModel)


@dataclass(frozen=True)
class Layered:
    """Dotted settings with the origin of each."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def over(self, block: Mapping[str, Any], origin: str) -> Layered:
        """Return these settings with ``block`` merged into them.

        A mapping and another kind of value under the same key replace each other as a whole.
        """
        values, origins = dict(self.values), dict(self.origins)
        for key, value in flatten(block, where=origin).items():
            for old in [k for k in values if k.startswith(f"{key}.") or key.startswith(f"{k}.")]:
                del values[old], origins[old]
            values[key], origins[key] = value, origin
        return Layered(values, origins)

    def with_parts_of(self, other: Layered, parts: Collection[str]) -> Layered:
        """Return these settings, with some parts (first words of keys) taken from ``other``."""
        own = {k: v for k, v in self.values.items() if k.split(".")[0] not in parts}
        taken = {k: v for k, v in other.values.items() if k.split(".")[0] in parts}
        origins = {k: self.origins[k] for k in own} | {k: other.origins[k] for k in taken}
        return Layered(own | taken, origins)

    def nested(self) -> dict[str, Any]:
        """Return the settings as nested mappings."""
        tree: dict[str, Any] = {}
        for key, value in self.values.items():
            *parents, leaf = key.split(".")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = value
        return tree

    def origin(self, key: str) -> str:
        """Return the file that set ``key`` or anything below it; "default" if none did."""
        for name, source in self.origins.items():
            if name == key or name.startswith(f"{key}.") or key.startswith(f"{name}."):
                return source
        return "default"


def flatten(block: Mapping[str, Any], prefix: str = "", where: str = "") -> dict[str, Any]:
    """Turn nested or dotted mappings into one mapping of dotted keys.

    UserError, about the file ``where``, for a key that stands there twice in different forms.

    >>> flatten({"model": {"layers": 2}, "training.segments": 3, "empty": {}})
    {'model.layers': 2, 'training.segments': 3, 'empty': {}}
    """
    flat: dict[str, Any] = {}
    for key, value in block.items():
        name = f"{prefix}{key}"
        below = isinstance(value, Mapping) and value
        below_it = flatten(value, f"{name}.", where) if below else {name: value}
        for one in below_it:
            other = _same_setting(one, flat)
            if other:
                what = f"{one} appears twice" if one == other else f"{one} stands beside {other}"
                raise UserError(what, where, "remove one of them")
        flat.update(below_it)
    return flat


def _same_setting(key: str, flat: Mapping[str, Any]) -> str:
    """A key that says something of the same setting, or of one around it; empty if none."""
    parts = key.split(".")
    around = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return next((one for one in around if one in flat), "")


def available(kind: str) -> list[str]:
    """Return the names of all environments, models, experiments or scales.

    Raises UserError for a file whose name is not a valid name. Hidden files are ignored.
    """
    files = [path for path in (paths.CONFIG / kind).glob("*.yaml") if path.name[0] != "."]
    for path in files:
        if why := fault(path.stem, dots=False):
            raise UserError(why, str(path), "rename the file")
    return sorted(path.stem for path in files)


@cache
def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file. Raises UserError if it is missing or not a mapping."""
    try:
        content = yaml_files.read(path)
    except FileNotFoundError:
        names = [p.stem for p in path.parent.glob("*.yaml") if p.name[0] != "."]
        raise UserError(
            f"there is no {path.stem!r}", str(path), closest(path.stem, names)
        ) from None
    if not isinstance(content, dict):
        raise UserError("expected keys and values", str(path), "see docs/add_your_own.md")
    return content


def family(environment: str) -> tuple[str, ...]:
    """Return the environments that this one extends, the most general first, then itself.

    Raises UserError if a file extends an unknown environment, or itself.
    """
    members = [environment]
    while (base := read_yaml(environment_path(members[-1])).get(EXTENDS)) is not None:
        key = f"{environment_path(members[-1])}: {EXTENDS}"
        if base not in available("environments"):
            remedy = closest(str(base), available("environments"))
            raise UserError(f"unknown environment {base!r}", key, remedy)
        if base in members:
            raise UserError(f"{base!r} leads back to itself", key)
        members.append(base)
    return tuple(reversed(members))


def environment_title(environment: str) -> str:
    """Return the title of an environment for readers, or that of the one it extends."""
    titles = (read_yaml(environment_path(name)).get(TITLE) for name in family(environment)[::-1])
    return next((str(title) for title in titles if title), environment.replace("_", " "))


def environment_path(environment: str) -> Path:
    """Return the path of a configured environment's file."""
    return paths.CONFIG / "environments" / f"{environment}.yaml"


def read_file(kind: str, name: str, model: type[FileModel]) -> FileModel:
    """Read and check a file under workflow/config/<kind>. Raises UserError if it is invalid."""
    path = paths.CONFIG / kind / f"{name}.yaml"
    content = read_yaml(path)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise explain(error, model, lambda key: str(path)) from None


def explain(
    error: ValidationError, model: type[BaseModel], origin: Any, prefix: str = ""
) -> UserError:
    """Return the most helpful of pydantic's errors as one line: file, key, allowed values.

    Args:
        error: of the validation.
        model: the class that was validated.
        origin: returns the file that set a dotted key.
        prefix: dotted key of ``model`` in the settings.
    """
    # A misspelt key often explains why another one is missing, so it comes first.
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda details: details["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"] if part != "[key]"]
    key = ".".join([prefix, *location] if prefix else location)
    where = f"{origin(key)}: {key}" if key else str(origin(key))
    if first["type"] == "extra_forbidden":
        owner = _owner(model, location[:-1])
        return UserError("unknown key", where, closest(location[-1], owner.model_fields))
    message = first["msg"].removeprefix("Value error, ")
    value = first.get("input")
    given = (
        f" (given: {reprlib.repr(value)})"
        if location and not isinstance(value, (dict, BaseModel))
        else ""
    )
    return UserError(f"{message}{given}", where)


def _owner(model: type[BaseModel], location: list[str]) -> type[BaseModel]:
    """The settings class at a location inside ``model``."""
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        for candidate in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return model
