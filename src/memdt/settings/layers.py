"""Read the YAML layers and lay one over the other, keeping the file that each value came from.

Later layers win: environments/ <- models/ <- experiments/ (set, variants.<name>.set) <- scales/.
What a variant sets is what it is there for: of scales/ only its experiment's block changes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from memdt import paths
from memdt.errors import UserError, closest

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
        """This, with ``block`` laid over it; a mapping set to another value replaces it whole."""
        values, origins = dict(self.values), dict(self.origins)
        for key, value in flatten(block).items():
            for old in [k for k in values if k.startswith(f"{key}.") or key.startswith(f"{k}.")]:
                del values[old], origins[old]
            values[key], origins[key] = value, origin
        return Layered(values, origins)

    def with_parts_of(self, other: Layered, parts: Collection[str]) -> Layered:
        """This, with some parts (first words of keys) exactly as another has them."""
        mine = {k: v for k, v in self.values.items() if k.split(".")[0] not in parts}
        theirs = {k: v for k, v in other.values.items() if k.split(".")[0] in parts}
        origins = {k: self.origins[k] for k in mine} | {k: other.origins[k] for k in theirs}
        return Layered(mine | theirs, origins)

    def nested(self) -> dict[str, Any]:
        """The settings as nested mappings."""
        tree: dict[str, Any] = {}
        for key, value in self.values.items():
            *parents, leaf = key.split(".")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = value
        return tree

    def origin(self, key: str) -> str:
        """The file that set ``key``, or anything below it."""
        for known, source in self.origins.items():
            if known == key or known.startswith(f"{key}.") or key.startswith(f"{known}."):
                return source
        return "default"


def flatten(block: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested or dotted mappings as one mapping of dotted keys.

    >>> flatten({"model": {"layers": 2}, "training.segments": 3, "empty": {}})
    {'model.layers': 2, 'training.segments': 3, 'empty': {}}
    """
    flat: dict[str, Any] = {}
    for key, value in block.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def available(kind: str) -> list[str]:
    """The names of the files of a kind: environments, models, experiments or scales."""
    return sorted(path.stem for path in (paths.CONFIG / kind).glob("*.yaml"))


@cache
def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as a mapping; UserError where it is missing or not one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        allowed = closest(path.stem, [p.stem for p in path.parent.glob("*.yaml")])
        raise UserError(f"there is no {path.stem!r}", str(path), allowed) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError("not valid YAML", place, str(getattr(error, "problem", error))) from None
    if not isinstance(content, dict):
        raise UserError("expected keys and values", str(path), "see docs/add_your_own.md")
    return content


def family(environment: str) -> tuple[str, ...]:
    """The environments that this one's file extends, the most general first, and itself.

    UserError where a file extends what is unknown, or itself.
    """
    line = [environment]
    while (base := read_yaml(environment_place(line[-1])).get(EXTENDS)) is not None:
        place = f"{environment_place(line[-1])}: {EXTENDS}"
        if base not in available("environments"):
            remedy = closest(str(base), available("environments"))
            raise UserError(f"unknown environment {base!r}", place, remedy)
        if base in line:
            raise UserError(f"{base!r} leads back to itself", place)
        line.append(base)
    return tuple(reversed(line))


def environment_title(environment: str) -> str:
    """The name of an environment for readers: its own, or that of the one it extends."""
    titles = (read_yaml(environment_place(name)).get(TITLE) for name in family(environment)[::-1])
    return next((str(title) for title in titles if title), environment.replace("_", " "))


def environment_place(environment: str) -> Path:
    """The file of a configured environment."""
    return paths.CONFIG / "environments" / f"{environment}.yaml"


def read_file(kind: str, name: str, model: type[FileModel]) -> FileModel:
    """A file under workflow/config/<kind>, checked."""
    path = paths.CONFIG / kind / f"{name}.yaml"
    content = read_yaml(path)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise explain(error, model, lambda key: str(path)) from None


def explain(
    error: ValidationError, model: type[BaseModel], origin: Any, prefix: str = ""
) -> UserError:
    """The most telling of pydantic's complaints as one line: file, key, what is allowed.

    ``origin`` maps a dotted key to the file that set it; ``prefix`` is where in the settings
    ``model`` stands.
    """
    # A misspelt key explains why another one is missing, so it is told first.
    found = error.errors(include_url=False)
    first = min(found, key=lambda one: one["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    key = ".".join([prefix, *location] if prefix else location)
    where = f"{origin(key)}: {key}" if key else str(origin(key))
    if first["type"] == "extra_forbidden":
        owner = _owner(model, location[:-1])
        return UserError("unknown key", where, closest(location[-1], owner.model_fields))
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = f" (given: {given!r})" if location and not isinstance(given, (dict, BaseModel)) else ""
    return UserError(f"{message}{shown}", where)


def _owner(model: type[BaseModel], location: list[str]) -> type[BaseModel]:
    """The settings class at a location inside ``model``."""
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        for candidate in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return model
