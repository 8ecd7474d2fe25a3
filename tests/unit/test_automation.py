"""What others read: GitHub's workflow, Snakemake's catalogue, the list of experiments."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_github_runs_what_everybody_can_run() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = [step["run"] for step in workflow["jobs"]["run"]["steps"] if "run" in step]
    assert commands[-1] == ".ci/run"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert all("make " not in command and "pytest" not in command for command in commands)


def test_github_takes_the_python_of_the_conda_file() -> None:
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["run"]
    (python,) = [
        step["with"]["python-version"] for step in steps["steps"] if "setup-python" in str(step)
    ]
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python={python}" in dependencies


def test_the_catalogue_knows_how_the_workflow_is_used() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    environment = ROOT / "environment.yml"
    assert usage["software-stack-deployment"]["conda"] == environment.is_file()


def test_every_experiment_is_on_its_page() -> None:
    """``docs/experiments.md`` names each once, and those of the default run as such."""
    rows = [
        (re.findall(r"`(\w+)`", cells[1]), cells[3].strip() == "yes")
        for line in (ROOT / "docs/experiments.md").read_text(encoding="utf-8").splitlines()
        if len(cells := line.split("|")) == 5 and "`" in cells[1]
    ]
    listed = [name for names, _ in rows for name in names]
    files = sorted(path.stem for path in (ROOT / "workflow/config/experiments").glob("*.yaml"))
    assert sorted(listed) == files
    config = yaml.safe_load((ROOT / "workflow/config/config.yaml").read_text(encoding="utf-8"))
    assert {name for names, default in rows if default for name in names} == set(
        config["experiments"]
    )
