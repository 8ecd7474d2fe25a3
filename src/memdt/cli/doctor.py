"""``memdt doctor``: what this machine has, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from importlib import metadata
from pathlib import Path

from rich.table import Table

from memdt import discovery
from memdt.cli.findings import Finding
from memdt.cli.screen import console
from memdt.cli.surroundings import quota, surroundings
from memdt.provenance import cpu_model, git_state, usable_cores, versions
from memdt.workflow import plan

DISK_BYTES = 5 * 2**30  # datasets, checkpoints and reports of the default run, with room
MEMORY_BYTES = 3 * 2**30  # two jobs side by side at scale quick


def examine() -> None:
    """Print a line for each finding; a missing optional item is a note, not a failure."""
    table = Table(box=None, pad_edge=False, show_header=False)
    all_findings = list(findings())
    for finding in all_findings:
        if finding.ok:
            word, style = "ok", "green"
        else:
            word, style = ("missing", "red") if finding.needed else ("optional", "yellow")
        table.add_row(f"[{style}]{word}[/]", finding.what, finding.detail)
        if not finding.ok and finding.remedy:
            table.add_row("", "", f"-> {finding.remedy}")
    console().print(table)


def findings() -> Iterator[Finding]:
    """Everything that is looked at, in order."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python, _torch, _threads, _packages, _simulators, _pictures, _room, _git,
        surroundings,
    )  # fmt: skip
    for check in checks:
        yield from check()


def _python() -> Iterator[Finding]:
    good = (3, 11) <= sys.version_info[:2] < (3, 14)
    detail = f"{platform.python_version()} at {sys.executable}"
    yield Finding("Python", good, detail, "make environment, with Python 3.11, 3.12 or 3.13")


def _torch() -> Iterator[Finding]:
    try:
        import torch  # here, because the other checks must work where torch is broken
    except ImportError as error:
        yield Finding("torch", False, str(error), "make environment")
        return
    yield Finding("torch", True, torch.__version__)
    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        detail = f"{torch.cuda.device_count()} x {', '.join(sorted(names))}"
        yield Finding("GPU", True, detail)
    else:
        detail = "none: scales smoke and quick need none, scale paper does"
        yield Finding("GPU", False, detail, needed=False)


def _threads() -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    usable = usable_cores()
    yield Finding("cores", True, f"{usable} of {cores} usable, one job on each; {cpu_model()}")
    allowed = quota()
    if allowed is not None and allowed < usable:
        detail = f"a quota allows {allowed:g} cores, `--cores all` would start {usable} jobs"
        remedy = f"snakemake --cores {max(1, int(allowed))}"
        yield Finding("quota", False, detail, remedy, needed=False)


def _packages() -> Iterator[Finding]:
    for name, needed in (("snakemake", True), ("dvc", False)):
        try:
            yield Finding(name, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, False, "not installed", "make environment", needed)


def _simulators() -> Iterator[Finding]:
    """What the environments require beyond the packages that are always installed."""
    names: dict[str, list[str]] = {}
    for environment in discovery.names("memdt.environments"):
        for name in plan.required_simulators(environment):
            names.setdefault(name, []).append(environment)
    for name, environments in names.items():
        # Looked for and not imported, which may take seconds, or fail.
        there = importlib.util.find_spec(name) is not None
        version = "".join(f"{one}, " for one in versions([name]).values())
        detail = f"{version}for {', '.join(environments)}"
        yield Finding(f"simulator {name}", there, detail, "make environment", needed=False)


def _pictures() -> Iterator[Finding]:
    """What MuJoCo draws with if there is no screen; only films of its environments need it."""
    libraries = [name for name in ("EGL", "OSMesa") if find_library(name)]
    there = bool(libraries) or "DISPLAY" in os.environ
    library = libraries[0] if libraries else "the screen" if there else "nothing"
    detail = f"MuJoCo draws with {library}"
    remedy = "apt-get install libegl1 (or libosmesa6), for films of Meta-World"
    yield Finding("pictures", there, detail, remedy, needed=False)


def _room() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding("disk", free >= DISK_BYTES, f"{_gib(free)} free", f"make {_gib(DISK_BYTES)} free")
    memory = _available_memory()
    if memory is not None:
        remedy = "snakemake --cores 1"
        yield Finding("memory", memory >= MEMORY_BYTES, f"{_gib(memory)} available", remedy)


def _available_memory() -> int | None:
    """Bytes that a new process may take, None where the system does not say."""
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)


def _git() -> Iterator[Finding]:
    commit = git_state()["git_commit"]
    detail = str(commit)[:12] if commit else "no commit: manifests will not say which code ran"
    yield Finding("git", commit is not None, detail, "git clone the project", needed=False)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
