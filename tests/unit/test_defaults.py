"""Defaults are in no digest, so none may change unnoticed, and a new one makes nothing stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, Field

from made_up.project import forget_settings
from memdt.__main__ import main
from memdt.data.sources import played
from memdt.environments import tmaze
from memdt.errors import UserError
from memdt.models import rate
from memdt.settings import defaults, files, pages, resolve, schema, slices
from memdt.settings.layers import available
from memdt.settings.resolve import digest
from memdt.workflow import plan

ROOT = Path(__file__).parents[2]


# ---- the pinned table ------------------------------------------------------------------------


def test_the_committed_defaults_are_those_of_the_code(monkeypatch):
    monkeypatch.chdir(ROOT)
    defaults.check()


def test_every_kind_of_settings_is_pinned():
    current = defaults.current()
    assert current["TrainingSettings"]["beta_2"] == 0.95
    assert current["AdapterSettings"] == {"alpha": 16.0, "dropout": 0.0, "rank": 4}
    assert current["models.rate"]["memory_update"] == "replace"
    assert current["environments.tmaze"]["spare_steps"] == 1
    used = {f"models.{name}" for name in available("models")} | {
        f"environments.{resolve.environment_layers(name).values['environment.module']}"
        for name in available("environments")
    }
    assert used <= set(defaults.settings_classes())


def test_settings_in_settings_are_pinned_once_by_their_own_name():
    class Inner(BaseModel):
        size: int = 2

    class Outer(BaseModel):
        required: int
        inner: Inner = Inner()
        several: tuple[Inner, ...] = (Inner(size=3),)
        maybe: dict[str, Inner | None] = Field(default_factory=dict)

    assert defaults.of_class(Outer) == {"inner": {}, "several": [{"size": 3}], "maybe": {}}
    assert set(defaults._nested(Outer)) == {Inner}


def test_a_changed_default_is_refused_until_accepted(config, capsys):
    assert main(["schema"]) == 0
    pinned = json.loads(defaults.FILE.read_text())
    del pinned["TrainingSettings"]["beta_1"]  # as if it were new
    pinned["TrainingSettings"]["gone"] = 1
    defaults.FILE.write_text(json.dumps(pinned))
    assert main(["schema", "--check"]) == 2
    assert "python -m memdt schema" in capsys.readouterr().err
    assert main(["schema"]) == 0  # what is new is added, what is gone is dropped
    assert json.loads(defaults.FILE.read_text()) == defaults.current()

    pinned["models.rate"]["dropout"] = 0.5
    defaults.FILE.write_text(json.dumps(pinned))
    for command in (["schema"], ["schema", "--check"]):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "the default of models.rate.dropout was 0.5 and is 0.0" in error
        assert "changes results silently" in error
        assert defaults.ACCEPT in error
    assert json.loads(defaults.FILE.read_text()) == pinned
    assert main(["schema", "--accept-defaults"]) == 0
    defaults.check()


def test_a_damaged_table_is_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    defaults.FILE.parent.mkdir(parents=True)
    defaults.FILE.write_text("<<<<<<< HEAD")
    with pytest.raises(UserError, match="not valid JSON"):
        defaults.check()


@pytest.mark.parametrize("name", defaults.settings_classes())
def test_no_field_chooses_between_classes(name):
    """Without defaults two classes may have the same content, and so one digest."""
    for field, info in defaults.settings_classes()[name].model_fields.items():
        assert len(_settings_in(info.annotation)) <= 1, f"{name}.{field}"


def _settings_in(annotation: Any) -> set[type]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return set().union(*map(_settings_in, get_args(annotation)))


# ---- what is in a digest ---------------------------------------------------------------------


def test_writing_a_default_down_changes_no_digest(config):
    before = every_digest()
    edit(
        config / "experiments/tmaze_table_2.yaml", "rate-3: {model: rate, set: {",
        "rate-3: {model: rate, set: {model.memory_update: replace, training.precision: float32, "
        "evaluation.conditions: {as_published: {noise_scale: 1}}, evaluation.seed: 0, ",
    )  # fmt: skip
    path = config / "environments/tmaze.yaml"
    path.write_text(f"{path.read_text(encoding='utf-8')}\ndataset.seed: 0\n")
    assert every_digest() == before
    layers = resolve.resolve("tmaze_table_2", "rate-3", "quick").layers
    for key in ("model.memory_update", "training.precision", "evaluation.seed", "dataset.seed"):
        assert layers.origin(key) != "default"


def test_the_values_that_are_kept_for_readers_have_all_defaults(config):
    settings = resolve.resolve("tmaze_table_2", "rate-3", "quick").settings
    full, cut = slices.train(settings, 1, full=True), slices.train(settings, 1)
    assert (full["training"]["beta_2"], full["model"]["memory_update"]) == (0.95, "replace")
    assert full["dataset"]["parameters"] == settings.environment.parameters
    assert full["dataset"]["dataset"]["only_successful"] is True
    assert full["stages"][0]["horizon"] is None
    assert "beta_2" not in cut["training"]
    assert "memory_update" not in cut["model"]
    assert "horizon" not in cut["stages"][0]
    full, cut = slices.evaluate(settings, full=True), slices.evaluate(settings)
    assert full["evaluation"]["action_selection"] == "greedy"
    assert "action_selection" not in cut["evaluation"]
    assert full["evaluation"]["conditions"] == {
        "as_published": schema.Condition().model_dump(mode="json")
    }


def test_models_whose_other_settings_are_defaults_differ(config):
    """All of a model's settings may be left out but its name."""
    names = {"model": {}, "environment.parameters": {}, "dataset": {}}
    settings = resolve.resolve("tmaze_table_2", "rate-3", "quick").settings
    one, other = (
        settings.model_copy(update={"model": {"name": name}, "non_default": names})
        for name in ("rate", "random")
    )
    assert slices.train(one, 1) != slices.train(other, 1)


# ---- a setting that is added -----------------------------------------------------------------


def digests(experiment: str, variant: str) -> dict[str, str]:
    """Of everything that the settings of a run shape."""
    settings = resolve.resolve(experiment, variant, "quick").settings
    dataset = resolve.resolve_dataset(settings.environment.name, "quick")
    return {
        "dataset": digest(slices.dataset(dataset)),
        "checkpoint": digest(slices.played(settings)),
        "evaluation": digest(slices.evaluate(settings)),
    }


def every_digest() -> dict[str, dict[str, str]]:
    """All digests of three experiments, of which the second plays the checkpoints of the first."""
    forget_settings()
    return {
        f"{experiment}/{variant}": digests(experiment, variant)
        for experiment in ("tmaze_table_2", "tmaze_figure_5", "metaworld_table_4")
        for variant in files.variants_of(experiment, "quick")
    }


def with_field(model: type[BaseModel], name: str, annotation: Any, **default: Any) -> Any:
    """A subclass of the same name with one more field, or with another one in its place."""
    content = {"__annotations__": {name: annotation}, "__module__": __name__}
    return type(model.__name__, (model,), content | ({name: default["default"]} if default else {}))


def extended(model: type[BaseModel]) -> Any:
    """A copy of a class that has one more setting."""
    return with_field(model, "added", int, default=3)


def add_setting(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Let the class behind a part of a run's settings have one more of them."""
    modules = {"model": rate, "environment.parameters": tmaze, "dataset": played}
    if part in modules:
        monkeypatch.setattr(modules[part], "Settings", extended(modules[part].Settings))
    elif part == "evaluation.conditions.as_published":
        condition = extended(schema.Condition)
        conditions = (schema.EvaluationSettings, "conditions", dict[str, condition])
        evaluation = with_field(*conditions, default={"as_published": condition()})
        monkeypatch.setattr(
            resolve, "RunSettings", with_field(schema.RunSettings, "evaluation", evaluation)
        )
    else:
        its_class = extended(schema.RunSettings.model_fields[part].annotation)
        for whole in (schema.RunSettings, schema.DatasetSettings):
            if part in whole.model_fields:
                monkeypatch.setattr(resolve, whole.__name__, with_field(whole, part, its_class))


TABLE, FIGURE = "tmaze_table_2/rate-3", "tmaze_figure_5/rate-3"
TMAZE = [
    *(f"tmaze_table_2/{name}" for name in ("dt-3", "dt-7", "rate-3", "rate-7")),
    *(f"tmaze_figure_5/{name}" for name in ("rate-3", "rate-7")),
]
# What changes where the setting is set: for one variant, or for an environment.
SHAPED: dict[str, dict[str, set[str]]] = {
    "training": dict.fromkeys((TABLE, FIGURE), {"checkpoint"}),
    "model": dict.fromkeys((TABLE, FIGURE), {"checkpoint", "evaluation"}),
    "evaluation": dict.fromkeys((TABLE, FIGURE), {"evaluation"}),
    "evaluation.conditions.as_published": {TABLE: {"evaluation"}},  # the figure has its own
    "dataset": dict.fromkeys(TMAZE, {"dataset", "checkpoint"}),
    "environment.parameters": dict.fromkeys(TMAZE, {"dataset", "checkpoint", "evaluation"}),
}


@pytest.mark.parametrize("part", SHAPED)
def test_a_new_setting_changes_no_digest_until_it_is_set(config, monkeypatch, part):
    before = every_digest()
    add_setting(monkeypatch, part)
    assert every_digest() == before
    if part in ("dataset", "environment.parameters"):  # shared: no variant may change them
        path = config / "environments/tmaze.yaml"
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{part}.added: 4\n")
    else:
        entry = "rate-3: {model: rate, set: {"
        edit(config / "experiments/tmaze_table_2.yaml", entry, f"{entry}{part}.added: 4, ")
    now = every_digest()
    changed = {run: {w for w in now[run] if now[run][w] != before[run][w]} for run in now}
    assert {run: what for run, what in changed.items() if what} == SHAPED[part]


def test_a_new_setting_of_figures_and_tables_makes_none_anew(config, monkeypatch):
    before = [plan.figure_content("quick", name) for name in pages.figures()]
    report = plan.report_content("quick", ["tmaze_table_2"])
    for module, name in (
        (pages, "FigureSettings"), (files, "ScaleFile"), (files, "ExperimentFile"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, extended(getattr(module, name)))
    forget_settings()
    assert [plan.figure_content("quick", name) for name in pages.figures()] == before
    assert plan.report_content("quick", ["tmaze_table_2"]) == report


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
