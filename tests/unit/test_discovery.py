"""The name of a file is its registration."""

from __future__ import annotations

import subprocess
import sys

import pytest

from memdt import discovery
from memdt.environments import tmaze
from memdt.errors import UserError


def test_infrastructure_is_no_component():
    assert discovery.names("memdt.environments") == sorted(discovery.names("memdt.environments"))
    assert "interface" not in discovery.names("memdt.environments")


def test_a_component_is_loaded_by_name():
    assert discovery.load("memdt.environments", "tmaze") is tmaze


def test_an_unknown_name_offers_the_closest():
    with pytest.raises(UserError, match="no 'tmazes' among the environments.*did you mean 'tmaze'"):
        discovery.load("memdt.environments", "tmazes")


def test_infrastructure_cannot_be_loaded_as_a_component():
    with pytest.raises(UserError):
        discovery.load("memdt.environments", "interface")


def test_listing_imports_no_component():
    code = (
        "import sys; from memdt import discovery; discovery.names('memdt.environments');"
        "sys.exit('memdt.environments.tmaze' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_constant_is_read_without_importing(tmp_path, monkeypatch):
    package = tmp_path / "aviary"
    package.mkdir()
    (package / "__init__.py").write_text("")
    text = "import nowhere\nPREY: tuple[str, ...] = ('hare', 'fish')\nSPAN = 2.2\n"
    (package / "eagle.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert discovery.constant("aviary", "eagle", "PREY") == ("hare", "fish")
    assert discovery.constant("aviary", "eagle", "YOUNG") == ()
    assert discovery.constant("aviary", "owl", "PREY") == ()
    assert discovery.number("aviary", "eagle", "SPAN") == 2.2
    assert discovery.number("aviary", "owl", "SPAN") is None


def test_a_package_lists_its_new_files(tmp_path, monkeypatch):
    package = tmp_path / "zoo"
    package.mkdir()
    (package / "__init__.py").write_text("INFRASTRUCTURE = ('cage',)\n")
    for name in ("lion", "cage", "_private", "bear"):
        (package / f"{name}.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert discovery.names("zoo") == ["bear", "lion"]
