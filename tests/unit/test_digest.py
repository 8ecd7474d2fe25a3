"""Source digests: which modules count for a step, and which edits change them."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memdt.errors import UserError
from memdt.workflow import digests

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "memdt"


OTHERS = {"environment": "tmaze", "learner": "behaviour_cloning"}


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    """A copy of the package that the digests are taken of."""
    shutil.copytree(PACKAGE, tmp_path / "memdt", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digests, "ROOT", tmp_path / "memdt")
    return tmp_path / "memdt"


def train_of(model: str) -> str:
    return digests.source_digest("train", model=model, **OTHERS)


def add(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_training_reaches_the_named_model_and_no_other():
    reached = digests.reached_modules("train", model="rate", **OTHERS)
    assert "memdt.models.rate" in reached
    assert "memdt.models.parts.segment_transformer" in reached  # imported by it
    assert "memdt.environments.tmaze" in reached
    assert "memdt.training.losses" in reached
    assert "memdt.models.behaviour_cloning_lstm" not in reached
    assert "memdt.evaluation.rollout" not in reached
    assert "memdt.data.sources.played" not in reached


def test_evaluation_reaches_rollouts_and_collection_neither_models_nor_training():
    assert "memdt.evaluation.rollout" in digests.reached_modules(
        "evaluate", model="rate", environment="tmaze"
    )
    reached = digests.reached_modules("dataset", environment="tmaze")
    assert not [name for name in reached if name.startswith(("memdt.models.", "memdt.training."))]


def test_what_cannot_change_a_result_is_exempt_and_exists():
    reached = digests.reached_modules("train", model="rate", **OTHERS)
    for name in digests.EXEMPT:
        assert name not in reached
        path = PACKAGE.joinpath(*name.split(".")[1:])
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


@pytest.mark.parametrize("step", digests.ENTRIES)
def test_every_step_has_a_digest(step):
    named = {"figure": "memory_edits"} if step == "figure" else {}
    assert len(digests.source_digest(step, **named)) == 16


def test_the_digest_is_that_of_a_fresh_process():
    code = (
        "from memdt.workflow.digests import source_digest as digest; "
        f"print(digest('train', model='rate', **{OTHERS}))"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == train_of("rate")


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: "# a comment\n" + text.replace("\n\n\n", "\n\n\n\n"),
        lambda text: text.replace('"""', '"""Other words. ', 1),
        lambda text: text.replace('description="', 'description="other words '),
    ],
    ids=["comment and layout", "docstring", "description of a setting"],
)
def test_words_for_people_do_not_count(source, edit):
    before = train_of("rate")
    path = source / "models" / "parts" / "segment_transformer.py"
    edited = edit(path.read_text(encoding="utf-8"))
    assert edited != path.read_text(encoding="utf-8")
    path.write_text(edited, encoding="utf-8")
    assert train_of("rate") == before


def test_a_changed_number_counts_for_those_who_reach_it(source):
    before = train_of("rate"), train_of("behaviour_cloning_mlp")
    add(source / "models" / "parts" / "segment_transformer.py", "\nSCALE = 0.5\n")
    changed = train_of("rate")
    assert changed != before[0]
    assert train_of("behaviour_cloning_mlp") == before[1]
    path = source / "models" / "parts" / "segment_transformer.py"
    path.write_text(path.read_text().replace("SCALE = 0.5", "SCALE = 0.25"), encoding="utf-8")
    assert train_of("rate") not in (before[0], changed)


def test_a_module_imported_inside_a_function_counts(source):
    add(source / "training" / "losses.py", "\ndef late():\n    from memdt.data import extra\n")
    (source / "data" / "extra.py").write_text("VALUE = 1\n")
    before = train_of("random")
    (source / "data" / "extra.py").write_text("VALUE = 2\n")
    assert "memdt.data.extra" in digests.reached_modules("train", model="random", **OTHERS)
    assert train_of("random") != before


def test_relative_imports_are_followed(source):
    add(source / "training" / "losses.py", "\nfrom ..data import extra\nfrom . import sibling\n")
    (source / "data" / "extra.py").write_text("")
    (source / "training" / "sibling.py").write_text("")
    reached = digests.reached_modules("train", model="random", **OTHERS)
    assert {"memdt.data.extra", "memdt.training.sibling"} <= set(reached)


def test_a_new_component_changes_no_digest(source):
    before = train_of("rate")
    (source / "models" / "another.py").write_text("VALUE = 1\n")
    path = source / "models" / "__init__.py"
    path.write_text(path.read_text().replace('"attention"', '"attention", "another"'))
    assert train_of("rate") == before


def test_exempt_modules_do_not_count(source):
    before = train_of("rate")
    for name in ("progress.py", "settings/schema.py", "provenance.py"):
        add(source / name, "\nVALUE = 1\n")
    assert train_of("rate") == before


def test_the_style_of_the_report_counts_for_the_report_alone(source):
    before = digests.source_digest("report"), digests.source_digest("table")
    add(source / "report" / "style.css", "b { color: red }")
    assert digests.source_digest("report") != before[0]
    assert digests.source_digest("table") == before[1]


def test_newer_pythons_fields_do_not_count():
    """Python 3.12 gave functions and classes ``type_params``, an empty list for nearly all."""
    tree = ast.parse("def f(x): return x")
    function = tree.body[0]
    before = digests._canonical(tree)
    function.type_params = []
    function._fields = (*function._fields, "type_params")
    assert digests._canonical(tree) == before


def test_an_unknown_step_or_model_is_refused():
    with pytest.raises(UserError, match="did you mean 'train'"):
        digests.reached_modules("trian")
    with pytest.raises(UserError, match="memdt.models.rat"):
        digests.reached_modules("train", model="rat", environment="tmaze")


def test_of_components_found_by_name_only_the_named_one_counts(source):
    sources = source / "data" / "sources"
    before = digests.source_digest("dataset", environment="tmaze", source="played")
    (sources / "another.py").write_text("VALUE = 1\n")
    assert digests.source_digest("dataset", environment="tmaze", source="played") == before
    of_it = digests.source_digest("dataset", environment="tmaze", source="another")
    (sources / "another.py").write_text("VALUE = 2\n")
    assert digests.source_digest("dataset", environment="tmaze", source="another") != of_it
    assert digests.source_digest("dataset", environment="tmaze", source="played") == before


def test_a_plugin_counts_where_it_is_used(source, config):
    folder = config.parents[1] / "mine" / "models"
    folder.mkdir(parents=True)
    (folder / "lru.py").write_text("from memdt.models import _parts\n")
    (folder / "_parts.py").write_text("VALUE = 1\n")
    file = config / "config.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "\nplugins: [mine]\n", encoding="utf-8")
    reached = digests.reached_modules("train", model="lru", environment="tmaze")
    assert {"memdt.models.lru", "memdt.models._parts"} <= set(reached)
    before, rate = train_of("lru"), train_of("rate")
    (folder / "_parts.py").write_text("VALUE = 2\n")
    assert train_of("lru") != before
    assert train_of("rate") == rate
