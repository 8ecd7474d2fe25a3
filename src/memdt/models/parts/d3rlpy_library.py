"""The library d3rlpy, imported where it is used: its import takes seconds.

It needs the unmaintained ``gym``, which says so whenever it is imported, and on a GPU it changes
how torch multiplies, for everyone. Neither is wanted here.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from typing import Any

import torch

from memdt.errors import UserError


def library(module: str = "d3rlpy") -> Any:
    """A module of d3rlpy; UserError where it is not installed."""
    precision = torch.get_float32_matmul_precision()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            imported = importlib.import_module(module)
    except ImportError as error:
        remedy = "pip install --no-deps -r requirements.lock"
        raise UserError(f"d3rlpy cannot be imported ({error})", "model.name", remedy) from None
    torch.set_float32_matmul_precision(precision)
    return imported
