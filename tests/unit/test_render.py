"""The report of a small made-up project: complete, offline, escaped, and the same bytes twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from markupsafe import Markup

from memdt import paths
from memdt.errors import UserError
from memdt.figures import style
from memdt.reporting import report_view, run_records, scale_comparison
from memdt.reporting.claim_tests import VERDICTS
from memdt.reporting.claims import CLAIM_COLUMNS
from memdt.reporting.figures import draw_figure
from memdt.reporting.inline_svg import PAGE_COLOURS, inline
from memdt.reporting.published import published_cells
from memdt.reporting.render import prose, render
from memdt.reporting.results import load_episodes
from memdt.reporting.run_records import newest_commit
from memdt.reporting.table_view import blocks, duration
from memdt.reporting.tables import build_table, write_table
from memdt.reporting.verdicts import RULES
from memdt.settings import layers, resolve

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ("walk", "later")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECTIONS = (
    "head", "claims", "tables", "figures", "memory", "training", "datasets", "deviations", "cost",
    "provenance",
)  # fmt: skip

SIZES = {
    "model.layers": 4, "model.heads": 2, "model.width": 16, "model.head_width": 8,
    "model.feed_forward_width": 0, "model.memory_tokens": 2, "training.updates_per_stage": [50],
    "training.batch_size": 4, "training.learning_rate": 0.001, "training.weight_decay": 0.0,
    "training.segments": 2, "evaluation.segments": [1, 2], "evaluation.episodes": 10,
    "evaluation.target_return": 1.0, "seeds": [0, 1, 2, 3],
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "environments/maze.yaml": {
        "environment.module": "tmaze",
        "segment_length": 6,
        "collection": {"segments": [1, 2], "episodes_per_segment_count": 3},
    },
    "models/rate.yaml": {"defaults": SIZES},
    "scales/full.yaml": {"title": "as published", "reduced": False},
    "scales/tiny.yaml": {
        "title": "reduced",
        "reduced": True,
        "defaults": {"model.layers": 1, "seeds": [0, 1, 2]},
    },
    "scales/nothing.yaml": {
        "title": "a layout check",
        "reduced": True,
        "meaningless": True,
        "defaults": {"model.layers": 1, "seeds": [0]},
    },
    "experiments/walk.yaml": {
        "title": "Walking & turning <b>",
        "answers": {"paper": "rate", "item": "Table 2"},
        "environment": "maze",
        "note": "See `full_context` and D3.",
        "variants": {"near": {"model": "rate"}, "far": {"model": "rate"}},
    },
    "experiments/later.yaml": {
        "title": "Never made",
        "answers": {"paper": "rate", "item": "Figure 9"},
        "environment": "maze",
        "variants": {"near": {"checkpoint_of": "walk/near"}},
    },
    "experiments/unasked.yaml": {
        "title": "Not asked for",
        "answers": {"paper": "rate", "item": "Figure 8"},
        "environment": "maze",
        "variants": {"near": {"model": "rate"}},
    },
    "figures.yaml": {
        "lines": {
            "module": "success_against_segments",
            "title": "Lines <i>",
            "caption": "A caption.",
            "experiments": ["walk"],
            "answers": {"paper": "rate", "item": "Figure 4"},
        },
        "edits": {
            "module": "memory_edits", "title": "Edits", "caption": "", "experiments": ["later"],
        },
        "maps": {
            "module": "attention_map", "title": "Maps", "caption": "", "experiments": ["walk"],
            "inputs": "attention",
        },
        "learning": {
            "module": "training_curves", "title": "Learning", "caption": "",
            "experiments": ["walk"], "inputs": "curves",
        },
    },
}  # fmt: skip
DEVIATIONS = """# Deviations

## D3: A `spare` step

- **What:** One step <more>.
- **Why:** Because.
- **Effect on numbers:** None.
- **Evidence:** Seen.
"""
HEADER = (
    "paper,version,item,page,experiment,variant,condition,segments,metric,unit,mean,spread,"
    "spread_kind,seeds,episodes,margin,in_scope,note\n"
)


def forget_settings() -> None:
    """Settings are read once; each made-up project has its own."""
    cached: list[Callable[..., Any]] = [
        layers.read_yaml,
        resolve.experiment_file,
        resolve.scale_file,
        resolve.figures,
        resolve.resolve,
        resolve.resolve_dataset,
        scale_comparison.published_scale,
    ]
    for function in cached:
        function.cache_clear()  # type: ignore[attr-defined]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two experiments at three scales, of which one has been run at scales tiny and full."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_records, "_day", lambda commit: "2026-01-02")
    forget_settings()
    for name, content in CONFIG.items():
        put(paths.CONFIG / name, yaml.safe_dump(content, sort_keys=False))
    put(Path("docs/deviations.md"), DEVIATIONS)
    row = "rate,1,Table 2,6,walk,near,as_published,1,success,rate,0.9,0.05,sem,10,100,0.05,true,\n"
    put(paths.PUBLISHED / "rate.csv", HEADER + row)
    for scale, seeds in (("tiny", (0, 1, 2)), ("full", (0, 1, 2, 3)), ("nothing", (0,))):
        run(scale, seeds)
    yield tmp_path
    forget_settings()


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def run(scale: str, seeds: tuple[int, ...]) -> None:
    """What the runs and the steps before the report would have written."""
    for variant in ("near", "far"):
        for seed in seeds:
            run_once(scale, variant, seed)
    wanted = dict.fromkeys(("near", "far"), seeds)
    table = build_table(
        "walk",
        resolve.experiment_file("walk").table,
        load_episodes(scale, "walk", wanted),
        published_cells(),
    )
    write_table(table, paths.table(scale, "walk"))
    claim = (
        "R1",
        "It <script>holds</script>",
        "RATE 5",
        "paper",
        "walk",
        "always",
        "holds",
        "a; b",
    )
    frame = pd.DataFrame([claim], columns=list(CLAIM_COLUMNS))
    frame.to_csv(paths.claims(scale), index=False)
    draw_figure("lines", scale)


def run_once(scale: str, variant: str, seed: int) -> None:
    folder = paths.run(scale, "walk", variant, seed)
    episodes = "condition,segments,episode,environment_seed,return,steps,success\n"
    for segments in (1, 2):
        good = 8 + seed % 2
        rows = (f"as_published,{segments},{e},{e},1,6,{int(e < good)}\n" for e in range(10))
        episodes += "".join(rows)
    put(folder / "episodes.csv", episodes)
    job = {
        "git_commit": COMMIT, "git_dirty": True, "source_digest": "5" * 16, "seed": seed,
        "packages": {"torch": "2.13.0", "numpy": f"2.4.{seed}"}, "python": "3.11.9", "threads": 1,
        "wall_seconds": 60.0, "cpu_seconds": 50.0, "peak_memory_bytes": 2**20 * (100 + seed),
    }  # fmt: skip
    put(folder / "evaluation_manifest.json", json.dumps(job))
    for stage in (1, 2):
        trained = {**job, "parameters": 1234, "updates": 50, "updates_per_second": 10.0 * stage}
        put(folder / f"stage_{stage}" / "manifest.json", json.dumps(trained))


class Page(HTMLParser):
    """Checks that tags are closed in order; collects ids, addresses of loads, and flat text."""

    VOID = frozenset({"meta", "br", "img", "hr", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            loads = name in ("src", "srcset", "data", "poster", "action", "background")
            if loads or (name.endswith("href") and tag != "a"):
                self.loads.append(value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def report(scale: str = "tiny") -> str:
    return render(scale, EXPERIMENTS).read_text(encoding="utf-8")


def section(text: str, name: str) -> str:
    """From the element with this id to the next section of the page."""
    start = text.index(f'id="{name}"')
    end = text.find("\n<section id=", start)
    return text[start:end] if end > 0 else text[start:]


# ---- the page --------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_has_every_section(project: Path) -> None:
    page = Page(report())
    assert set(SECTIONS) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids)), "two elements share an id"


def test_nothing_is_loaded_and_nothing_runs(project: Path) -> None:
    text = report()
    page = Page(text)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(address.startswith(("#", "data:")) for address in page.loads), page.loads
    assert not re.search(r"@import|url\((?!#)", text)
    assert "http:" not in text
    assert "https:" not in text
    assert len(text) < 10_000_000


def test_every_link_inside_the_page_leads_somewhere(project: Path) -> None:
    text = report()
    page = Page(text)
    for target in re.findall(r'href="#([^"]+)"', text):
        assert target in page.ids


def test_links_to_files_are_relative_to_the_report_and_right(project: Path) -> None:
    text = report()
    folder = paths.report("tiny").parent
    linked = set(re.findall(r'<a href="([^"#][^"]*)"', text))
    assert "tables/walk.csv" in linked
    assert "figures/lines.csv" in linked
    assert "../../data/runs/tiny/walk/near/seed_0/episodes.csv" in linked
    missing = {one for one in linked if not (folder / one).exists() and "src/memdt" not in one}
    assert not missing


def test_texts_from_files_are_escaped(project: Path) -> None:
    text = report()
    assert "It &lt;script&gt;holds" in text
    assert "Walking &amp; turning &lt;b&gt;" in text
    assert "Lines &lt;i&gt;" in text
    assert "One step &lt;more&gt;." in text


def test_the_same_files_give_the_same_bytes(project: Path) -> None:
    first = report().encode()
    forget_settings()
    assert report().encode() == first


# ---- what it says ----------------------------------------------------------------------------


def test_the_head_tells_scale_commit_day_and_verdicts(project: Path) -> None:
    head = section(report(), "head")
    assert "<b>tiny</b>" in head
    assert COMMIT[:10] in head
    assert "2026-01-02" in head
    assert "uncommitted changes" in head
    assert "holds 1" in head
    assert "reproduced 1" in head


def test_the_rules_of_verdicts_are_printed_word_for_word(project: Path) -> None:
    tables = section(report(), "tables")
    for rule in RULES:
        assert str(Markup.escape(rule.text)) in tables


def test_every_verdict_that_can_fall_has_a_look() -> None:
    assert set(report_view.TONES) == {rule.verdict for rule in RULES} | set(VERDICTS)


def test_a_cell_shows_published_and_reproduced_with_its_seeds(project: Path) -> None:
    """Means 0.8, 0.9, 0.8: 0.8333 ± 4.302653 · 0.057735 / √3 = 0.1434."""
    tables = section(report(), "tables")
    cell = tables[tables.index("<td>") : tables.index("</td>", tables.index("</table></details>"))]
    for expected in ("0.900 ± 0.050", "0.833", "[0.690, 0.977]", "−0.067", "reproduced", "3 seeds"):
        assert expected in cell
    assert "standard error over 10 runs" in tables
    assert "2 min 00 s" in cell  # two stages of a minute
    assert COMMIT[:10] in cell


def test_what_has_not_run_is_told_with_its_command(project: Path) -> None:
    text = report()
    parts = {
        "table-later": "tables", "table-unasked": "tables", "figure-edits": "figures",
        "figure-maps": "memory", "figure-learning": "training",
    }  # fmt: skip
    for name, part in parts.items():
        shown = section(text, part)
        entry = shown[shown.index(f'id="{name}"') :]
        entry = entry[: re.search(r"</section>|</figure>", entry).start()]  # type: ignore[union-attr]
        assert "not run" in entry, name
        kind, _, item = name.partition("-")
        suffix = "csv" if kind == "table" else "svg"
        assert f"snakemake --cores all reports/tiny/{kind}s/{item}.{suffix}" in entry
    assert "not run" in section(text, "datasets")


def test_a_project_without_any_result_has_a_report_too(project: Path) -> None:
    paths.claims("tiny").unlink()
    (project / "docs/deviations.md").unlink()
    text = render("tiny", ("unasked",), project / "empty.html").read_text(encoding="utf-8")
    assert set(SECTIONS) <= set(Page(text).ids)
    for name in ("claims", "tables", "figures", "training", "cost"):
        assert "not run" in section(text, name)
    assert "outside of a git commit" in text


def test_a_reduced_scale_says_so_at_every_table_and_figure(project: Path) -> None:
    text = report()
    label = "reduced scale: tiny"
    assert "Reduced scale." in section(text, "head")
    for found in re.finditer(r'<table class="(paper|numbers)|<div class="drawing"', text):
        before = text[: found.start()]
        assert label in before[before.rfind("<h") :], before[-300:]
    assert "layers 1 instead of 4" in section(text, "tables")
    assert "seeds 3 instead of 4" in section(text, "figures")


def test_the_published_scale_is_not_called_reduced(project: Path) -> None:
    text = report("full")
    assert "reduced scale:" not in text
    assert "Reduced scale." not in text


def test_a_layout_check_says_that_its_numbers_mean_nothing(project: Path) -> None:
    text = report("nothing")
    assert "the numbers mean nothing" in text
    assert '<body class="meaningless">' in text


def test_deviations_are_printed_and_linked_where_they_are_named(project: Path) -> None:
    text = report()
    shown = section(text, "deviations")
    assert 'id="D3"' in shown
    assert "D3: A <code>spare</code> step" in shown
    for words in ("Because.", "None.", "Seen."):
        assert words in shown
    assert '<a href="#D3">D3</a>' in section(text, "tables")


def test_prose_knows_code_and_deviations_and_nothing_else() -> None:
    found = prose("`a<b>` of D3 and D9 <i>", {"D3"})
    assert found == '<code>a&lt;b&gt;</code> of <a href="#D3">D3</a> and D9 &lt;i&gt;'


def test_cost_sums_seconds_and_takes_the_largest_memory(project: Path) -> None:
    """Three seeds, two stages and one evaluation each, a minute a job."""
    cost = section(report(), "cost")
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", cost)
    near = ["near", "3", "6 min 00 s", "5 min 00 s", "3 min 00 s", "2 min 30 s", "102 MiB"]
    total = ["sum", "6", "12 min 00 s", "10 min 00 s", "6 min 00 s", "5 min 00 s", "102 MiB"]
    assert cells == [*near, "far", *near[1:], *total]
    training = section(report(), "training")
    assert "1,234" in training
    assert "15.0" in training  # mean of 10 and 20 updates a second


def test_provenance_lists_every_value_that_occurs(project: Path) -> None:
    shown = section(report(), "provenance")
    assert COMMIT in shown
    assert "2.4.0, 2.4.1, 2.4.2" in shown
    assert "0, 1, 2" in shown
    assert "snakemake --cores all reports/tiny/report.html" in shown


def test_a_file_that_is_no_list_of_claims_is_refused(project: Path) -> None:
    put(paths.claims("tiny"), "a,b\n1,2\n")
    with pytest.raises(UserError, match="not a file of decided claims"):
        report()


# ---- its parts -------------------------------------------------------------------------------


def test_a_setting_that_only_some_variants_change_names_them(project: Path) -> None:
    changed = {**CONFIG["experiments/walk.yaml"]}
    changed["variants"] = {
        "near": {"model": "rate"},
        "far": {"model": "rate", "set": {"seeds": [7]}},
    }
    scale = {**CONFIG["scales/tiny.yaml"], "experiments": {"walk": {"model.layers": 4}}}
    put(paths.CONFIG / "experiments/walk.yaml", yaml.safe_dump(changed, sort_keys=False))
    put(paths.CONFIG / "scales/tiny.yaml", yaml.safe_dump(scale))
    forget_settings()
    told = [one.words for one in scale_comparison.differences("walk", "tiny")]
    assert told == ["seeds 3 instead of 4 (near)", "seeds 3 instead of 1 (far)"]
    assert scale_comparison.differences("walk", "full") == []


def test_a_table_has_a_block_for_what_its_dimensions_leave_open(project: Path) -> None:
    settings = resolve.experiment_file("walk").table
    episodes = load_episodes("tiny", "walk", {"near": (0, 1, 2)})
    both = pd.concat([episodes, episodes.assign(condition="with_noise")])
    found = blocks(build_table("walk", settings, both, published_cells()), settings, {})
    assert [(block.title, block.ours) for block in found] == [
        ("as published", False),
        ("with noise", True),
    ]
    assert [block.printed for block in found] == [True, False]
    assert found[0].columns == ("near",)
    assert [name for name, _ in found[0].rows] == ["1", "2"]


def test_the_newest_commit_dates_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    days = {"aaa": "2026-03-01", "bbb": "2026-04-01", "ccc": ""}
    monkeypatch.setattr(run_records, "_day", days.__getitem__)
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
def test_durations_are_told_in_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


SVG = """<?xml version="1.0"?><!DOCTYPE svg PUBLIC "x" "http://www.w3.org/x.dtd">
<svg xmlns="http://www.w3.org/2000/svg" width="360pt" viewBox="0 0 {width} 200">
<metadata>http://x</metadata>
<defs><style>*{{a:b}}</style><clipPath id="c1"/></defs>
<path id="p1" clip-path="url(#c1)" style="fill: #ffffff; stroke: #1f2328"/>
<use xlink:href="#p1" style="fill: #0072b2"/>
</svg>"""


def test_an_inlined_drawing_takes_the_colours_of_the_page_and_ids_of_its_own() -> None:
    found = inline(SVG.format(width=360), "one", 'A "title"')
    assert 'id="one-p1"' in found.markup
    assert "url(#one-c1)" in found.markup
    assert 'href="#one-p1"' in found.markup
    assert "fill: var(--card); stroke: currentColor" in found.markup
    assert "var(--series-1)" in found.markup
    assert "http" not in found.markup
    assert "<style" not in found.markup
    assert "width=" not in found.markup
    assert not found.wide
    assert inline(SVG.format(width=576), "one", "").wide
    with pytest.raises(UserError, match="not an SVG drawing"):
        inline("<html>", "one", "")


def test_every_colour_of_the_figures_is_defined_for_light_and_dark_pages() -> None:
    sheet = (ROOT / "src/memdt/reporting/style.css").read_text(encoding="utf-8")
    light, dark = sheet.split("prefers-color-scheme: dark")
    for variable in PAGE_COLOURS.values():
        if variable != "currentColor":
            name = variable.removeprefix("var(").removesuffix(")")
            assert f"{name}:" in light
            assert f"{name}:" in dark
    for number, colour in enumerate(style.SERIES, start=1):
        assert f"--series-{number}: {colour}" in light  # the page is the file, in light
