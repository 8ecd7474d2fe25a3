"""The parts of the report: reduced scales, blocks of a table, durations, inlined drawings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from made_up.project import CONFIG, ROOT, forget_settings, put, report
from memdt import paths
from memdt.errors import UserError
from memdt.figures.parts import style
from memdt.report import cost, scale_comparison
from memdt.report.cost import duration, newest_commit
from memdt.report.inline_svg import PAGE_COLOURS, inline
from memdt.report.table_view import blocks
from memdt.results.published import published_cells
from memdt.results.results import load_episodes
from memdt.results.tables import build_table
from memdt.settings import files
from memdt.settings.files import TableSettings


def test_a_setting_that_only_some_variants_change_names_them(reported: Path) -> None:
    changed = {**CONFIG["experiments/walk.yaml"]}
    changed["variants"] = {
        "near": {"model": "rate"},
        "far": {"model": "rate", "set": {"seeds": [7]}},
    }
    scale = {**CONFIG["scales/tiny.yaml"], "experiments": {"walk": {"model.layers": 4}}}
    put(paths.CONFIG / "experiments/walk.yaml", yaml.safe_dump(changed, sort_keys=False))
    put(paths.CONFIG / "scales/tiny.yaml", yaml.safe_dump(scale))
    forget_settings()
    differences = [one.words for one in scale_comparison.differences("walk", "tiny")]
    assert differences == ["seeds 3 instead of 4 (near)"]
    assert scale_comparison.differences("walk", "full") == []


def test_of_long_lists_a_sentence_says_how_long_they_are():
    long, short = ", ".join("abcdefgh"), "a, b"
    differ = scale_comparison.Difference("environment.parameters.tasks", short, long, ())
    assert differ.words == "tasks 2 instead of 8"
    assert differ.published == long
    differ = scale_comparison.Difference("training.horizons", "3, 10, 90", "not set", ())
    assert differ.words == "horizons 3, 10, 90 instead of not set"


def test_a_table_has_a_block_for_what_its_dimensions_leave_open(reported: Path) -> None:
    settings = files.experiment_file("walk").table
    episodes = load_episodes("tiny", "walk", {"near": (0, 1, 2)})
    both = pd.concat([episodes, episodes.assign(condition="with_noise")])
    table_blocks = blocks(build_table("walk", settings, both, published_cells()), settings, {})
    assert [(block.title, block.ours) for block in table_blocks] == [
        ("as published", False),
        ("with noise", True),
    ]
    assert [block.printed for block in table_blocks] == [True, False]
    assert table_blocks[0].columns == ("near",)
    assert [name for name, _ in table_blocks[0].rows] == ["1", "2"]


def test_only_what_varies_names_a_block(reported: Path) -> None:
    episodes = load_episodes("tiny", "walk", {"near": (0, 1, 2)})

    def titles(settings: TableSettings, frame: pd.DataFrame) -> list[str]:
        table = build_table("walk", settings, frame, ())
        return [block.title for block in blocks(table, settings, {})]

    both = ("steps", "success")
    assert titles(TableSettings(metric=both), episodes) == ["steps", "success"]
    by_metric = TableSettings(rows="metric", metric=both)
    assert titles(by_metric, episodes) == ["segments 1", "segments 2"]
    one = episodes[episodes["segments"] == 2]
    assert titles(by_metric, one) == [""]
    assert titles(by_metric, one.assign(condition="with_noise")) == ["with noise"]
    noisy = pd.concat([one, one.assign(condition="with_noise")])
    assert titles(TableSettings(metric=both), noisy) == [
        "as published, steps", "as published, success", "with noise, steps", "with noise, success",
    ]  # fmt: skip


def test_the_newest_commit_dates_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    days = {"aaa": "2026-03-01", "bbb": "2026-04-01", "ccc": ""}
    monkeypatch.setattr(cost, "_day", days.__getitem__)
    assert newest_commit(["aaa", "bbb", "ccc"]) == ("bbb", "2026-04-01")
    assert newest_commit(["ccc"]) == ("ccc", "")
    assert newest_commit([]) == ("", "")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3.14, "3.1 s"),
        (41.4, "41 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_are_written_in_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


SVG = """<?xml version="1.0"?><!DOCTYPE svg PUBLIC "x" "http://www.w3.org/x.dtd">
<svg xmlns="http://www.w3.org/2000/svg" width="360pt" viewBox="0 0 {width} 200">
<metadata>http://x</metadata>
<defs><style>*{{a:b}}</style><clipPath id="c1"/></defs>
<path id="p1" clip-path="url(#c1)" style="fill: #ffffff; stroke: #1f2328"/>
<use xlink:href="#p1" style="fill: #0072b2"/>
</svg>"""


def test_an_inlined_drawing_takes_the_colours_of_the_page_and_ids_of_its_own() -> None:
    drawing = inline(SVG.format(width=360), "one", 'A "title"')
    assert 'id="one-p1"' in drawing.markup
    assert "url(#one-c1)" in drawing.markup
    assert 'href="#one-p1"' in drawing.markup
    assert "fill: var(--card); stroke: currentColor" in drawing.markup
    assert "var(--series-1)" in drawing.markup
    assert "http" not in drawing.markup
    assert "<style" not in drawing.markup
    assert "width=" not in drawing.markup
    assert not drawing.wide
    assert inline(SVG.format(width=576), "one", "").wide
    for foreign in ("<html>", SVG.format(width=360)[:-8]):
        with pytest.raises(UserError, match="not an SVG drawing"):
            inline(foreign, "one", "")


@pytest.mark.parametrize(
    "harm",
    [
        "<script>alert(1)</script>",
        "<SCRIPT>alert(1)</SCRIPT>",
        '<path id="x" onload="alert(1)"/>',
        '<path ONCLICK="alert(1)"/>',
        '<a xlink:href="javascript:alert(1)"><path d="M0"/></a>',
        '<image href="http://alert.example/x.png"/>',
        '<use xlink:href="file.svg#alert"/>',
        "<foreignObject><iframe src='alert'/></foreignObject>",
        '<set attributeName="href" to="javascript:alert(1)"/>',
        '<path style="fill: url(http://alert.example)"/>',
        '<rect style="background: URL( alert.png )"/>',
        '<g><g><handler type="x">alert</handler></g></g>',
    ],
)
def test_nothing_of_a_drawing_runs_or_loads(harm: str) -> None:
    svg = SVG.format(width=360).replace("<use ", harm + "<use ")
    markup = inline(svg, "one", "").markup
    assert "alert" not in markup
    assert 'id="one-p1"' in markup
    assert 'href="#one-p1"' in markup


def test_text_of_a_drawing_stays_text() -> None:
    svg = SVG.format(width=360).replace("<use ", "<text>a &lt;b&gt; &amp; c</text><use ")
    assert "<text>a &lt;b&gt; &amp; c</text>" in inline(svg, "one", "").markup
    entities = svg.replace("a &lt;", "&xxe; &lt;")
    with pytest.raises(UserError, match="not an SVG drawing"):
        inline(entities, "one", "")


def test_every_colour_of_the_figures_is_defined_for_light_and_dark_pages() -> None:
    sheet = (ROOT / "src/memdt/report/style.css").read_text(encoding="utf-8")
    light, dark = sheet.split("prefers-color-scheme: dark")
    for variable in PAGE_COLOURS.values():
        if variable != "currentColor":
            name = variable.removeprefix("var(").removesuffix(")")
            assert f"{name}:" in light
            assert f"{name}:" in dark
    for number, colour in enumerate(style.SERIES, start=1):
        assert f"--series-{number}: {colour}" in light  # the page is the file, in light


def test_an_experiment_that_answers_no_paper_is_held_against_none(reported: Path) -> None:
    changed = {k: v for k, v in CONFIG["experiments/walk.yaml"].items() if k != "answers"}
    put(paths.CONFIG / "experiments/walk.yaml", yaml.safe_dump(changed, sort_keys=False))
    forget_settings()
    assert scale_comparison.differences("walk", "tiny") == []
    assert "answers RATE Table 2" not in report()
