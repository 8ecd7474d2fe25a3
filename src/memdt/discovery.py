"""Find models, environments and figures by the name of their file: the file is the registration.

No component is imported to list names. A package's ``__init__`` tells in a tuple ``INFRASTRUCTURE``
which of its modules are none; names that begin with an underscore are private.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from memdt.errors import UserError, closest


@cache
def names(package: str) -> list[str]:
    """The components of a package, sorted: ``names("memdt.models")``."""
    module = importlib.import_module(package)
    infrastructure = getattr(module, "INFRASTRUCTURE", ("interface",))
    found = [info.name for info in pkgutil.iter_modules(module.__path__) if not info.ispkg]
    return sorted(n for n in found if not n.startswith("_") and n not in infrastructure)


def load(package: str, name: str) -> ModuleType:
    """The module of one component; an unknown name is a UserError with the closest match."""
    if name not in names(package):
        kind = package.rpartition(".")[2]
        folder = f"src/{package.replace('.', '/')}"
        raise UserError(f"no {name!r} among the {kind}", folder, closest(name, names(package)))
    return importlib.import_module(f"{package}.{name}")


def constant(package: str, name: str, of: str) -> tuple[str, ...]:
    """The tuple ``of`` of a component, read and not imported: it may not be importable here.

    Empty where the component has none.
    """
    return tuple(_literal(package, name, of) or ())


def number(package: str, name: str, of: str) -> float | None:
    """The number ``of`` of a component, read likewise; None where it has none."""
    found = _literal(package, name, of)
    return None if found is None else float(found)


def defines(package: str, name: str, function: str) -> bool:
    """Whether a component defines a function, read likewise."""
    return any(
        isinstance(node, ast.FunctionDef) and node.name == function
        for node in _parsed(package, name).body
    )


def _parsed(package: str, name: str) -> ast.Module:
    source = Path(importlib.import_module(package).__path__[0]) / f"{name}.py"
    return ast.parse(source.read_text(encoding="utf-8") if source.is_file() else "")


def _literal(package: str, name: str, of: str) -> Any:
    for node in _parsed(package, name).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == of for target in targets):
            return ast.literal_eval(node.value)  # type: ignore[attr-defined]
    return None
