"""The report of a small made-up project: complete, offline, escaped, and the same bytes twice."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from markupsafe import Markup
from PIL import Image

from memdt import paths, provenance
from memdt.errors import UserError
from memdt.figures import style
from memdt.figures.interface import Clip
from memdt.reporting import cost, report_view, scale_comparison
from memdt.reporting.claim_tests import VERDICTS
from memdt.reporting.claims import CLAIM_COLUMNS
from memdt.reporting.clips import encoded
from memdt.reporting.cost import duration, newest_commit
from memdt.reporting.figures import draw_figure
from memdt.reporting.inline_svg import PAGE_COLOURS, inline
from memdt.reporting.metrics import write_metrics
from memdt.reporting.published import published_cells
from memdt.reporting.render import prose, render
from memdt.reporting.results import load_episodes
from memdt.reporting.table_view import blocks
from memdt.reporting.tables import build_table, write_table
from memdt.reporting.verdicts import RULES
from memdt.settings import layers, resolve
from memdt.settings.schema import TableSettings

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ("walk", "later")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECTIONS = (
    "head", "claims", "tables", "figures", "memory", "training", "datasets", "deviations",
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
    monkeypatch.setattr(cost, "_day", lambda commit: "2026-01-02")
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
    write_metrics(scale, ["walk"], paths.metrics(scale))
    draw_figure("lines", scale)


def run_once(scale: str, variant: str, seed: int) -> None:
    folder = paths.run(scale, "walk", variant, seed)
    episodes = "condition,segments,episode,environment_seed,return,steps,success,group\n"
    for segments in (1, 2):
        good = 8 + seed % 2
        rows = (f"as_published,{segments},{e},{e},1,6,{int(e < good)},all\n" for e in range(10))
        episodes += "".join(rows)
    put(folder / "episodes.csv", episodes)
    job = {
        "format": provenance.FORMAT, "source_digest": "5" * 16, "seed": seed, "python": "3.11.9",
        "packages": {"torch": "2.13.0", "numpy": f"2.4.{seed}"}, "threads": 1, "cpu": "fast",
    }  # fmt: skip
    took = {
        "git_commit": COMMIT, "git_dirty": True, "platform": "Linux", "resumed": 1,
        "wall_seconds": 60.0, "cpu_seconds": 50.0, "peak_memory_bytes": 2**20 * (100 + seed),
        "finished": f"2026-01-02T03:04:0{seed}+00:00",
    }  # fmt: skip
    provenance.write_manifest(folder / "evaluation_manifest.json", job, took)
    for stage in (1, 2):
        trained = {**job, "stage": stage, "parameters": 1234, "updates": 50}
        if variant == "far":
            trained["trained_parameters"] = 40
        speed = {**took, "updates_per_second": 10.0 * stage}
        provenance.write_manifest(folder / f"stage_{stage}" / "manifest.json", trained, speed)


class Page(HTMLParser):
    """Checks that tags are closed in order; collects ids, addresses of loads, and flat text."""

    VOID = frozenset({"meta", "br", "img", "hr", "link", "input", "source"})

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


def cost_page(scale: str = "tiny") -> str:
    """As the last report left it."""
    return paths.report(scale).with_name("cost.html").read_text(encoding="utf-8")


def section(text: str, name: str) -> str:
    """From the element with this id to the next section of the page."""
    start = text.index(f'id="{name}"')
    end = text.find("\n<section id=", start)
    return text[start:end] if end > 0 else text[start:]


def add_clip(folder: Path, scale: str = "tiny") -> bytes:
    """A figure of the project gets an animated picture of two frames."""
    figures = {**CONFIG["figures.yaml"]}
    figures["lines"] = {**figures["lines"], "clip": True}
    put(folder / paths.CONFIG / "figures.yaml", yaml.safe_dump(figures, sort_keys=False))
    forget_settings()
    frames = [Image.new("RGB", (40, 20), shade) for shade in ("#102030", "#a0b0c0")]
    path = paths.clip(scale, "lines")
    path.write_bytes(encoded(Clip(frames, 100)))
    return path.read_bytes()


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


def test_a_clip_is_in_the_page_and_stands_still_for_whoever_asks_for_that(project: Path) -> None:
    content = add_clip(project)
    text = report()
    page = Page(text)
    moving = re.search(r'<img src="data:image/webp;base64,([^"]+)"', text)
    less = r'media="\(prefers-reduced-motion: reduce\)"'
    still = re.search(rf'<source {less} srcset="data:image/webp;base64,([^"]+)"', text)
    assert b64decode(moving[1]) == content
    with Image.open(BytesIO(b64decode(still[1]))) as image:
        assert (image.n_frames, image.size) == (1, (40, 20))
    assert all(address.startswith(("#", "data:")) for address in page.loads)
    assert text.index('<details class="clip">') < moving.start()
    assert '<a href="figures/lines.webp">WebP</a>' in text


def test_a_truncated_clip_is_refused_in_one_line(project: Path) -> None:
    content = add_clip(project)
    paths.clip("tiny", "lines").write_bytes(content[:20])
    with pytest.raises(UserError, match="no animated picture.*figures/lines.webp --force"):
        report()


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


def test_what_was_measured_is_not_in_the_report_but_beside_it(project: Path) -> None:
    first, first_cost = report(), cost_page()
    for path in project.rglob("*measured.json"):
        other = json.loads(path.read_text()) | {
            "git_commit": "f" * 40, "wall_seconds": 7500.0, "peak_memory_bytes": 2**33,
            "finished": "2027-01-01T00:00:00+00:00", "resumed": 7, "platform": "Elsewhere",
        }  # fmt: skip
        path.write_text(json.dumps(other))
    assert report() == first
    page = cost_page()
    assert page != first_cost
    for told in ("f" * 10, "8,192 MiB", "2027-01-01", "Elsewhere", "2 h 05 min"):
        assert told in page
        assert told not in first
    for told in (COMMIT[:10], "102 MiB", "2026-01-02"):
        assert told in first_cost
        assert told not in first


def test_the_report_needs_nothing_that_was_measured(project: Path) -> None:
    first = report()
    for path in project.rglob("*measured.json"):
        path.unlink()
    assert report() == first
    page = cost_page()
    assert "Measured here: 0 of 18 jobs" in page
    assert "–" in page
    assert "Nothing was measured here" in page


def test_what_was_measured_of_another_manifest_does_not_count(project: Path) -> None:
    """A clone that pulls results over its own keeps its measured files."""
    path = paths.stage("tiny", "walk", "near", 0, 1) / "manifest.json"
    path.write_text(path.read_text().replace("3.11.9", "3.12.1"))
    report()
    assert "Measured here: 17 of 18 jobs" in cost_page()


def test_no_path_of_this_machine_and_no_clock_is_in_anything_that_is_kept(project: Path) -> None:
    report()
    kept = [path for path in Path("reports").rglob("*") if path.is_file()]
    assert len(kept) >= 12
    for path in kept:
        text = path.read_text(encoding="utf-8")
        assert str(project) not in text, path
        assert str(ROOT) not in text, path
        if path.name != "cost.html":
            assert not re.search(r"\b20\d\d-\d\d-\d\d", text), path


def test_the_cost_page_is_well_formed_loads_nothing_and_leads_to_files(project: Path) -> None:
    text = report()
    assert 'href="cost.html">cost.html</a>, made where the runs were made' in text
    assert "not part of what DVC keeps" in section(text, "provenance")
    page = Page(cost_page())
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in page.tags
    assert all(address.startswith("#") for address in page.loads)
    assert 'href="report.html"' in cost_page()
    assert ":root {" in cost_page()  # the report's style


# ---- what it says ----------------------------------------------------------------------------


def test_the_head_tells_scale_and_verdicts(project: Path) -> None:
    head = section(report(), "head")
    assert "<b>tiny</b>" in head
    assert "holds 1" in head
    assert "reproduced 1" in head


def test_the_cost_page_tells_commit_day_and_changes(project: Path) -> None:
    report()
    head = section(cost_page(), "head")
    assert COMMIT[:10] in head
    assert "2026-01-02" in head
    assert "uncommitted changes" in head
    assert "Measured here: 18 of 18 jobs." in head


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
    assert "seed_2/episodes.csv" in cell


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


def test_what_has_not_run_is_folded_away_below_what_has(project: Path) -> None:
    tables = section(report(), "tables")
    summary = tables.index("2 not run at this scale</summary>")
    assert tables.index('id="table-walk"') < summary
    assert summary < min(tables.index(f'id="table-{name}"') for name in ("later", "unasked"))


def test_a_project_without_any_result_has_a_report_too(project: Path) -> None:
    paths.claims("tiny").unlink()
    (project / "docs/deviations.md").unlink()
    text = render("tiny", ("unasked",), project / "empty.html").read_text(encoding="utf-8")
    assert set(SECTIONS) <= set(Page(text).ids)
    for name in ("claims", "tables", "figures", "training"):
        assert "not run" in section(text, name)
    page = (project / "cost.html").read_text(encoding="utf-8")
    assert "not run" in section(page, "variants")
    assert "not run" in section(page, "runs")


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
    text = report()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", section(cost_page(), "variants"))
    times = ["6 min 00 s", "5 min 00 s", "3 min 00 s", "2 min 30 s", "102 MiB"]
    near = ["near", "3", *times, "15.0", "9", "9 of 9", COMMIT[:10]]  # speed: mean of 10 and 20
    sums = ["12 min 00 s", "10 min 00 s", "6 min 00 s", "5 min 00 s", "102 MiB"]
    total = ["sum", "6", *sums, "", "18", "18 of 18", COMMIT[:10]]
    assert cells == [*near, "far", *near[1:], *total]
    training = re.findall(r"<td[^>]*>([^<]*)</td>", section(text, "training"))
    both = ["far", "3", "2", "1,234", "40 (3.24%)", "100"]
    assert training == ["near", "3", "2", "1,234", "all", "100", *both]


def test_the_cost_of_every_run_is_told(project: Path) -> None:
    report()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", section(cost_page(), "runs"))
    took = ["2 min 00 s", "1 min 40 s", "1 min 00 s", "50 s", "101 MiB"]
    assert cells[10:20] == ["near", "1", *took, "3", "2026-01-02T03:04:01+00:00", COMMIT[:10]]


def test_provenance_lists_every_value_that_occurs(project: Path) -> None:
    shown = section(report(), "provenance")
    assert "5" * 16 in shown
    assert "2.4.0, 2.4.1, 2.4.2" in shown
    assert "0, 1, 2" in shown
    assert "snakemake --cores all reports/tiny/report.html" in shown


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n", "expected the columns id,text"),
        ("", "truncated"),
        (",".join(CLAIM_COLUMNS) + "\nR1,It hol", "truncated"),
        (",".join(CLAIM_COLUMNS) + '\nR1,"never closed\n', "no table of values"),
    ],
)
def test_a_file_that_is_no_list_of_claims_is_refused(project: Path, text: str, told: str) -> None:
    put(paths.claims("tiny"), text)
    with pytest.raises(UserError, match=f"{told}.*snakemake reports/tiny/claims.csv --force"):
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
    assert told == ["seeds 3 instead of 4 (near)"]
    assert scale_comparison.differences("walk", "full") == []


def test_of_long_lists_a_sentence_says_how_long_they_are():
    long, short = ", ".join("abcdefgh"), "a, b"
    differ = scale_comparison.Difference("environment.parameters.tasks", short, long, ())
    assert differ.words == "tasks 2 instead of 8"
    assert differ.published == long
    differ = scale_comparison.Difference("training.horizons", "3, 10, 90", "not set", ())
    assert differ.words == "horizons 3, 10, 90 instead of not set"


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


def test_only_what_varies_names_a_block(project: Path) -> None:
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
    for foreign in ("<html>", SVG.format(width=360)[:-8]):
        with pytest.raises(UserError, match="not an SVG drawing"):
            inline(foreign, "one", "")


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
