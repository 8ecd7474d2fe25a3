"""The tables of the installed package ``d4rl``: reference scores, and addresses of its data sets.

``d4rl/infos.py`` is read alone. Importing the package would take half a second, print notices of
missing simulators, and make a folder in the user's home.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import cast

from memdt.errors import UserError


def reference_returns(reference: str) -> tuple[float, float]:
    """The returns that count as normalised scores of 0 and 100: random play, and an expert's.

    Args:
        reference: an environment in d4rl's table, such as ``halfcheetah``.

    Source: D4RL, ``d4rl/infos.py``; Fu et al. 2020, section 3 and appendix D.
    """
    infos = _infos()
    key = f"{reference}-medium-v2"
    return float(infos.REF_MIN_SCORE[key]), float(infos.REF_MAX_SCORE[key])


def references() -> list[str]:
    """The environments whose scores d4rl's table can normalise: those with a ``-medium-v2`` set."""
    end = "-medium-v2"
    return sorted(key.removesuffix(end) for key in _infos().REF_MIN_SCORE if key.endswith(end))


def addresses() -> dict[str, str]:
    """Where each data set of D4RL was published, by its id."""
    return cast(dict[str, str], _infos().DATASET_URLS)


@cache
def _infos() -> ModuleType:
    package = importlib.util.find_spec("d4rl")
    if package is None or not package.submodule_search_locations:
        remedy = "pip install --no-deps -r requirements.lock"
        raise UserError("the package d4rl is not installed", "reference scores", remedy)
    file = Path(package.submodule_search_locations[0]) / "infos.py"
    spec = importlib.util.spec_from_file_location("d4rl_infos", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
