"""``memdt export policy`` and ``memdt play``: an exported policy loads anywhere, and is shown."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

import memdt
from made_up import trained_run
from memdt.__main__ import main
from memdt.environments import gymnasium as any_gymnasium
from memdt.errors import UserError
from memdt.evaluation import showing
from memdt.evaluation.policy_export import export_policy

FILES = ["LICENSE", "README.md", "policy.safetensors", "provenance.json", "scores.csv",
         "settings.json"]  # fmt: skip


@pytest.fixture
def exported(trained: Path, tmp_path: Path) -> Path:
    return export_policy(trained_run.RUN, tmp_path / "exported")


def test_an_exported_policy_plays_as_its_run_without_the_project(
    trained: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(path.name for path in exported.iterdir()) == FILES
    seen = np.random.default_rng(0).normal(size=(12, 3, 4)).astype(np.float32)
    of_run = memdt.load(trained_run.RUN)
    expected = [of_run.act(one, np.full(3, 0.1)).tolist() for one in seen]
    monkeypatch.chdir(exported)
    policy = memdt.load(exported)
    assert [policy.act(one, np.full(3, 0.1)).tolist() for one in seen] == expected
    assert (policy.target_return, policy.spaces) == (of_run.target_return, of_run.spaces)


def test_the_same_run_gives_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    again = export_policy(trained_run.RUN, tmp_path / "again")
    for name in FILES:
        assert (again / name).read_bytes() == (exported / name).read_bytes()


def test_the_card_has_the_scores_of_the_episodes(exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "mit"
    with (trained_run.RUN / "episodes.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["segments"] == "3"]
    mean = sum(float(row["success"]) for row in rows) / len(rows)
    metrics = {m["name"]: m["value"] for m in front["model-index"][0]["results"][0]["metrics"]}
    assert metrics["mean success, 3 segments, 6 episodes"] == pytest.approx(mean, abs=1e-4)
    assert f"| as_published | 3 | success | {mean:.3f} | 6 |" in card
    assert "no estimate of how well the method does over seeds" in card
    origin = json.loads((exported / "provenance.json").read_text())
    assert origin["training"]["settings_digest"] in card


def test_what_does_not_belong_together_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is already something"):
        export_policy(trained_run.RUN, exported)
    with pytest.raises(UserError, match="this is no run"):
        export_policy(exported, tmp_path / "again")
    first = trained_run.RUN / "stage_1" / "checkpoint.safetensors"
    (exported / "policy.safetensors").write_bytes(first.read_bytes())
    with pytest.raises(UserError, match=r"not the weights that settings\.json names"):
        memdt.load(exported)
    (exported / "settings.json").write_text('{"format": "memdt policy 9"}')
    with pytest.raises(UserError, match="not the settings of an exported policy"):
        memdt.load(exported)


def test_the_command_writes_and_the_maze_is_shown_as_text(
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # no project
    assert main(["play", str(exported), "--segments", "1", "--out", "walk.txt"]) == 0
    output = capsys.readouterr().out
    frames = Path("walk.txt").read_text(encoding="utf-8").split("\n\n")
    steps = int(output.split(" after ")[1].split()[0])
    assert len(frames) == steps + 1
    assert "hint: down" in frames[0]
    assert "hint" not in frames[1]
    assert all(frame.count("A") == 1 for frame in frames[:-1])
    assert main(["play", str(exported), "--segments", "1"]) == 0
    assert "\n".join(frames) in capsys.readouterr().out
    assert main(["play", str(exported), "--out", "walk.gif"]) == 2
    assert "walk.gif: this environment shows text" in capsys.readouterr().err
    assert main(["play", str(exported), "--window"]) == 2
    assert "has no window of its own" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_frames_become_a_film(tmp_path: Path, ending: str) -> None:
    frames = [np.full((16, 24, 3), shade, np.uint8) for shade in (0, 120, 240)]
    showing.write_film(frames, tmp_path / f"film{ending}", 5)
    with Image.open(tmp_path / f"film{ending}") as film:
        assert (film.n_frames, film.size) == (3, (24, 16))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"shows pictures, which \.txt is not.*write to \.gif"):
        showing.write_film(frames, tmp_path / "film.txt", 5)


def test_gymnasium_renders_in_the_mode_that_is_asked_for() -> None:
    pytest.importorskip("pygame")
    settings = any_gymnasium.Settings(id="CartPole-v1")
    environment = any_gymnasium.make_shown(settings, "rgb_array")
    environment.reset(seed=0)
    frame = environment.render()
    assert isinstance(frame, np.ndarray)
    assert frame.shape[2] == 3
    environment.close()


def test_an_environment_that_renders_nothing_is_refused() -> None:
    def refuses() -> None:
        raise NotImplementedError

    environment = SimpleNamespace(render=refuses)
    environment.unwrapped = environment
    with pytest.raises(UserError, match="nothing to show"):
        showing._rendered(environment)  # type: ignore[arg-type]


def test_loading_and_playing_needs_only_the_base_packages(exported: Path) -> None:
    """What the extras bring is not imported, so that a plain `pip install memdt` suffices."""
    code = f"""
import sys
from memdt.__main__ import main
assert main(["play", {str(exported)!r}, "--segments", "1"]) == 0
print("MODULES", *sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=exported
    )
    extras = {"pandas", "scipy", "matplotlib", "seaborn", "jinja2", "snakemake", "dvc", "psutil"}
    assert not extras & set(done.stdout.split("MODULES")[1].split())
