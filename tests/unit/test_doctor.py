"""The doctor names what is missing and the command that mends it."""

from __future__ import annotations

from importlib import metadata

from memdt.cli import doctor
from memdt.workflow import plan


def findings() -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.findings()}


def test_what_every_installation_has_is_ok():
    found = findings()
    assert all(found[name].ok for name in ("Python", "torch", "cores", "snakemake"))


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
