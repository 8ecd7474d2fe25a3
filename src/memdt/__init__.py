"""memdt: what two papers claim about memory in offline-RL transformers, reproduced end to end."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# `import memdt` must not wait for torch, and no module may depend on what this one loads: an import
# statement here would count for every result (`workflow/digests.py`). Types are in `__init__.pyi`.
_PUBLIC = {"load": "memdt.evaluation.loading", "Player": "memdt.evaluation.player"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
