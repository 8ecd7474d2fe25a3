"""The doctor names what is missing and the command that mends it."""

from __future__ import annotations

import errno
from importlib import metadata
from pathlib import Path

import pytest

from memdt.cli import doctor, surroundings
from memdt.errors import UserError
from memdt.workflow import plan, restore


def findings() -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.findings()}


def test_what_every_installation_has_is_ok():
    report = findings()
    assert all(report[name].ok for name in ("Python", "torch", "cores", "snakemake"))


def test_a_missing_simulator_is_optional_and_says_for_what(monkeypatch):
    monkeypatch.setattr(plan, "required_simulators", lambda module: ("no_such_simulator",))
    finding = findings()["simulator no_such_simulator"]
    assert not finding.ok
    assert not finding.needed
    assert "tmaze" in finding.detail
    assert finding.remedy


def test_too_little_room_is_missing_with_a_remedy(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "DISK_BYTES", 2**60)
    doctor.examine()
    lines = capsys.readouterr().out.splitlines()
    line = next(index for index, text in enumerate(lines) if " disk " in text)
    assert lines[line].startswith("missing")
    assert lines[line + 1].strip().startswith("-> make ")


def test_without_a_library_to_draw_with_films_are_what_is_missing(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(doctor, "find_library", lambda name: None)
    finding = findings()["pictures"]
    assert not finding.ok
    assert not finding.needed
    assert "libegl1" in finding.remedy
    monkeypatch.setattr(
        doctor, "find_library", lambda name: f"lib{name}.so" if name == "OSMesa" else None
    )
    assert findings()["pictures"].detail == "MuJoCo draws with OSMesa"


def test_the_release_of_a_simulator_is_shown(monkeypatch):
    monkeypatch.setattr(plan, "required_simulators", lambda module: ("numpy",))
    assert findings()["simulator numpy"].detail.startswith(metadata.version("numpy"))


def test_a_user_without_name_or_home_gets_a_remedy(monkeypatch, tmp_path):
    def no_name() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(surroundings.getpass, "getuser", no_name)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    report = findings()
    assert report["user"].remedy == "export USER=me"
    cache = report["folder /proc/nowhere"]
    assert cache.ok or cache.remedy == "export XDG_CACHE_HOME=/a/folder/of/yours"


def test_a_file_system_without_locks_a_quota_and_a_bad_variable_are_reported(monkeypatch, tmp_path):
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(surroundings.fcntl, "flock", no_locks)
    monkeypatch.setenv("MEMDT_DEVICE", "gpu")
    limit = tmp_path / "cpu.max"
    limit.write_text("50000 100000\n")
    monkeypatch.setattr(surroundings, "CGROUP", limit)
    report = findings()
    assert "No locks available" in report["file locks"].detail
    assert not report["file locks"].needed
    assert report["variables"].remedy == "such as cpu, cuda or cuda:1"
    assert report["quota"].remedy == "snakemake --cores 1"


@pytest.mark.parametrize(
    "left", ["  data@qu", "  data:\n    cmd: a\n    deps:\n    - path: src/mem"]
)
def test_half_a_dvc_lock_is_refused_with_the_command_that_restores_it(monkeypatch, tmp_path, left):
    """The second one is still valid YAML."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.lock").write_text(f"schema: '2.0'\nstages:\n{left}")
    assert "git checkout dvc.lock" in findings()["dvc.lock"].remedy
    with pytest.raises(UserError, match="git checkout dvc.lock"):
        restore.restore()


def test_a_failure_of_dvc_is_told_by_its_cause_and_not_by_its_address_for_help(
    monkeypatch, tmp_path
):
    """As DVC 3.67 ends in a folder that cannot be written."""
    cause = "unexpected error - [Errno 30] Read-only file system: '.dvc/tmp/lock'"
    program = tmp_path / "dvc"
    program.write_text(
        f'#!/bin/sh\necho "ERROR: {cause}" >&2\n'
        'printf "\\nHaving any troubles? Hit us up at https://dvc.org/support!\\n" >&2\nexit 255\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(restore.sys, "executable", str(program))
    with pytest.raises(UserError) as caught:
        restore.run("dvc", "data", "status")
    assert f"dvc failed: {cause} -> try dvc by hand" in caught.value.line()
