"""What all tests share: one thread, checked shapes, and copies of the project to play with."""

from __future__ import annotations

import os

# Before torch is imported: tests run beside each other, and threads of one wait for each other.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

# Before memdt is imported: every annotated shape is checked at every call. beartype needs whole
# classes to understand Self, and jaxtyping hands it methods, so Self goes unchecked.
import sys  # noqa: E402
import types  # noqa: E402
from typing import Any, Self  # noqa: E402

from beartype import BeartypeConf, FrozenDict, beartype  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

_checker = types.ModuleType("memdt_shape_checker")
_checker.check = beartype(conf=BeartypeConf(hint_overrides=FrozenDict({Self: Any})))
sys.modules[_checker.__name__] = _checker
install_import_hook(["memdt.data", "memdt.models", "memdt.training"], f"{_checker.__name__}.check")

import shutil  # noqa: E402
import subprocess  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

# A slow machine is no wrong result.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

ROOT = Path(__file__).parents[1]
PARTS = (
    "Snakefile", "workflow", "src", "docs", "environment.yml", "data/published", ".gitignore",
    "dvc.yaml", ".dvc", ".dvcignore",
)  # fmt: skip
GIT_AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "test"), ("EMAIL", "test@example.org"))
}


@dataclass(frozen=True)
class Project:
    """A copy of the project with its own source, in which commands may be run."""

    root: Path

    def run(self, *command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command there; its output is text, its status is not checked."""
        return subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    def snakemake(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run Snakemake there."""
        return self.run(sys.executable, "-m", "snakemake", *arguments, timeout=timeout)

    def done(self, *command: str, timeout: float = 300) -> str:
        """Run a command that must succeed; everything that it has printed."""
        done = self.run(*command, timeout=timeout)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def memdt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one verb there."""
        return self.run(sys.executable, "-m", "memdt", *arguments)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that stands exactly once in a file."""
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which the copy's source is the one that is imported."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MEMDT_", "SNAKEMAKE_"))}
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        mine = {"PYTHONPATH": str(self.root / "src"), "PATH": programs, "NO_COLOR": "1"}
        return kept | mine | GIT_AUTHOR


def copy_project(target: Path) -> Project:
    """The project without results and without git."""
    for part in PARTS:
        source = ROOT / part
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            # Compiled modules come along: Python takes them as long as a source keeps its time.
            ignored = shutil.ignore_patterns("*.egg-info", "tmp", "cache")
            shutil.copytree(source, target / part, ignore=ignored)
        else:
            shutil.copy(source, target / part)
    return Project(target)


@pytest.fixture(scope="session")
def make_project() -> Callable[[Path], Project]:
    """`copy_project`, for fixtures that live longer than one test."""
    return copy_project


@pytest.fixture(scope="session")
def open_project() -> Callable[[Path], Project]:
    """A function that opens an existing copy of the project."""
    return Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh copy of the project."""
    return copy_project(tmp_path / "project")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of workflow/config in a folder that is made the current one; nothing remembered."""
    folder = tmp_path / "workflow" / "config"
    shutil.copytree(ROOT / "workflow" / "config", folder)
    monkeypatch.chdir(tmp_path)
    forget_settings()
    yield folder
    forget_settings()


def forget_settings() -> None:
    """Empty every memory of settings files: they are kept by path, and tests change them."""
    from memdt.settings import layers, remembered, resolve, runs
    from memdt.workflow import inputs, observations, plan

    for module in (layers, resolve, remembered, runs, plan, observations, inputs):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
