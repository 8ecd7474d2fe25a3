"""Environment variables: nonsense is refused before anything is planned, a slip is noted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memdt.errors import UserError
from memdt.workflow import variables

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIME_FACTOR", "1,5"), ("TIME_FACTOR", "0"), ("TIME_FACTOR", "-1"), ("TIME_FACTOR", "2x"),
        ("TIME_FACTOR", "inf"), ("TIME_FACTOR", "nan"), ("JOBS", "many"), ("JOBS", "0"),
        ("JOBS", "-1"), ("JOBS", "1.5"), ("GRES", "gpu a100"), ("GRES", "gpu:a100:many"),
        ("GPU_MODEL", "a100;rm"), ("MAIL", "a b"), ("MAIL", "a;b"), ("PARTITION", "a b"),
        ("EXTRA", "--gres=gpu:a100:1"), ("EXTRA", "--qos=low"), ("EXTRA", "--constraint=a"),
        ("EXTRA", "--time=1"), ("EXTRA", "--mem=1"), ("EXTRA", "--export=ALL"), ("EXTRA", "'"),
    ],
)  # fmt: skip
def test_words_that_slurm_or_its_plugin_would_refuse_later(name, value):
    with pytest.raises(UserError, match=f"MEMDT_SLURM_{name}: .*cannot be used"):
        variables.check({f"MEMDT_SLURM_{name}": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("DEVICE", "gpu"), ("DEVICE", "mps"), ("DEVICE", "cuda:-1"), ("DETERMINISTIC", "no"),
     ("IN_MEMORY_BYTES", "4G"), ("SAVE_EVERY_SECONDS", "-1"), ("ORPHANS", "leave")],
)  # fmt: skip
def test_nonsense(name, value):
    with pytest.raises(UserError, match=f"MEMDT_{name}"):
        variables.check({f"MEMDT_{name}": value})


def test_what_means_something_passes_and_nothing_counts_as_not_set():
    good = {
        "MEMDT_DEVICE": "cuda:1", "MEMDT_SLURM_TIME_FACTOR": "1.5", "MEMDT_SLURM_JOBS": "1000",
        "MEMDT_SLURM_GRES": "gpu:a100:1", "MEMDT_SLURM_ACCOUNT": "o'neil lab",
        "MEMDT_SLURM_EXTRA": "--nice=100 --exclude='n[1-3]'", "MEMDT_ORPHANS": "",
    }  # fmt: skip
    assert variables.check(good) == []


def test_a_misspelt_variable_is_noted_and_two_gpu_settings_together_are_refused():
    note = variables.check({"MEMDT_DEVCE": "cuda"})
    assert note[0].startswith("MEMDT_DEVCE: nothing reads it -> did you mean 'MEMDT_DEVICE'?")
    with pytest.raises(UserError, match="set one of them"):
        variables.check({"MEMDT_SLURM_GRES": "gpu:1", "MEMDT_SLURM_GPU_MODEL": "a100"})


def test_every_variable_that_is_read_is_known_and_documented():
    folders = ("src/memdt", "workflow")
    files = [f for folder in folders for f in (ROOT / folder).rglob("*") if f.suffix in TEXTS]
    read = {name for f in files for name in re.findall(r"MEMDT_[A-Z][A-Z_]*[A-Z]", f.read_text())}
    assert read - {"MEMDT_SLURM"} <= set(variables.CHECKS)
    documents = "".join((ROOT / "docs" / n).read_text() for n in ("output.md", "cluster.md"))
    inner = {"MEMDT_STARTED_BY", "MEMDT_TAKE_OVER", "MEMDT_ENGINE_OWNER", "MEMDT_TEST_DATA"}
    assert {name for name in set(variables.CHECKS) - inner if name not in documents} == set()


TEXTS = (".py", ".smk", ".yaml")
