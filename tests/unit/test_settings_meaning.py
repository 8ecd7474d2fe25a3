"""No setting means something else than it says: each slip is one line with file and key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from memdt import discovery
from memdt.data.sources import played
from memdt.errors import UserError
from memdt.settings import yaml_files
from memdt.settings.files import selection
from memdt.settings.layers import available
from memdt.settings.names import MOST_LETTERS, fault
from memdt.settings.pages import figures
from memdt.settings.remembered import key
from memdt.settings.resolve import resolve

EXPERIMENT = """\
title: t
environment: tmaze
variants:
  memory: {model: rate}
"""
Refused = Callable[..., str]


@pytest.fixture
def refused(config: Path) -> Refused:
    """The one line that comes of an experiment with these settings, or of these other files."""

    def line(*settings: str, **files: str) -> str:
        text = EXPERIMENT + "set:\n" + "".join(f"  {one}\n" for one in settings)
        (config / "experiments/odd.yaml").write_text(text if settings else EXPERIMENT)
        for name, content in files.items():
            path = config / f"{name.replace('__', '/')}.yaml"
            path.write_text(content.replace("{before}", path.read_text()))
        with pytest.raises(UserError) as caught:
            resolve("odd", "memory", "paper")
        assert "\n" not in caught.value.line()
        return caught.value.line()

    return line


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.learning_rate: .inf", "finite number"),
        ("training.learning_rate: 1e400", "finite number"),
        ("training.weight_decay: .nan", "finite number"),
        ("training.memory_noise: .inf", "finite number"),
        ("training.adapter: {layers: [head], alpha: .inf}", "finite number"),
        ("evaluation.target_return: -.inf", "finite number"),
        ("model.dropout: .nan", "finite number"),
        ("training.updates_per_stage: [-5]", "greater than 0"),
        ("training.updates_per_stage: [0]", "greater than 0"),
        ("training.updates_per_stage: []", "at least 1 item"),
        ("training.batch_size_per_stage: [0]", "greater than 0"),
        ("training.horizons: [-1]", "greater than 0"),
        ("training.batch_size: true", "not true or false"),
        ("training.updates_per_stage: [true]", "not true or false"),
        ("training.learning_rate: true", "not true or false"),
        ("seeds: [0, true]", "not true or false"),
        ("seeds: [0, -1]", "greater than or equal to 0"),
        ("seeds: [1, 2, 1]", "1 appears twice"),
        ("seeds: [1, 1.0]", "1 appears twice"),
        ("evaluation.segments: []", "at least 1 item"),
        ("evaluation.segments: [2, 2]", "2 appears twice"),
        ("evaluation.conditions: {}", "at least 1 item"),
        ("evaluation.episodes: 1000000000000", "at most"),
        ("model.layers: 100000000", "at most 1,000,000"),
        ("training.segments: 1000000000", "less than or equal to 10000"),
        ("training.batch_size: 1:30", "1:30 means different things"),
        ("training.batch_size: 010", "010 means different things"),
        ("training.batch_size: 1_000", "1_000 means different things"),
        ("training.curriculum: yes", "yes means different things"),
        ("evaluation.conditions: {'a,b': {}}", "can be no name"),
        ("evaluation.conditions: {nan: {}}", "would be read as a value"),
    ],
)
def test_values_that_would_mean_something_else(refused, setting, message):
    line = refused(setting)
    assert message in line
    assert "workflow/config/experiments/odd.yaml" in line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("training.batch_size: 4", "training.batch_size: 5"), "odd.yaml:7: not valid YAML"),
        (("training.batch_size: 4", "training: {batch_size: 5}"), "batch_size appears twice"),
        (("training: {batch_size: 5}", "training.batch_size: 4"), "batch_size appears twice"),
        (("training.adapter: null", "training: {adapter.rank: 2}"), "beside training.adapter"),
    ],
)
def test_a_key_that_stands_twice(refused, settings, message):
    assert message in refused(*settings)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("experiments: {tmaze_tabel_2: {training.batch_size: 3}}", "'tmaze_table_2'"),
        ("environments: {tmace: {training.batch_size: 3}}", "did you mean 'tmaze'"),
        ("models: {raet: {training.batch_size: 3}}", "did you mean 'rate'"),
        ("models_by_environment: {tmaze: {raet: {}}}", "did you mean 'rate'"),
        ("only: {tmaze_tabel_2: [rate-3]}", "did you mean 'tmaze_table_2'"),
        ("only: {tmaze_table_2: [rate-33]}", "did you mean 'rate-3'"),
        ("only: {tmaze_table_2: []}", "at least 1 item"),
    ],
)
def test_a_name_in_a_scale_that_nothing_has(refused, block, message):
    assert message in refused(scales__paper=f"title: t\nreduced: true\n{block}\n")


def test_a_name_in_a_model_that_no_environment_has(refused):
    line = refused(models__rate="environments: {tmace: {}}\n")
    assert "models/rate.yaml: unknown environment 'tmace' -> did you mean 'tmaze'?" in line


@pytest.mark.parametrize("first", [played.FIRST_SEED, played.FIRST_SEED - 50])
def test_episodes_that_were_trained_on_are_not_evaluated_on(refused, first):
    line = refused(f"evaluation.first_seed: {first}", "evaluation.episodes: 100")
    assert f"evaluation.first_seed is {first}" in line
    assert f"stay below {played.FIRST_SEED}" in line


@pytest.mark.parametrize(
    "name",
    ["..", ".", "-rf", "{x}", "a/b", "a" * 300, "=1+1", "a(b", "a b", "a'b", "a;b", "1", "1e5",
     "", "NA", "True", "a.", "größe", "a\nb", "$(x)", "a\\b", "a%b", "@a", "a,b", "a..b"],
)  # fmt: skip
def test_names_that_something_cannot_carry(config, name):
    assert fault(name)
    content = yaml.safe_load(EXPERIMENT) | {"variants": {name: {"model": "rate"}}}
    (config / "experiments/odd.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))
    with pytest.raises(UserError, match="odd.yaml: variants") as caught:
        resolve("odd", name, "quick")
    assert "can be no name" in caught.value.line()


def test_names_that_all_can_carry():
    for name in ("rate-3", "rate_3.1", "R", "a" * MOST_LETTERS):
        assert not fault(name)


def test_variants_that_share_a_folder_on_some_disks(refused):
    line = refused(experiments__odd="{before}  Memory: {model: rate}\n")
    assert "'memory' and 'Memory' are one name" in line


def test_what_editors_and_file_managers_leave_is_ignored(config):
    before = available("experiments"), key()
    (config / "experiments/.#quick.yaml").symlink_to("me@here.1234")  # Emacs; leads nowhere
    (config / "experiments/._quick.yaml").write_bytes(b"\0\5\26\7")  # macOS
    assert (available("experiments"), key()) == before


def test_a_copy_of_a_file_is_refused_with_what_to_do(config):
    path = config / "experiments/walk (copy).yaml"
    path.write_text(EXPERIMENT)
    with pytest.raises(UserError, match=r"walk \(copy\).yaml: .*can be no name.*rename"):
        available("experiments")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# Gr\xf6\xdfe\nscale: quick\nexperiments: all\n", "config.yaml:1: not UTF-8 text"),
        ("scale: quick\n".encode("utf-16"), "config.yaml:1: not UTF-8 text"),
        (b"scale: quick\nexperiments: all\nscale: paper\n", "config.yaml:3: not valid YAML"),
        (b"scale: \0\n", "not valid YAML"),
        (b"[" * 5000, "more than 40 levels"),
        (b"a: " * 50_000, "not valid YAML"),
        (b"&a [*a]", "an alias that names itself"),
        (b"scale: !!python/object/apply:os.system [ls]", "not valid YAML"),
        (b"scale: quick\n---\nscale: paper\n", "not valid YAML"),
        (b"? [a]\n: b\n", "a key must be a word"),
        (b"scale: " + b"9" * 5000, "not valid YAML"),
        (b"x" * (yaml_files.MOST_BYTES + 1), "more than"),
    ],
)
def test_files_that_are_no_settings(config, content, message):
    (config / "config.yaml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        selection()
    assert message in caught.value.line()
    assert discovery.plugins() == ()


def test_aliases_that_stand_for_a_billion_values(config):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (config / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError, match="its aliases stand for more than"):
        selection()


def test_a_folder_in_place_of_a_file(config):
    (config / "config.yaml").unlink()
    (config / "config.yaml").mkdir()
    with pytest.raises(UserError, match=r"config.yaml: cannot be read \(Is a directory\)"):
        selection()


def test_a_slip_on_the_command_line_is_not_blamed_on_the_file(config):
    with pytest.raises(UserError, match="^--config: scale: "):
        selection({"scale": False})


def test_an_experiment_that_is_asked_for_twice(config):
    with pytest.raises(UserError, match="appears twice"):
        selection({"experiments": "tmaze_table_2,tmaze_table_2"})


def test_a_figure_whose_name_no_path_can_carry(config):
    (config / "figures.yaml").write_text('"a/b": {}\n')
    with pytest.raises(UserError, match="figures.yaml: 'a/b' can be no name"):
        figures()


def test_scalars_are_those_of_yaml_1_2(tmp_path):
    """As the core schema has them, and so as `1e-3` is meant."""
    path = tmp_path / "a.yaml"
    path.write_text("[1e-3, 1, -2, 0x1F, .5, true, null, ~, 2024-01-01, 12:75, 'no', \"010\"]\n")
    expected = [0.001, 1, -2, 31, 0.5, True, None, None, "2024-01-01", "12:75", "no", "010"]
    assert yaml_files.read(path) == expected


def test_every_file_of_the_project_means_what_it_meant(config):
    for path in config.rglob("*.yaml"):
        ours, theirs = yaml_files.read(path), yaml.safe_load(path.read_text())
        assert _numbers(ours) == _numbers(theirs), path


def _numbers(content: object) -> object:
    """As text may stand for a number that YAML 1.1 does not know, such as 1e-4."""
    if isinstance(content, dict):
        return {key: _numbers(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_numbers(value) for value in content]
    try:
        return float(content) if isinstance(content, (str, float)) else content
    except ValueError:
        return content
