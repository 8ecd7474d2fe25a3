"""What unit tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from made_up import trained_run
from made_up.project import CONFIG, DEVIATIONS, HEADER, forget_settings, put, run
from memdt import paths
from memdt.report import cost


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root of a project with a run that has been trained and evaluated."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("MEMDT_DEVICE", "cpu")
        trained_run.make(trained_run.settings())
        yield root


@pytest.fixture(scope="session")
def made_up_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments at three scales, of which one has been run at scales tiny and full."""
    folder = tmp_path_factory.mktemp("made_up")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        forget_settings()
        for name, content in CONFIG.items():
            put(paths.CONFIG / name, yaml.safe_dump(content, sort_keys=False))
        put(Path("docs/deviations.md"), DEVIATIONS)
        cell = "walk,near,as_published,1,success,rate,0.9,0.05,sem,10,100,0.05,true,"
        put(paths.PUBLISHED / "rate.csv", f"{HEADER}rate,1,Table 2,6,{cell}\n")
        for scale, seeds in (("tiny", (0, 1, 2)), ("full", (0, 1, 2, 3)), ("nothing", (0,))):
            run(scale, seeds)
    return folder


@pytest.fixture
def reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up_project: Path
) -> Iterator[Path]:
    """A copy of the made-up project, to work in."""
    shutil.copytree(made_up_project, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "_day", lambda commit: "2026-01-02")
    forget_settings()
    yield tmp_path
    forget_settings()


@pytest.fixture
def shared_data() -> Path:
    """Real files that are no part of the project: ../shared/data, or MEMDT_TEST_DATA."""
    usual = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("MEMDT_TEST_DATA") or usual)
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    return folder
