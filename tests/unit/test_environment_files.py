"""The files that describe the software agree with each other and with what is installed."""

from __future__ import annotations

import functools
import platform
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What d4rl asks for and must not get (requirements.in says why).
REFUSED = {"d4rl": {"dm-control", "mujoco-py", "pybullet", "termcolor"}}


def requirements(lines: list[str]) -> list[Requirement]:
    """The requirements among the lines of a requirements file, without comments and options."""
    bare = [line.split("#")[0].strip().removesuffix("\\").strip() for line in lines]
    return [Requirement(line) for line in bare if line and not line.startswith("-")]


def locked_requirements() -> list[Requirement]:
    return requirements((ROOT / "requirements.lock").read_text().splitlines())


@functools.cache
def pins() -> dict[str, str]:
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in locked_requirements()
    }


def direct_requirements() -> list[Requirement]:
    """All that pyproject.toml and requirements.in name, extras included."""
    extras = [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    added = (ROOT / "requirements.in").read_text().splitlines()
    return requirements([*PROJECT["dependencies"], *extras, *added])


def conda_dependencies() -> tuple[list[str], list[str]]:
    """The lines of environment.yml for conda, and those for pip."""
    dependencies: list[Any] = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    for_pip = [line for entry in dependencies if isinstance(entry, dict) for line in entry["pip"]]
    return [entry for entry in dependencies if isinstance(entry, str)], for_pip


def pins_for_this_machine() -> list[Requirement]:
    return [pin for pin in locked_requirements() if pin.marker is None or pin.marker.evaluate()]


def needed_by(name: str, extras: set[str]) -> Iterator[Requirement]:
    """What an installed package asks for on this machine, with the extras that are asked of it."""
    for line in metadata.requires(name) or []:
        need = Requirement(line)
        if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in {"", *extras}):
            yield need


def test_every_line_of_the_lock_is_an_exact_version() -> None:
    inexact = [
        str(pin)
        for pin in locked_requirements()
        if not re.fullmatch(r"==[^,*]+", str(pin.specifier)) or pin.url or pin.extras
    ]
    assert inexact == []


def test_no_package_is_pinned_twice() -> None:
    names = [canonicalize_name(pin.name) for pin in locked_requirements()]
    assert sorted(names) == sorted(set(names))


def test_every_version_is_held_to_hashes_and_conda_gets_the_same_versions() -> None:
    """Of d4rl and of packages that come as source as well; of torch those of PyPI's builds."""
    text = (ROOT / "requirements.lock").read_text()
    blocks = re.findall(r"^([\w.-]+)==.*((?:\n +--hash=sha256:[0-9a-f]{64}.*)+)", text, re.M)
    assert {canonicalize_name(name) for name, _ in blocks} == set(pins())
    same = requirements((ROOT / "constraints.txt").read_text().splitlines())
    assert same == locked_requirements()


def test_the_lock_leaves_the_cuda_packages_to_torch() -> None:
    assert [name for name in pins() if re.match(r"nvidia-|cuda-|triton$", name)] == []


def test_packages_that_break_d4rl_are_not_locked() -> None:
    assert REFUSED["d4rl"].isdisjoint(pins())


@pytest.mark.parametrize("requirement", direct_requirements(), ids=str)
def test_direct_dependency_is_locked_at_a_version_that_its_specifier_allows(
    requirement: Requirement,
) -> None:
    name = canonicalize_name(requirement.name)
    assert name in pins(), "make lock"
    assert requirement.specifier.contains(pins()[name], prereleases=True), "make lock"


def test_installed_versions_are_the_locked_ones() -> None:
    # A local label ("2.13.0+cpu") is a build of the same version, which == accepts.
    other = {
        pin.name: metadata.version(pin.name)
        for pin in pins_for_this_machine()
        if not pin.specifier.contains(metadata.version(pin.name), prereleases=True)
    }
    assert other == {}, "make environment"


def test_the_lock_holds_all_that_its_packages_need() -> None:
    """Follows the metadata of the installed packages from what the project names."""
    missing: list[str] = []
    waiting = [(canonicalize_name(r.name), frozenset(r.extras)) for r in direct_requirements()]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen or name == "torch":  # torch's own needs differ between builds
            continue
        seen.add((name, extras))
        for need in needed_by(name, set(extras)):
            needed = canonicalize_name(need.name)
            if needed in REFUSED.get(name, ()):
                continue
            if needed in pins():
                waiting.append((needed, frozenset(need.extras)))
            else:
                missing.append(f"{name} needs {need}")
    assert missing == []


def test_the_running_python_is_one_that_the_project_names() -> None:
    assert SpecifierSet(PROJECT["requires-python"]).contains(platform.python_version())


def test_conda_installs_a_python_that_the_project_allows() -> None:
    for_conda, _ = conda_dependencies()
    (python,) = [line for line in for_conda if re.match(r"python\W", line)]
    version = python.removeprefix("python=")
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


def test_classifiers_name_the_pythons_that_requires_python_allows() -> None:
    allowed = SpecifierSet(PROJECT["requires-python"])
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python ::" in line]
    assert named == [f"3.{minor}" for minor in range(40) if allowed.contains(f"3.{minor}")]


def test_makefile_asks_for_the_same_pythons_as_the_project() -> None:
    lower, upper = re.findall(r"\((3), (\d+)\)", (ROOT / "Makefile").read_text())
    bounds = f">={'.'.join(lower)},<{'.'.join(upper)}"
    assert SpecifierSet(bounds) == SpecifierSet(PROJECT["requires-python"])


def test_conda_takes_every_extra_in_the_versions_of_the_lock() -> None:
    _, for_pip = conda_dependencies()
    constraint, package = for_pip
    assert constraint == "-c constraints.txt"
    extras = re.fullmatch(r"-e \.\[(.+)\]", package)
    assert extras is not None
    assert set(extras[1].split(",")) == set(PROJECT["optional-dependencies"])


def test_both_conda_files_say_the_same() -> None:
    text = (ROOT / "envs" / "memdt.yaml").read_text()
    from_the_top = text.replace("-c ../", "-c ").replace("-e ..[", "-e .[")
    assert from_the_top != text
    assert yaml.safe_load(from_the_top) == yaml.safe_load((ROOT / "environment.yml").read_text())


def test_the_container_has_the_python_of_conda_and_the_packages_of_the_lock() -> None:
    text = (ROOT / "envs" / "Dockerfile").read_text()
    (base,) = re.findall(r"^FROM python:([\d.]+)-slim$", text, re.MULTILINE)
    assert f"python={base}" in conda_dependencies()[0]
    (copied,) = re.findall(r"^COPY (.+) \./$", text, re.MULTILINE)
    ignored = (ROOT / "envs" / "Dockerfile.dockerignore").read_text().splitlines()
    sent = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert sent == copied.split() == ["Makefile", "requirements.lock"]
    (made,) = re.findall(r"^RUN make (\S+)$", text, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert f"packages_stamp := {made}\n" in makefile
    assert "$(packages_stamp): requirements.lock\n" in makefile  # so no other file is needed


@pytest.fixture(scope="module")
def committed_texts() -> dict[str, str]:
    """Every file that git holds or would take, but for this one and large ones."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    if not paths:
        pytest.skip("no git checkout: " + listed.stderr.strip())
    return {
        str(path.relative_to(ROOT)): path.read_text(errors="replace")
        for path in paths
        if path.is_file() and path != Path(__file__) and path.stat().st_size < 2_000_000
    }


def test_torch_is_pinned_to_one_version_everywhere(committed_texts: dict[str, str]) -> None:
    torches = [r for r in direct_requirements() if r.name == "torch"]
    (declared,) = [r for r in torches if "==" in str(r.specifier)]
    assert all(pins()["torch"] in r.specifier for r in torches)
    assert str(declared.specifier) == f"=={pins()['torch']}"
    others = {
        name: version
        for name, text in committed_texts.items()
        for version in re.findall(r"\btorch==([\d.]*\d)", text)
        if version != pins()["torch"]
    }
    assert others == {}


def test_no_committed_file_names_a_package_index(committed_texts: dict[str, str]) -> None:
    address = re.compile(
        r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|conda\.anaconda\.org|registry\.npmjs"
        r"|^\s*(--(extra-)?index-url|--find-links|--trusted-host)\b",
        re.MULTILINE,
    )
    assert {
        name: match[0] for name, text in committed_texts.items() if (match := address.search(text))
    } == {}


@pytest.mark.parametrize(
    "name",
    [
        "requirements.lock",
        "requirements.in",
        "environment.yml",
        "envs/memdt.yaml",
        "envs/Dockerfile",
        "pyproject.toml",
        "Makefile",
    ],
)
def test_environment_files_hold_no_address_and_no_path_of_a_machine(name: str) -> None:
    text = (ROOT / name).read_text()
    assert re.findall(r"\w+://\S*|(?<=[\s='\"])/(?:home|root|opt|work|Users)/\S*", text) == []
