"""Manifests: flat JSON about how a result came about."""

from __future__ import annotations

import json
import time

from memdt import provenance


def test_a_manifest_holds_what_the_report_needs(tmp_path):
    started = (time.perf_counter() - 2.0, time.process_time())
    content = provenance.manifest(started, seed=3, device="cpu", settings_digest="d", settings={})
    path = tmp_path / "run" / "manifest.json"
    provenance.write_manifest(path, content)
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["seed"] == 3
    assert kept["settings_digest"] == "d"
    assert 2.0 <= kept["wall_seconds"] < 10.0
    assert kept["cpu_seconds"] >= 0
    assert kept["peak_memory_bytes"] > 10e6
    assert kept["packages"]["numpy"].count(".") == 2
    assert kept["device_name"] == kept["cpu"]
    assert {"git_commit", "git_dirty", "python", "platform", "threads"} <= set(kept)


def test_no_git_is_no_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    provenance.git_state.cache_clear()
    assert provenance.git_state() == {"git_commit": None, "git_dirty": None}
    monkeypatch.setenv("PATH", str(tmp_path))
    provenance.git_state.cache_clear()
    assert provenance.git_state()["git_commit"] is None
    provenance.git_state.cache_clear()
