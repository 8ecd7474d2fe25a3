"""Find components by the name of their file: the file is the registration.

Models, environments, sources, learners and figures are modules of one package each. Listing names
imports no component. The tuple ``INFRASTRUCTURE`` in a package's ``__init__`` names modules that
are no components; names that begin with an underscore are private, and so are folders.

Plugin folders are searched too. With ``plugins: [my_models]`` in config.yaml,
``my_models/models/lru.py`` is the model ``lru`` and is imported as ``memdt.models.lru``, just like
``src/memdt/models/lru.py``.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from memdt import paths
from memdt.errors import UserError, closest

ROOT = Path(__file__).parent
KEY = "plugins"


def names(package: str) -> list[str]:
    """The components of a package, sorted: ``names("memdt.models")``."""
    return list(_names(package, plugins()))


def load(package: str, name: str) -> ModuleType:
    """Import the module of one component.

    Raises:
        UserError: for an unknown name, with the closest match, or a plugin that cannot be imported.
    """
    if name not in names(package):
        kind = package.rpartition(".")[2]
        folder = f"src/{package.replace('.', '/')}"
        raise UserError(f"no {name!r} among the {kind}", folder, closest(name, names(package)))
    try:
        return importlib.import_module(f"{package}.{name}")
    except Exception as error:
        file = file_of(package, name)
        if ROOT in file.parents:
            raise
        what = f"this plugin cannot be imported: {type(error).__name__}: {error}"
        raise UserError(what, str(file), f"fix it, or remove it from {KEY}") from error


def constant(package: str, name: str, of: str) -> tuple[str, ...]:
    """The tuple ``of`` of a component, parsed because its module may not be importable here.

    Empty if the component has none.
    """
    return tuple(_literal(package, name, of) or ())


def number(package: str, name: str, of: str) -> float | None:
    """The number ``of`` of a component, parsed likewise; None if it has none."""
    value = _literal(package, name, of)
    return None if value is None else float(value)


def text(package: str, name: str, of: str) -> str | None:
    """The text ``of`` of a component, parsed likewise; None if it has none."""
    value = _literal(package, name, of)
    return None if value is None else str(value)


def defines(package: str, name: str, function: str) -> bool:
    """Whether a component defines a function, parsed likewise."""
    return any(
        isinstance(node, ast.FunctionDef) and node.name == function
        for node in _parsed(package, name).body
    )


def file_of(package: str, name: str) -> Path:
    """The file of a component, or the path where it would be if it does not exist."""
    folders = [Path(folder) for folder in _searched(package, plugins()).__path__]
    files = [folder / f"{name}.py" for folder in folders]
    return next((file for file in files if file.is_file()), files[0])


def plugins() -> tuple[Path, ...]:
    """The plugin folders that config.yaml names; UserError for a missing folder."""
    file = paths.CONFIG / "config.yaml"
    try:
        status = file.stat()
    except OSError:
        return ()
    return _plugins_in(file.resolve(), status.st_mtime_ns, status.st_size)


@cache
def _plugins_in(file: Path, modified: int, size: int) -> tuple[Path, ...]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError, OSError):
        return ()  # loading the settings reports what is wrong
    named = content.get(KEY) if isinstance(content, dict) else None
    where = f"{paths.CONFIG / 'config.yaml'}: {KEY}"
    if not isinstance(named or [], list):
        raise UserError("expected a list of folders", where, f"write {KEY}: [{named}]")
    folders = [Path(str(one)) for one in named or []]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"there is no folder {str(folder)!r}", where, "make it, or take it out")
    return tuple(folder.resolve() for folder in folders)


@cache
def _names(package: str, folders: tuple[Path, ...]) -> tuple[str, ...]:
    module = _searched(package, folders)
    infrastructure = getattr(module, "INFRASTRUCTURE", ("interface",))
    where: dict[str, str] = {}
    for folder in module.__path__:
        for info in pkgutil.iter_modules([folder]):
            if info.ispkg or info.name.startswith("_") or info.name in infrastructure:
                continue
            if info.name in where:
                what = f"{info.name!r} is the name of two components, see {where[info.name]}"
                raise UserError(what, f"{folder}/{info.name}.py", "give one another name")
            where[info.name] = f"{folder}/{info.name}.py"
    return tuple(sorted(where))


@cache
def _searched(package: str, folders: tuple[Path, ...]) -> ModuleType:
    """The package, with the matching plugin folders on its path."""
    module = importlib.import_module(package)
    own = Path(str(module.__file__)).parent
    theirs = [folder.joinpath(*package.split(".")[1:]) for folder in folders]
    module.__path__ = [str(own), *(str(folder) for folder in theirs if folder.is_dir())]
    return module


def _parsed(package: str, name: str) -> ast.Module:
    """A component's syntax tree; empty if the file is missing or not valid Python."""
    file = file_of(package, name)
    try:
        status = file.stat()
    except OSError:
        return ast.parse("")
    return _parsed_version(file.resolve(), status.st_mtime_ns, status.st_size)


# A plan asks for the same constant once a job; parsing each time took most of `memdt plan`.
@lru_cache(maxsize=1024)
def _parsed_version(file: Path, modified: int, size: int) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return ast.parse("")  # importing it reports what is wrong


def _literal(package: str, name: str, of: str) -> Any:
    for node in _parsed(package, name).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == of for target in targets):
            return ast.literal_eval(node.value)  # type: ignore[attr-defined]
    return None
