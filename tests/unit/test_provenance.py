"""Manifests: what is the same each time in one file, what is measured in another."""

from __future__ import annotations

import hashlib
import json
import os
import time

import pytest

from memdt import provenance
from memdt.errors import UserError


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


def test_a_manifest_is_the_same_each_time(checkpoint):
    made = [
        provenance.manifest(3, "cpu", [checkpoint], settings_digest="d", settings={})
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert made[0]["format"] == provenance.FORMAT
    assert made[0]["seed"] == 3
    assert made[0]["settings_digest"] == "d"
    assert made[0]["packages"]["numpy"].count(".") == 2
    assert made[0]["device_name"] == made[0]["cpu"]
    assert made[0]["files"] == {"checkpoint.safetensors": hashlib.sha256(b"weights").hexdigest()}
    varying = {"git_commit", "platform", "finished", "peak_memory_bytes"}
    assert not [key for key in made[0] if key in varying or key.endswith("seconds")]


def test_what_is_measured_holds_what_the_cost_page_needs():
    started = (time.perf_counter() - 2.0, time.process_time())
    measured = provenance.measured(started, before=(10.0, 20.0), resumed=2, updates=120)
    assert 12.0 <= measured["wall_seconds"] < 20.0
    assert measured["cpu_seconds"] >= 20.0
    assert measured["peak_memory_bytes"] > 10e6
    assert measured["resumed"] == 2
    assert measured["updates_per_second"] == pytest.approx(120 / measured["wall_seconds"], abs=0.01)
    assert measured["finished"].endswith("+00:00")
    assert {"git_commit", "git_dirty", "platform"} <= set(measured)


def test_both_are_read_back_and_what_was_measured_may_be_missing(checkpoint):
    path = checkpoint.with_name("manifest.json")
    content = provenance.manifest(0, "cpu", [checkpoint])
    provenance.write_manifest(path, content, {"wall_seconds": 1.5})
    assert provenance.read_manifest(path) == content
    assert provenance.read_measured(path)["wall_seconds"] == 1.5
    path.with_name("measured.json").write_text("{", encoding="utf-8")
    assert provenance.read_measured(path) == {}
    path.with_name("measured.json").unlink()
    assert provenance.read_measured(path) == {}


def test_the_manifest_is_written_last(checkpoint, monkeypatch):
    written = []
    monkeypatch.setattr(provenance, "write_text", lambda path, text: written.append(path.name))
    provenance.write_manifest(checkpoint.with_name("evaluation_manifest.json"), {}, {})
    assert written == ["evaluation_measured.json", "evaluation_manifest.json"]


def test_what_was_measured_of_another_manifest_does_not_count(checkpoint):
    path = checkpoint.with_name("manifest.json")
    provenance.write_manifest(path, {"format": provenance.FORMAT}, {"wall_seconds": 1.5})
    path.write_text(json.dumps({"format": provenance.FORMAT, "seed": 1}), encoding="utf-8")
    assert provenance.read_measured(path) == {}


@pytest.mark.parametrize(
    "content", [b"", b'{"seed": 0, ', b"[1, 2]", b"{}", b'{"format": "another"}', b"\xff\xfe"]
)
def test_a_broken_or_foreign_manifest_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"snakemake {path} --force") as caught:
        provenance.read_manifest(path)
    assert "\n" not in str(caught.value)


def test_no_git_is_no_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    provenance.git_state.cache_clear()
    assert provenance.git_state() == {"git_commit": None, "git_dirty": None}
    monkeypatch.setenv("PATH", str(tmp_path))
    provenance.git_state.cache_clear()
    assert provenance.git_state()["git_commit"] is None
    provenance.git_state.cache_clear()


def test_the_cores_are_those_that_a_process_may_use_where_the_system_says(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert provenance.usable_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert provenance.usable_cores() == os.cpu_count()
