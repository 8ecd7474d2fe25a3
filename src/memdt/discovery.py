"""Find models, environments and figures by the name of their file: the file is the registration.

No component is imported to list names. A package's ``__init__`` tells in a tuple ``INFRASTRUCTURE``
which of its modules are none; names that begin with an underscore are private.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from memdt.errors import UserError, closest


@cache
def names(package: str) -> list[str]:
    """The components of a package, sorted: ``names("memdt.models")``."""
    module = importlib.import_module(package)
    infrastructure = getattr(module, "INFRASTRUCTURE", ("interface",))
    found = [info.name for info in pkgutil.iter_modules(module.__path__)]
    return sorted(n for n in found if not n.startswith("_") and n not in infrastructure)


def load(package: str, name: str) -> ModuleType:
    """The module of one component; an unknown name is a UserError with the closest match."""
    if name not in names(package):
        kind = package.rpartition(".")[2]
        folder = f"src/{package.replace('.', '/')}"
        raise UserError(f"no {name!r} among the {kind}", folder, closest(name, names(package)))
    return importlib.import_module(f"{package}.{name}")
