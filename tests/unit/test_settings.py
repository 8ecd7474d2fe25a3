"""Four layers, later wins; one line for what is wrong; slices that see no more than they should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from made_up.project import forget_settings
from memdt.errors import UserError
from memdt.settings import files, remembered, resolve, slices
from memdt.settings.composition import components
from memdt.settings.layers import Layered, available, flatten
from memdt.workflow import observations

KEYS = st.text("abc", min_size=1, max_size=2)
TREES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3), max_leaves=8
)


def every_run() -> list[tuple[str, str, str]]:
    return [
        (experiment, variant, scale)
        for scale in available("scales")
        for experiment in available("experiments")
        for variant in files.variants_of(experiment, scale)
    ]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def refusal(
    experiment: str = "tmaze_table_2", variant: str = "rate-3", scale: str = "quick"
) -> str:
    with pytest.raises(UserError) as raised:
        resolve.resolve(experiment, variant, scale)
    return raised.value.line()


# ---- layers ----------------------------------------------------------------------------------


@given(st.dictionaries(KEYS, TREES, max_size=3), st.dictionaries(KEYS, TREES, max_size=3))
def test_the_later_layer_wins_wherever_it_says_something(below, above):
    joined = Layered().over(below, "below").over(above, "above")
    for key, value in flatten(above).items():
        assert joined.values[key] == value
        assert joined.origins[key] == "above"
    for key, origin in joined.origins.items():
        if origin == "below":
            assert flatten(below)[key] == joined.values[key]


@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=4))
def test_nested_and_dotted_settings_are_the_same(tree):
    assert Layered().over(tree, "file").nested() == tree
    assert Layered().over(flatten(tree), "file").nested() == tree


def test_a_mapping_replaces_a_value_and_a_value_a_mapping():
    layers = Layered().over({"a": 1, "b": {"c": 2}}, "below").over({"a.x": 3, "b": 4}, "above")
    assert layers.nested() == {"a": {"x": 3}, "b": 4}


# ---- the files that are there ----------------------------------------------------------------


def test_every_variant_resolves_at_every_scale(config):
    assert len(every_run()) > 50
    for one in every_run():
        resolved = resolve.resolve(*one)
        assert resolved.settings.stages >= 1


def test_published_sizes_are_those_of_the_paper(config):
    """RATE Table 5, T-Maze, as typed here a second time."""
    settings = resolve.resolve("tmaze_table_2", "rate-3", "paper").settings
    assert {k: settings.model[k] for k in ("layers", "heads", "width", "head_width")} == {
        "layers": 8, "heads": 10, "width": 256, "head_width": 128,
    }  # fmt: skip
    assert settings.model["feed_forward_width"] == 512
    assert settings.model["memory_tokens"] == 5
    assert (settings.model["dropout"], settings.model["attention_dropout"]) == (0.05, 0.0)
    assert settings.segment_length == 30
    assert settings.training.epochs_per_stage == 250
    assert settings.training.weight_decay == 1e-4
    assert settings.training.curriculum
    assert len(settings.seeds) == 10
    assert settings.evaluation.episodes == 100
    assert settings.evaluation.segments == (1, 2, 3, 5, 9, 12)


def test_the_scale_paper_changes_nothing(config):
    content = yaml.safe_load((config / "scales" / "paper.yaml").read_text(encoding="utf-8"))
    assert not [
        key
        for key in ("defaults", "environments", "models", "models_by_environment")
        if content.get(key)
    ]


def test_an_environment_has_all_that_files_say_of_the_one_it_extends(config):
    plain = resolve.resolve("vizdoom_curriculum", "rate_without_lapses", "quick").settings
    usual = resolve.resolve("vizdoom_table_1", "rate", "quick").settings
    assert plain.environment.parameters == {**usual.environment.parameters, "lapses": 0.0}
    assert plain.environment.module == usual.environment.module
    assert plain.environment.name == "vizdoom_two_colors_without_lapses"
    for part in ("model", "training", "dataset", "evaluation"):
        assert getattr(plain, part) == getattr(usual, part)


def test_what_a_scale_says_of_an_environment_beats_what_it_says_of_the_one_extended(config):
    path = config / "scales" / "quick.yaml"
    name = "vizdoom_two_colors_without_lapses"
    edit(path, "\nenvironments:\n", f"\nenvironments:\n  {name}: {{training.warmup_updates: 7}}\n")
    more = f"\nmodels_by_environment:\n  {name}: {{rate: {{model.cache_length: 9}}}}\n"
    edit(path, "\nmodels_by_environment:\n", more)
    settings = resolve.resolve("vizdoom_curriculum", "rate_without_lapses", "quick").settings
    assert (settings.training.warmup_updates, settings.model["cache_length"]) == (7, 9)


def test_components_name_the_environments_that_are_extended():
    assert components("vizdoom_curriculum").environments == (
        "vizdoom_two_colors",
        "vizdoom_two_colors_without_lapses",
    )
    assert "ml45_train" in components("metaworld_fine_tuning_rates").environments


def test_scales_do_not_overrule_what_experiments_vary(config):
    """A budget that set training.segments would make the variants of Table 2 one and the same."""
    for scale in available("scales"):
        if files.scale_file(scale).meaningless:
            continue
        for experiment in available("experiments"):
            trained: dict[str, str] = {}
            for variant in files.variants_of(experiment, scale):
                resolved = resolve.resolve(experiment, variant, scale)
                evaluated = slices.evaluate(resolved.settings)
                shapes = json.dumps([slices.played(resolved.settings), evaluated])
                assert shapes not in trained, f"{scale}: {variant} is {trained.get(shapes)}"
                trained[shapes] = variant


def test_what_a_variant_sets_a_scale_changes_for_its_experiment_alone(config):
    cached = {
        variant: resolve.resolve("vizdoom_memory_kinds", variant, "quick").settings.model
        for variant in ("rate_retention_valve", "rate_cache_2")
    }
    assert {name: model["cache_length"] for name, model in cached.items()} == {
        "rate_retention_valve": 100, "rate_cache_2": 2,
    }  # fmt: skip


def test_a_scale_may_change_what_a_variant_sets_for_its_experiment(config):
    more = "experiments:\n  vizdoom_memory_kinds: {model.cache_length: 7}\n"
    edit(config / "scales" / "quick.yaml", "experiments:\n", more)
    resolved = resolve.resolve("vizdoom_memory_kinds", "rate_cache_2", "quick")
    assert resolved.settings.model["cache_length"] == 7


@pytest.mark.parametrize(
    ("name", "value"), [("write_cost", "0.1"), ("gradient_through_memory", "detached")]
)
def test_what_a_learner_cannot_do_is_refused_before_anything_runs(config, name, value):
    path = config / "experiments" / "tmaze_q_learning.yaml"
    edit(path, "\nset:\n", f"\nset:\n  training.{name}: {value}\n")
    line = refusal("tmaze_q_learning", "conservative_q")
    assert f"tmaze_q_learning.yaml: training.{name}" in line
    assert "the learner conservative_q cannot do" in line


def test_the_bare_run_is_decided_by_config_yaml(config):
    assert files.selection().scale == "quick"
    assert files.selection().experiments == ("tmaze_table_2", "tmaze_figure_5")
    assert files.selection({"experiments": "all"}).experiments == tuple(available("experiments"))
    both = ("tmaze_figure_4", "tmaze_table_2")
    for spelling in (list(both), ",".join(both), f"[{', '.join(both)}]"):
        assert files.selection({"experiments": spelling}).experiments == both


def test_a_variant_of_other_checkpoints_keeps_how_they_were_trained(config):
    edited = resolve.resolve("tmaze_figure_5", "rate-7", "quick")
    source = resolve.resolve("tmaze_table_2", "rate-7", "quick")
    assert (edited.experiment, edited.variant) == ("tmaze_table_2", "rate-7")
    last = source.settings.stages
    assert slices.train(edited.settings, last) == slices.train(source.settings, last)
    assert slices.evaluate(edited.settings) != slices.evaluate(source.settings)


# ---- what is remembered ----------------------------------------------------------------------


def test_remembered_settings_are_those_that_were_resolved(config):
    remembered.keep(every_run(), observations.note)
    for function in (
        remembered.resolve,
        observations.observation,
        observations.size,
        remembered._kept,
    ):
        function.cache_clear()
    assert len(remembered._kept()) == len(every_run())
    for one in every_run():
        kept, fresh = remembered.resolve(*one), resolve.resolve(*one)
        assert kept.settings == fresh.settings
        seen = observations.note(fresh.settings)["observation"]
        assert observations.observation(*one) == observations.Observation(**seen)
        assert observations.size(*one) == observations.size_of(fresh.settings.dataset)
        assert (kept.experiment, kept.variant) == (fresh.experiment, fresh.variant)
        assert kept.layers.origin("model.layers") == fresh.layers.origin("model.layers")


def test_an_edit_makes_what_was_remembered_worthless(config):
    remembered.keep([("tmaze_table_2", "rate-3", "quick")], observations.note)
    edit(config / "scales" / "quick.yaml", "model.layers: 2", "model.layers: 3")
    remembered._kept.cache_clear()
    assert remembered._kept() == {}


def test_a_memory_that_is_damaged_is_no_memory(config):
    remembered.keep([("tmaze_table_2", "rate-3", "quick")], observations.note)
    remembered.FILE.write_text(remembered.FILE.read_text()[:-20])
    remembered._kept.cache_clear()
    assert remembered._kept() == {}


# ---- slices ----------------------------------------------------------------------------------


def test_evaluation_settings_do_not_shape_a_checkpoint(config):
    before = slices.train(resolve.resolve("tmaze_table_2", "rate-3", "quick").settings, 3)
    settings = resolve.resolve("tmaze_table_2", "rate-3", "quick").settings
    other = settings.evaluation.model_copy(update={"target_return": 0.5, "segments": (1,)})
    assert slices.train(settings.model_copy(update={"evaluation": other}), 3) == before


def test_the_first_stages_of_a_longer_curriculum_are_the_same(config):
    shorter = resolve.resolve("tmaze_table_2", "rate-3", "quick").settings
    longer = resolve.resolve("tmaze_table_2", "rate-7", "quick").settings
    for number in (1, 2, 3):
        assert slices.train(shorter, number) == slices.train(longer, number)
    assert slices.train(longer, 4) != slices.train(longer, 3)


def test_seeds_and_other_runs_do_not_shape_a_checkpoint(config):
    settings = resolve.resolve("tmaze_table_2", "rate-3", "quick").settings
    fewer = settings.model_copy(update={"seeds": (0,)})
    assert slices.train(fewer, 1) == slices.train(settings, 1)


def test_a_stage_that_does_not_exist_is_refused(config):
    settings = resolve.resolve("tmaze_table_2", "rate-3", "quick").settings
    with pytest.raises(UserError, match="stages are 1 to 3"):
        slices.stage(settings, 4)


def test_a_curriculum_of_horizons_has_a_stage_for_each(config):
    settings = resolve.resolve("vizdoom_table_1", "rate", "quick").settings
    training = settings.training.model_copy(
        update={
            "horizons": (3, 20, 90),
            "batch_size_per_stage": (16, 4),
            "updates_per_stage": (7, 5),
        }
    )
    settings = settings.model_copy(update={"training": training})
    assert settings.stages == 3
    stages = [slices.stage(settings, number) for number in (1, 2, 3)]
    assert [(s.horizon, s.batch_size, s.updates) for s in stages] == [
        (3, 16, 7), (20, 4, 5), (90, 4, 5),
    ]  # fmt: skip
    longer = training.model_copy(update={"horizons": (3, 20, 90, 120)})
    longer = settings.model_copy(update={"training": longer})
    assert slices.train(longer, 3) == slices.train(settings, 3)


# ---- bad input -------------------------------------------------------------------------------


def test_an_unknown_setting_names_its_file_and_the_closest_match(config):
    edit(config / "models" / "rate.yaml", "model.memory_tokens: 5", "model.memory_token: 5")
    line = refusal()
    assert line.startswith("workflow/config/models/rate.yaml: ")
    assert "unknown key" in line
    assert "did you mean 'memory_tokens'?" in line


def test_a_wrong_type_shows_what_was_given(config):
    edit(config / "scales" / "quick.yaml", "seeds: [0, 1, 2]", "seeds: [0, one]")
    line = refusal()
    assert line.startswith("workflow/config/scales/quick.yaml: seeds")
    assert "given: 'one'" in line


def test_segments_beyond_the_data_are_refused(config):
    path = config / "experiments" / "tmaze_table_2.yaml"
    edit(path, "rate-3: {model: rate, set: {training.segments: 3}}",
         "rate-3: {model: rate, set: {training.segments: 12}}")  # fmt: skip
    line = refusal()
    assert "12 x 30 steps" in line
    assert "at most 270 steps" in line


def test_an_unknown_model_is_refused(config):
    path = config / "experiments" / "tmaze_table_2.yaml"
    edit(path, "rate-3: {model: rate,", "rate-3: {model: ratte,")
    assert "did you mean 'rate'?" in refusal()


def test_an_impossible_combination_is_refused(config):
    path = config / "experiments" / "tmaze_memory_kinds.yaml"
    edit(path, "rate_retention_valve: {model: rate, set: {",
         "rate_retention_valve: {model: rate, set: {model.memory_tokens: 0, ")  # fmt: skip
    line = refusal("tmaze_memory_kinds", "rate_retention_valve")
    assert "memory_tokens > 0" in line


def test_an_experiment_cannot_change_the_shared_dataset(config):
    path = config / "experiments" / "tmaze_table_2.yaml"
    edit(path, "\nset:\n", "\nset:\n  dataset.episodes_per_length: 20\n")
    line = refusal()
    assert "dataset shapes the dataset, which all experiments share" in line
    assert "environments" in line


def test_an_experiment_may_cut_the_shared_dataset_into_other_segments(config):
    before = resolve.resolve("tmaze_table_2", "rate-3", "quick").settings
    path = config / "experiments" / "tmaze_table_2.yaml"
    edit(path, "\nset:\n", "\nset:\n  segment_length: 20\n")
    forget_settings()
    after = resolve.resolve("tmaze_table_2", "rate-3", "quick").settings
    assert (before.segment_length, after.segment_length) == (30, 20)
    assert slices.dataset(after) == slices.dataset(before)
    assert slices.train(after, 1) != slices.train(before, 1)


def test_two_curricula_are_refused(config):
    path = config / "experiments" / "tmaze_table_2.yaml"
    edit(
        path,
        "      training.segments: 3\n",
        "      training.segments: 3\n      training.horizons: [9]\n",
    )
    assert "a curriculum of its own" in refusal(variant="dt-3")


def test_playing_some_to_the_end_needs_steps_that_are_kept(config):
    path = config / "environments" / "tmaze.yaml"
    edit(path, "dataset:\n", "dataset:\n  played_to_end: 3\n")
    assert "dataset.played_to_end needs dataset.keep_steps" in refusal()


def test_two_budgets_or_none_are_refused(config):
    edit(config / "scales" / "quick.yaml", "  training.epochs_per_stage: null\n", "")
    assert "exactly one of updates_per_stage and epochs_per_stage" in refusal()


def test_checkpoints_of_an_unknown_run_are_refused(config):
    path = config / "experiments" / "tmaze_figure_5.yaml"
    edit(path, "tmaze_table_2/rate-3", "tmaze_table_2/rate-4")
    assert "did you mean 'rate-" in refusal("tmaze_figure_5", "rate-3")


def test_an_environment_that_extends_an_unknown_one_is_refused(config):
    edit(config / "environments" / "ml45_test.yaml", "extends: ml45_train", "extends: ml45_trian")
    line = refusal("metaworld_table_4", "dt_mem_tuned")
    assert "unknown environment 'ml45_trian'" in line
    assert "environments/ml45_test.yaml: extends" in line
    assert "did you mean 'ml45_train'" in line


def test_environments_that_extend_each_other_are_refused(config):
    path = config / "environments" / "ml45_train.yaml"
    path.write_text(f"extends: ml45_test\n{path.read_text()}")
    assert "'ml45_test' leads back to itself" in refusal("metaworld_table_4", "dt_mem_tuned")


def test_broken_yaml_names_the_line(config):
    (config / "scales" / "quick.yaml").write_text("title: t\ndefaults: [1\n")
    assert "workflow/config/scales/quick.yaml:" in refusal()
    assert "not valid YAML" in refusal()
