"""dvc.yaml: in step with the settings, and naming every module that a step really loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from memdt.errors import UserError
from memdt.workflow import pipeline

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
SMOKE = ("--scale", "smoke")
RUN = ("--experiment", "tmaze_table_2", "--variant", "rate-3", *SMOKE)
# What a stage of DVC runs, as steps by hand.
STEPS = {
    "datasets": [["dataset", "--environment", "tmaze", *SMOKE]],
    "tmaze_table_2": [
        ["train", *RUN, "--stage", "1"], ["train", *RUN, "--stage", "2"],
        ["evaluate", *RUN], ["attention", *RUN],
    ],
}  # fmt: skip
# Loaded to parse a command line and to talk, none of which can move a result.
TALK = {
    "memdt.cli.export",
    "memdt.cli.play",
    "memdt.cli",
    "memdt.cli.doctor",
    "memdt.cli.screen",
    "memdt.cli.status",
    "memdt.workflow.verify",
}
TRACE = """
import json, sys
from memdt.__main__ import main
status = main(sys.argv[1:])
print(json.dumps(sorted(n for n in sys.modules if n.split(".")[0] == "memdt")))
sys.exit(status)
"""


def test_dvc_yaml_is_in_step(monkeypatch):
    monkeypatch.chdir(ROOT)
    pipeline.check()


def test_a_dvc_yaml_that_is_not_in_step_is_refused(config):
    pipeline.write()
    pipeline.check()
    path = Path("dvc.yaml")
    path.write_text(path.read_text(encoding="utf-8").replace("persist: true", "persist: false"))
    with pytest.raises(UserError, match="memdt pipeline"):
        pipeline.check()


@pytest.mark.parametrize("stage", STEPS)
def test_a_stage_depends_on_every_module_that_its_steps_load(project, stage):
    """Not the import closure again: what Python has really loaded when the step was done."""
    for steps in STEPS.values():
        for step in steps:
            command = [sys.executable, "-c", TRACE, *step]
            done = subprocess.run(
                command, cwd=project.root, env=project.environment, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            if steps is STEPS[stage]:
                loaded = set(json.loads(done.stdout.splitlines()[-1])) - TALK
                assert {name for name in loaded if not covered(name, stage)} == set()
        if steps is STEPS[stage]:
            break


def covered(module: str, stage: str) -> bool:
    path = Path("src", *module.split("."))
    names = [f"{path}.py", f"{path}/__init__.py"]
    deps = STAGES[stage]["do"]["deps"]
    return any(name in deps or str(Path(name).parent) in deps for name in names)


def test_every_output_persists():
    for name, stage in STAGES.items():
        for out in stage["do"]["outs"]:
            assert next(iter(out.values()))["persist"] is True, (name, out)


def test_settings_of_every_part_count(monkeypatch):
    monkeypatch.chdir(ROOT)
    files = {next(iter(entry)) for entry in STAGES["tmaze_table_2"]["do"]["params"]}
    folder = "workflow/config"
    assert files == {
        f"{folder}/environments/tmaze.yaml", f"{folder}/models/rate.yaml",
        f"{folder}/models/decision_transformer.yaml", f"{folder}/experiments/tmaze_table_2.yaml",
        f"{folder}/scales/${{item}}.yaml", f"{folder}/figures.yaml",
    }  # fmt: skip


def test_an_experiment_that_takes_checkpoints_depends_on_whoever_made_them():
    deps = STAGES["tmaze_figure_5"]["do"]["deps"]
    assert "data/runs/${item}/tmaze_table_2" in deps


def test_what_goes_into_a_command_is_quoted(monkeypatch):
    """Settings refuse such names; the file that runs as shell commands does not rely on it."""
    monkeypatch.setattr(pipeline, "_environments", lambda names: [])
    assert pipeline._snakemake("runs", ["a;b", "c"]).endswith("experiments='a;b,c'")
