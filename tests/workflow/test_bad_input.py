"""Bad input ends in one line before any job starts: file, key, what is allowed, closest match."""

from __future__ import annotations

import pytest

SCALE = "workflow/config/scales/quick.yaml"
MAZE = "workflow/config/environments/tmaze.yaml"
TABLE = "workflow/config/experiments/tmaze_table_2.yaml"


def refused(done) -> str:
    """The one line, after checking that it is one and that nothing was started."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Config file ")]
    assert len(lines) == 1, done.stderr
    assert "Job stats" not in done.stdout + done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("name", "old", "new", "parts"),
    [
        (SCALE, "32\n  training.learning_rate:", "32\n  training.learnin_rate:",
         (SCALE, "training.learnin_rate", "did you mean 'learning_rate'?", "weight_decay")),
        (SCALE, "\ndefaults:", "\ndefualts:", (SCALE, "defualts", "did you mean 'defaults'?")),
        (TABLE, "dt-3:\n    model: decision_transformer", "dt-3:\n    model: decision_transformr",
         ("decision_transformr", "did you mean 'decision_transformer'?", "rate_without_memory")),
        (MAZE, "source: played", "source: plaid",
         (f"{MAZE}: dataset.source", "unknown module 'plaid'", "did you mean 'played'?")),
        (MAZE, "episodes_per_length: 100", "episodes_per_lenght: 100",
         (f"{MAZE}: dataset.episodes_per_lenght", "did you mean 'episodes_per_length'?")),
        ("workflow/config/config.yaml", "scale: quick", "scale: [quick",
         ("workflow/config/config.yaml", "not valid YAML")),
        ("workflow/config/figures.yaml", "module: memory_edits", "module: memory_edit",
         ("figures.yaml", "memory_edit", "did you mean 'memory_edits'?")),
        ("workflow/config/figures.yaml", "variant: rate-3, seed: 0", "variant: rate-4, seed: 0",
         ("figures.yaml: attention_of_rate.options", "unknown variant 'rate-4'",
          "allowed: dt-3, dt-7, rate-3")),
        (TABLE, "metric: success}", "metric: [success, tics]}",
         (f"{TABLE}: table.metric", "unknown metric 'tics'", "return, steps, ", "success")),
    ],
)  # fmt: skip
def test_a_slip_in_a_file(project, name, old, new, parts):
    project.edit(name, old, new)
    line = refused(project.snakemake("--cores", "1"))
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        (
            "scale=quik",
            ("--config: unknown scale 'quik'", "did you mean 'quick'?", "paper, quick, smoke"),
        ),
        (
            "experiments=tmaze_tabel_2",
            ("--config: unknown experiment 'tmaze_tabel_2'", "did you mean 'tmaze_table_2'?"),
        ),
        ("experiment=tmaze_table_2", ("experiment: unknown key", "did you mean 'experiments'?")),
    ],
)
def test_a_slip_on_the_command_line(project, option, parts):
    line = refused(project.snakemake("--cores", "1", "--config", option))
    assert all(part in line for part in parts), line


def test_a_slip_in_another_scale_is_refused_when_that_scale_is_used(project):
    project.edit(
        "workflow/config/scales/smoke.yaml",
        "layers: 1\n    model.heads: 2\n    model.width: 16\n    model.head_width",
        "layers: 1\n    model.heads: two\n    model.width: 16\n    model.head_width",
    )
    done = project.snakemake("--cores", "1", "smoke")
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert "scales/smoke.yaml" in last
    assert "heads" in last
    assert "Traceback" not in done.stderr


def test_a_missing_simulator_leaves_its_experiments_out_with_one_line(project):
    project.edit(
        "src/memdt/environments/tmaze.py", "REQUIRES: tuple[str, ...] = ()",
        'REQUIRES: tuple[str, ...] = ("no_such_simulator",)',
    )  # fmt: skip
    done = project.snakemake("-n")
    assert done.returncode == 0, done.stderr
    line = "memdt: tmaze_table_2 is left out: no_such_simulator is not installed"
    assert done.stderr.count(line) == 1
    assert "train" not in done.stdout
