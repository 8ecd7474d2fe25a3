"""Any settings file is refused in one line, or means what another reader of YAML 1.2 reads."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from made_up.faults import REFUSED, answer_or_line, damaged, few, forget, many, odd_values
from memdt.settings import yaml_files
from memdt.settings.files import selection
from memdt.settings.layers import flatten
from memdt.settings.resolve import Resolved, resolve

EXPERIMENT = """\
title: two settings
environment: tmaze
set:
  training: {segments: 2, learning_rate: 1.0e-3, updates_per_stage: [5, 6]}
  evaluation.episodes: 10
  evaluation.conditions: {as_published: {}, added: {memory_edit: added_noise}}
  seeds: [0, 1]
variants:
  memory: {model: rate, set: {model.layers: 2}}
"""
KEYS = (
    "training.segments", "training.learning_rate", "training.updates_per_stage", "seeds",
    "training.batch_size", "training.batch_size_per_stage", "training.weight_decay",
    "training.curriculum", "training.schedule", "training.adapter", "training.precision",
    "evaluation.segments", "evaluation.episodes", "evaluation.first_seed", "evaluation.seed",
    "evaluation.target_return", "evaluation.conditions", "model.layers", "model.dropout",
    "model.memory_tokens", "segment_length", "environment.parameters", "training.horizons",
    "training.memory_noise", "training.trainable", "training.log_every", "dataset", "model", "",
)  # fmt: skip


def resolved(config: Path, content: bytes) -> Resolved | object:
    (config / "experiments/odd.yaml").write_bytes(content)
    forget()
    return answer_or_line(lambda: resolve("odd", "memory", "paper"))


def a_file(config: Path, content: bytes) -> None:
    """What we read of a damaged file is what another reader reads."""
    path = config / "experiments/odd.yaml"
    path.write_bytes(content)
    ours = answer_or_line(lambda: yaml_files.read(path))
    if ours is not REFUSED:
        assert repr(as_text_keys(ours)) == repr(as_text_keys(by_another_reader(content)))
    resolved(config, content)


def by_another_reader(content: bytes) -> Any:
    reader = YAML(typ="safe", pure=True)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        return reader.load(content.decode("utf-8"))


def as_text_keys(content: Any) -> Any:
    """Keys as text and dates as they are written, which is what we read."""
    if isinstance(content, dict):
        return {str(key): as_text_keys(value) for key, value in content.items()}
    if isinstance(content, list):
        return [as_text_keys(value) for value in content]
    return content


def a_value(config: Path, key: str, value: Any) -> None:
    """A value that is accepted stands in the settings as it is."""
    content = yaml.safe_load(EXPERIMENT)
    content["set"] = {**flatten(content["set"]), key: value}
    outcome = resolved(config, yaml.safe_dump(content, allow_unicode=True).encode())
    if outcome is REFUSED:
        return
    assert isinstance(outcome, Resolved)
    settings = flatten(outcome.settings.model_dump(mode="json"))
    expected = flatten({key: value})
    for one, expected_value in expected.items():
        assert same(settings.get(one, {}), expected_value), (one, expected_value)


def same(actual: Any, expected: Any) -> bool:
    """Equal, and neither of them a truth value unless both are."""
    if isinstance(expected, (list, tuple)):
        return len(actual) == len(expected) and all(map(same, actual, expected))
    if isinstance(expected, str) and not isinstance(actual, str):
        return str(actual).lower() == expected.lower() or float(actual) == float(expected)
    return bool(actual == expected) and isinstance(actual, bool) == isinstance(expected, bool)


@few
@given(content=damaged(EXPERIMENT.encode()))
def test_a_damaged_file(config, content):
    a_file(config, content)


@few
@given(key=st.sampled_from(KEYS), value=odd_values)
def test_an_odd_value(config, key, value):
    a_value(config, key, value)


@few
@given(key=st.sampled_from(("scale", "experiments", "plugins", "x")), value=odd_values)
def test_an_odd_selection(config, key, value):
    answer_or_line(lambda: selection({key: value}))


@pytest.mark.slow
@many
@given(content=damaged(EXPERIMENT.encode()))
def test_many_damaged_files(config, content):
    a_file(config, content)


@pytest.mark.slow
@many
@given(key=st.sampled_from(KEYS), value=odd_values)
def test_many_odd_values(config, key, value):
    a_value(config, key, value)
