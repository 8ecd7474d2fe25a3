"""No file that is read may run code: what would let it does not stand in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
MODULES = frozenset(
    {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
)
CALLS = frozenset({"pandas.read_pickle", "numpy.fromfile"})
NAMES = frozenset({"eval", "exec"})
SAFE_LOADERS = frozenset({"yaml.SafeLoader", "yaml.CSafeLoader"})


def complaints(text: str) -> list[str]:
    """What a module does that a file could turn against its reader."""
    tree = ast.parse(text)
    aliases = dict(_aliases(tree))
    faults = [f"imports {name}" for name in aliases.values() if name.partition(".")[0] in MODULES]
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        faults += _of_call(call, _dotted(call.func, aliases), aliases)
    return faults


def _aliases(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Every imported name with what it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                yield (
                    one.asname or one.name.partition(".")[0],
                    (one.name if one.asname else one.name.partition(".")[0]),
                )
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                yield one.asname or one.name, f"{node.module or ''}.{one.name}"


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    """`np.load` -> `numpy.load`; nothing for what is no name."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value, aliases)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _of_call(call: ast.Call, name: str, aliases: dict[str, str]) -> list[str]:
    given = {word.arg: word.value for word in call.keywords}
    if name in CALLS or name in NAMES:
        return [f"calls {name}"]
    if name == "torch.load":  # with this it reads tensors alone
        only = given.get("weights_only")
        safe = isinstance(only, ast.Constant) and only.value is True
        return [] if safe else ["calls torch.load without weights_only=True"]
    if name == "numpy.load":
        allowed = given.get("allow_pickle")
        refused = isinstance(allowed, ast.Constant) and allowed.value is False
        return [] if refused else ["calls numpy.load without allow_pickle=False"]
    if name in ("yaml.load", "yaml.load_all"):
        loader = given.get("Loader", call.args[1] if len(call.args) > 1 else None)
        safe = loader is not None and _dotted(loader, aliases) in SAFE_LOADERS
        return [] if safe else [f"calls {name} without a safe loader"]
    unsafe = name.startswith("yaml.") and name.partition(".")[2].startswith(("unsafe_", "full_"))
    return [f"calls {name}"] if unsafe else []


def test_the_source_reads_nothing_that_could_run() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 50
    faults = {path.name: wrong for path in files if (wrong := complaints(path.read_text("utf-8")))}
    assert faults == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.memory as m",
        "import torch as t\nt.load('x')",
        "from torch import load\nload('x')",
        "import numpy as np\nnp.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import pandas as pd\npd.read_pickle('x')",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, Loader=yaml.UnsafeLoader)",
        "import yaml\nyaml.full_load(text)",
        "eval('1')",
        "exec('1')",
    ],
)
def test_each_way_is_noticed(text: str) -> None:
    assert complaints(text)


@pytest.mark.parametrize(
    "text",
    [
        "import yaml\nyaml.safe_load(text)",
        "from yaml import CSafeLoader, load\nload(text, Loader=CSafeLoader)",
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "policy.eval()\nast.literal_eval('1')\njson.load(file)",
    ],
)
def test_what_is_safe_is_left_alone(text: str) -> None:
    assert complaints(text) == []
