"""The command line: what it imports, how it refuses, and what it passes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memdt.__main__ import main, set_threads
from memdt.cli import commands, report_steps, steps

ROOT = Path(__file__).parents[2]


def imported_by(*arguments: str) -> set[str]:
    """The packages that a command has imported when it ends."""
    command = [sys.executable, "-X", "importtime", "-m", "memdt", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("verb", commands.VERBS)
def test_help_needs_nothing_heavy(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        commands.parse([verb, "--help"])
    assert ended.value.code == 0
    assert f"memdt {verb}" in capsys.readouterr().out


def test_help_imports_neither_torch_nor_pandas():
    heavy = {"torch", "pandas", "scipy", "matplotlib", "gymnasium", "h5py", "numpy"}
    assert not heavy & imported_by("train", "--help")


def test_training_imports_nothing_that_it_does_not_need():
    """Two seconds to the first update leave no room for what only the report needs."""
    code = "import memdt.training.train, memdt.models.rate, memdt.environments.tmaze, sys; "
    code += "print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"pandas", "matplotlib", "seaborn", "rich", "jinja2", "snakemake"}
    assert not heavy & set(done.stdout.split())


def test_bad_input_is_one_line_and_status_2(config, capsys):
    assert main(["settings", "tmaze_table_2", "rate3"]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "did you mean 'rate-3'?" in printed.err
    assert printed.out == ""


def test_a_traceback_can_be_asked_for(config, monkeypatch):
    from memdt.errors import UserError

    monkeypatch.setenv("MEMDT_DEBUG", "1")
    with pytest.raises(UserError):
        main(["settings", "tmaze_table_2", "rate3"])


def test_ctrl_c_is_one_line_and_status_130(config, capsys, monkeypatch):
    def interrupted(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.Status, "run", interrupted)
    assert main(["status"]) == 130
    assert capsys.readouterr().err == "memdt: stopped; nothing half-written is left\n"


def test_a_folder_without_a_project_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["status"]) == 2
    assert "cd to the folder of the Snakefile" in capsys.readouterr().err


def test_an_unknown_verb_is_status_2(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["trian"])
    assert ended.value.code == 2


def test_one_thread_unless_more_are_asked_for(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        monkeypatch.setenv(name, "7")
    train = commands.parse(["train", "--experiment", "tmaze_table_2", "--variant", "rate-3"])
    assert train == steps.Train(experiment="tmaze_table_2", variant="rate-3")
    set_threads(train.threads)
    assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    set_threads(2)
    assert os.environ["VECLIB_MAXIMUM_THREADS"] == "2"


def test_the_first_stage_takes_no_checkpoint(config):
    words = ["train", "--experiment", "e", "--variant", "v", "--start", "--out", "x"]
    assert commands.parse(words).start == ()


def test_settings_say_where_each_value_comes_from(config, capsys):
    assert main(["settings", "tmaze_table_2", "dt-7", "--scale", "paper"]) == 0
    rows = dict(line.split()[::2] for line in capsys.readouterr().out.splitlines()
                if len(line.split()) == 3)  # fmt: skip
    assert rows["training.batch_size"] == "experiments/tmaze_table_2.yaml"
    assert rows["model.heads"] == "models/decision_transformer.yaml"
    assert rows["segment_length"] == "environments/tmaze.yaml"
    assert rows["training.log_every"] == "default"


def test_sources_say_what_counts_and_what_does_not(config, capsys):
    from memdt.settings import resolve, slices

    assert main(["settings", "tmaze_table_2", "dt-7", "--sources"]) == 0
    lines = capsys.readouterr().out.splitlines()
    settings = resolve.resolve("tmaze_table_2", "dt-7", "quick").settings
    digests = [line.split()[-1] for line in lines if " settings " in line][:3]
    parts = (slices.dataset(settings), slices.train(settings, 7), slices.evaluate(settings))
    assert digests == [resolve.digest(part) for part in parts]
    counted = [line.split()[0] for line in lines if line.startswith(" ")]
    assert "memdt.models.decision_transformer" in counted
    assert "memdt.models.dt_mem" not in counted
    assert "memdt.files" not in counted
    assert any(
        line.startswith("memdt.files ") and "how a file is written" in line for line in lines
    )


def test_the_source_of_a_step_must_be_the_planned_one(config):
    from memdt.errors import UserError

    step = report_steps.Table(experiment="tmaze_table_2", source_digest="0" * 16)
    with pytest.raises(UserError, match="run snakemake again"):
        step.run()


@pytest.mark.parametrize(
    ("folder", "remedy"),
    [("elsewhere", "name another file, or leave the option out"), ("data", "snakemake --cores")],
)
def test_no_rule_is_named_for_a_damaged_dataset_that_no_rule_makes(config, capsys, folder, remedy):
    dataset = Path(folder) / "maze.h5"
    dataset.parent.mkdir(exist_ok=True)
    dataset.write_bytes(b"damaged")
    run = ["--experiment", "tmaze_table_2", "--variant", "rate-3", "--out", "out"]
    assert main(["train", *run, "--dataset", str(dataset)]) == 2
    assert f"memdt: {dataset}: " in (line := capsys.readouterr().err.splitlines()[-1])
    assert line.partition(" -> ")[2].startswith(remedy)


@pytest.mark.parametrize("seed", ["-1", "2147483648"])
@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_a_seed_that_no_generator_takes_is_one_line(config, capsys, verb, seed):
    run = ["--experiment", "tmaze_table_2", "--variant", "rate-3", "--seed", seed]
    assert main([verb, *run]) == 2
    assert f"memdt: --seed: {seed} is no seed -> " in capsys.readouterr().err
