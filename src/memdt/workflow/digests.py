"""Source digests: sixteen digits that stand for the code behind a result.

Snakemake and DVC notice changed settings and files, but not a changed line in a module that a
command imports. So every rule carries two digests, and its output is stale when either changes:
that of the settings (`settings/slices.py`), and that of the modules that its step reaches.

The source digest covers

- the step's entry module (ENTRIES) and the components named for it (KINDS): the one model,
  environment, source, learner or figure of this result;
- everything that these import from memdt, at any depth and also inside functions;
- files beside the code that shape the output (ASSETS).

It leaves out

- other components: they are loaded by name, and no entry module may import them;
- modules that cannot change a result, each with its reason (EXEMPT);
- comments, docstrings, descriptions of settings and layout;
- other packages: manifests name their versions, and requirements.lock pins them.

`memdt settings EXPERIMENT VARIANT --sources` prints all of this for a run.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from memdt import discovery
from memdt.errors import UserError, closest
from memdt.settings.learners import learner_of
from memdt.settings.schema import RunSettings

ROOT = Path(__file__).parents[1]

# The components that a step may be given, and the package that holds them by name.
KINDS = {
    "model": "memdt.models",
    "environment": "memdt.environments",
    "source": "memdt.data.sources",
    "learner": "memdt.training.learners",
    "figure": "memdt.figures",
}

# The module in which each step begins. The components that a step is given are entries as well, so
# no module here may import what is loaded by name.
ENTRIES = {
    "agent": "memdt.training.online.agent",
    "dataset": "memdt.data.make",
    "train": "memdt.training.train",
    "evaluate": "memdt.evaluation.evaluate",
    "attention": "memdt.evaluation.attention_maps",
    "record": "memdt.evaluation.recorder",
    "table": "memdt.results.tables",
    "claims": "memdt.results.claims",
    "figure": "memdt.figures.drawing",
    "clip": "memdt.figures.clips",
    "metrics": "memdt.results.metrics",
    "report": "memdt.report.render",
}

# Folders whose files shape a step's output although they are not Python; they count as bytes.
ASSETS = {"report": "report"}

# Modules that cannot change a result, and why. Their imports do not count either.
EXEMPT = {
    "memdt.__main__": "parses the command line and passes it on",
    "memdt.cli": "passes settings and paths on, and prints",
    "memdt.device": "where a step computes: the manifest names it, no digest foresees it",
    "memdt.discovery": "finds the named module, which counts itself",
    "memdt.errors": "texts of refusals; a run that is refused has no result",
    "memdt.files": "how a file is written, not what is in it",
    "memdt.paths": "where a file lies: Snakemake sees another path by itself",
    "memdt.progress": "lines for people",
    "memdt.provenance": "describes a result",
    "memdt.set_aside": "where a file goes that is not used",
    "memdt.settings": "the values themselves have a digest, cut for each step",
    "memdt.stopping": "how a step ends before it has a result",
    "memdt.training.stage_lock": "which process may train",
    "memdt.workflow": "which jobs there are and what is stale; it computes nothing",
}


def source_digest(step: str, **components: str | None) -> str:
    """Sixteen hexadecimal digits that stand for the code behind ``step``.

    The same files give the same digest under every Python that memdt supports.

    Args:
        step: one of ENTRIES.
        components: the name of a component of each kind (KINDS) that the step uses.
    """
    content = explain(step, **components)
    text = "\n".join(f"{name} {content[name]}" for name in sorted(content))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def components_of(step: str, settings: RunSettings) -> dict[str, str]:
    """The components of a run that ``step`` uses."""
    model = settings.model["name"]
    components = {"model": model, "environment": settings.environment.module}
    return components | ({"learner": learner_of(model)} if step == "train" else {})


def explain(step: str, **components: str | None) -> dict[str, str]:
    """The digest of every module and file behind ``step``; compare two to see what changed."""
    modules = {name: _read(name).digest for name in reached_modules(step, **components)}
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in _assets(step)}
    return modules | files


def reached_modules(step: str, **components: str | None) -> tuple[str, ...]:
    """The modules that count for ``step``, sorted. UserError for a name that has no file."""
    if step not in ENTRIES:
        raise UserError(f"unknown step {step!r}", "source digest", closest(step, ENTRIES))
    entries = [ENTRIES[step]]
    entries += [f"{KINDS[kind]}.{name}" for kind, name in components.items() if name]
    for name in entries:
        if not _exists(name):
            raise UserError(f"no module {name!r}", "source digest", "is its name spelt right?")
    return tuple(sorted(closure(entries, EXEMPT)))


def closure(names: Iterable[str], exempt: Iterable[str]) -> set[str]:
    """Modules and all that they import from this package, without exempt ones."""
    reached: set[str] = set()
    open_modules = list(names)
    while open_modules:
        name = open_modules.pop()
        if name in reached or any(f"{name}.".startswith(f"{left_out}.") for left_out in exempt):
            continue
        reached.add(name)
        open_modules += [imported for imported in _read(name).imports if _exists(imported)]
        # Python runs a package's `__init__` before any module in it.
        open_modules += [name.rpartition(".")[0]] if "." in name else []
    return reached


def file_of(name: str) -> Path:
    """The source file of a module of this package, which may lie in a folder of plugins."""
    parts = name.split(".")[1:]
    files = []
    for root in (ROOT, *discovery.plugins()):
        path = root.joinpath(*parts)
        files.append(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
    return next((file for file in files if file.is_file()), files[0])


def _exists(name: str) -> bool:
    return name.partition(".")[0] == "memdt" and file_of(name).is_file()


def _assets(step: str) -> list[Path]:
    if step not in ASSETS:
        return []
    files = (path for path in (ROOT / ASSETS[step]).rglob("*") if path.is_file())
    left = (".py", ".pyc", ".swp", ".bak", ".orig")  # the last three by editors
    shown = (path for path in files if path.name[0] not in ".#" and path.name[-1] != "~")
    return sorted(path for path in shown if path.suffix not in left)


class _Source:
    """What a digest needs to know of one file."""

    def __init__(self, path: Path, name: str) -> None:
        tree = ast.parse(path.read_bytes(), str(path))
        parts = tuple(name.split("."))
        package = parts if path.name == "__init__.py" else parts[:-1]
        self.imports = tuple(dict.fromkeys(_imports(tree, package)))
        self.digest = hashlib.sha256(_canonical(tree).encode()).hexdigest()


def _read(name: str) -> _Source:
    path = file_of(name)
    status = path.stat()
    return _read_version(path, name, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _read_version(path: Path, name: str, modified: int, size: int) -> _Source:
    return _Source(path, name)


def _imports(tree: ast.Module, package: tuple[str, ...]) -> Iterator[str]:
    """Names that may be modules: ``from memdt.models import rate`` yields two candidates."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *([node.module] if node.module else [])))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _canonical(node: object) -> str:
    """A syntax tree as text, without positions, comments and docstrings.

    ``ast.dump`` depends on the version: Python 3.12 added fields and 3.13 leaves out empty ones,
    which would make every result stale under another Python.
    """
    if isinstance(node, list):
        return f"[{' '.join(_canonical(item) for item in node if not _is_talk(item))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [
        f"{name}={_canonical(value)}"
        for name, value in ast.iter_fields(node)
        if value is not None and value != []
    ]
    return f"{type(node).__name__}({' '.join(fields)})"


def _is_talk(node: object) -> bool:
    """Whether a node is a bare string, a setting's description or a list of infrastructure."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if isinstance(node, ast.keyword):
        return node.arg == "description"
    if isinstance(node, ast.Assign):
        first = node.targets[0]
        return isinstance(first, ast.Name) and first.id == "INFRASTRUCTURE"
    return False
