"""Find components by the name of their file: the file is the registration.

Models, environments, sources, learners and figures are modules of a package each. No component is
imported to list names. A package's ``__init__`` tells in a tuple ``INFRASTRUCTURE`` which of its
modules are none; names that begin with an underscore are private, and so are folders.

Folders of other people are searched too. ``plugins: [my_models]`` in config.yaml lays the folder
beside ``src/memdt``, so that ``my_models/models/lru.py`` is the model ``lru`` as if it were
``src/memdt/models/lru.py``, with ``memdt.models.lru`` as its name.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from functools import cache
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
    """The module of one component; an unknown name is a UserError with the closest match.

    So is a plugin that cannot be imported.
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
        raise UserError(what, str(file), f"mend it, or take it out of {KEY}") from error


def constant(package: str, name: str, of: str) -> tuple[str, ...]:
    """The tuple ``of`` of a component, read and not imported: it may not be importable here.

    Empty where the component has none.
    """
    return tuple(_literal(package, name, of) or ())


def number(package: str, name: str, of: str) -> float | None:
    """The number ``of`` of a component, read likewise; None where it has none."""
    found = _literal(package, name, of)
    return None if found is None else float(found)


def text(package: str, name: str, of: str) -> str | None:
    """The text ``of`` a component, read likewise; None where it has none."""
    found = _literal(package, name, of)
    return None if found is None else str(found)


def defines(package: str, name: str, function: str) -> bool:
    """Whether a component defines a function, read likewise."""
    return any(
        isinstance(node, ast.FunctionDef) and node.name == function
        for node in _parsed(package, name).body
    )


def file_of(package: str, name: str) -> Path:
    """The file of a component, also of one that is not there: then where it would be."""
    folders = [Path(folder) for folder in _searched(package, plugins()).__path__]
    files = [folder / f"{name}.py" for folder in folders]
    return next((file for file in files if file.is_file()), files[0])


def plugins() -> tuple[Path, ...]:
    """The folders of other people's components that config.yaml names.

    UserError where it names none, or one that is not there.
    """
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
        return ()  # whoever reads the settings says what is wrong with it
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
    """The package, with the plugins' folders of its name on its path."""
    module = importlib.import_module(package)
    own = Path(str(module.__file__)).parent
    theirs = [folder.joinpath(*package.split(".")[1:]) for folder in folders]
    module.__path__ = [str(own), *(str(folder) for folder in theirs if folder.is_dir())]
    return module


def _parsed(package: str, name: str) -> ast.Module:
    """A component's syntax, empty where there is no such file or it is no Python."""
    file = file_of(package, name)
    try:
        return ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.parse("")
    except (SyntaxError, UnicodeDecodeError):
        return ast.parse("")  # whoever imports it says what is wrong


def _literal(package: str, name: str, of: str) -> Any:
    for node in _parsed(package, name).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == of for target in targets):
            return ast.literal_eval(node.value)  # type: ignore[attr-defined]
    return None
