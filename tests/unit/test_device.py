"""Which device: MEMDT_DEVICE, what torch sees, and one line where a GPU does not do. On any CPU."""

from __future__ import annotations

import types

import pytest
import torch

from memdt import device
from memdt.errors import UserError


@pytest.fixture
def cards(monkeypatch, tmp_path):
    """Two cards of which torch knows nothing; returns the numbers that were chosen."""
    chosen: list[int] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(device, "_held", [])
    monkeypatch.setattr(device, "device_name", lambda name: "Some Card")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: False)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: types.SimpleNamespace(uuid=f"c{index}")
    )
    return chosen


def test_the_default_is_a_gpu_where_there_is_one(cards, monkeypatch):
    monkeypatch.delenv(device.VARIABLE, raising=False)
    assert str(device.default_device()) == "cuda"
    monkeypatch.setenv(device.VARIABLE, "cpu")
    assert str(device.default_device()) == "cpu"


def test_a_card_is_chosen_by_its_number_and_has_none_in_the_manifest(cards, monkeypatch):
    monkeypatch.setenv(device.VARIABLE, "cuda:1")
    assert str(device.default_device()) == "cuda"
    assert cards == [1]


def test_steps_side_by_side_take_one_card_each(cards, monkeypatch, tmp_path):
    monkeypatch.delenv(device.VARIABLE, raising=False)
    (tmp_path / ".snakemake").mkdir()
    other_processes = []
    for _ in range(3):
        device.prepare("a step")
        other_processes += device._held
        device._held.clear()
    assert cards == [0, 1]  # the third finds no free card


@pytest.mark.parametrize(
    ("text", "message"), [("cuda:2", "there is no cuda:2: torch"), ("gpu", "'gpu' is no device")]
)
def test_a_device_that_is_not_there(cards, monkeypatch, text, message):
    monkeypatch.setenv(device.VARIABLE, text)
    with pytest.raises(UserError, match=message):
        device.default_device()


def test_bfloat16_where_the_card_lacks_it(cards, monkeypatch):
    monkeypatch.delenv(device.VARIABLE, raising=False)
    device.prepare("a step", "float32")
    with pytest.raises(UserError) as refused:
        device.prepare("a step", "bfloat16")
    assert refused.value.line().startswith("training.precision: Some Card does not compute in bf")


def test_the_first_line_names_device_threads_and_node(monkeypatch, capsys):
    monkeypatch.setenv(device.VARIABLE, "cpu")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    device.prepare("one stage 1")
    line = capsys.readouterr().err
    assert line.startswith("one stage 1 | cpu: ")
    assert "thread" in line
    assert "node" not in line
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURMD_NODENAME", "gpu1")
    device.prepare("one stage 1")
    assert capsys.readouterr().err.endswith(" | node gpu1, job 17\n")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
    ],
)
def test_a_full_card_names_the_setting_to_lower(error):
    refused = pytest.raises(UserError, match=r"lower training\.batch_size")
    with refused, device.naming_what_to_lower("training.batch_size"):
        raise error


def test_other_errors_are_left_as_they_are():
    refused = pytest.raises(RuntimeError, match="shapes differ")
    with refused, device.naming_what_to_lower("training.batch_size"):
        raise RuntimeError("shapes differ")
