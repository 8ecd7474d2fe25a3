"""The wheel, with the packages that it asks for and no others, loads and plays a policy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from made_up import trained_run
from memdt.evaluation.policy_export import export_policy

ROOT = Path(__file__).parents[2]


def needed(requirements: Iterable[str]) -> set[str]:
    """The names of all packages that are asked for on this machine, at any depth."""
    waiting, seen = list(requirements), set()
    while waiting:
        requirement = Requirement(waiting.pop())
        extras = {"", *requirement.extras}
        key = (canonicalize_name(requirement.name), frozenset(extras))
        if key in seen:
            continue
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": e}) for e in extras
        ):
            continue
        seen.add(key)
        waiting += [
            text
            for text in metadata.requires(requirement.name) or []
            if (marker := Requirement(text).marker) is None
            or any(marker.evaluate({"extra": extra}) for extra in extras)
        ]
    return {name for name, _ in seen}


def link(name: str, into: Path) -> None:
    """Put an installed package into another folder of packages."""
    distribution = metadata.distribution(name)
    for file in distribution.files or []:
        top = file.parts[0]
        source = Path(str(distribution.locate_file(top)))
        target = into / top
        if top not in ("..", "__pycache__", "bin") and source.exists() and not target.exists():
            target.symlink_to(source)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a virtual environment with the wheel and what it asks for."""
    root = tmp_path_factory.mktemp("wheel")
    for name in ("src", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, root / name)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=root, capture_output=True, text=True, check=True
    )
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "venv"], check=True)
    (packages,) = (root / "venv").glob("lib/python*/site-packages")
    with zipfile.ZipFile(root / done.stdout.split()[-1]) as wheel:
        wheel.extractall(packages)
    (about,) = packages.glob("memdt-*.dist-info")
    requirements = metadata.PathDistribution(about).requires or []
    plain = [text for text in requirements if "extra ==" not in text]
    for name in needed(plain):
        link(name, packages)
    return root / "venv" / "bin" / "python"


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        [python, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_loads_and_plays_an_exported_policy(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMDT_DEVICE", "cpu")
    trained_run.make(trained_run.settings())
    exported = export_policy(trained_run.RUN, tmp_path / "exported")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = f"""
import importlib.util, memdt
for name in ("snakemake", "dvc", "pandas", "matplotlib", "scipy", "seaborn", "tests"):
    assert importlib.util.find_spec(name) is None, name
assert memdt.__file__.startswith({str(installed.parents[1])!r}), memdt.__file__
policy = memdt.load({str(exported)!r})
environment = policy.make_environment()
observation, _ = environment.reset(seed=0)
print("acts", policy.act(observation))
"""
    done = run(installed, "-c", code, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("acts ")
    played = run(installed, "-m", "memdt", "play", str(exported), cwd=elsewhere)
    assert played.returncode == 0, played.stderr
    assert "return " in played.stdout


def test_the_wheel_holds_every_file_that_is_no_python(installed: Path) -> None:
    (package,) = installed.parents[1].glob("lib/python*/site-packages/memdt")
    for path in (ROOT / "src" / "memdt").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert (package / path.relative_to(ROOT / "src" / "memdt")).is_file(), path
