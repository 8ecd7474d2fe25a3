"""The report of a small made-up project: complete, offline, escaped, and the same bytes twice."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from markupsafe import Markup
from PIL import Image

from made_up.project import (
    COMMIT,
    ROOT,
    SECTIONS,
    Page,
    add_clip,
    cost_page,
    forget_settings,
    put,
    report,
    section,
)
from memdt import paths
from memdt.errors import UserError
from memdt.report import report_view
from memdt.report.render import prose, render
from memdt.results.claims import CLAIM_COLUMNS
from memdt.results.outcomes import VERDICTS
from memdt.results.tables import read_table
from memdt.results.verdicts import RULES

# ---- the page --------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_has_every_section(reported: Path) -> None:
    page = Page(report())
    assert set(SECTIONS) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids)), "two elements share an id"


def test_nothing_is_loaded_and_only_the_page_s_own_script_runs(reported: Path) -> None:
    text = report()
    page = Page(text)
    script = (ROOT / "src/memdt/report/copy.js").read_text(encoding="utf-8")
    assert re.findall(r"<script.*?</script>", text, re.DOTALL) == [f"<script>\n{script}\n</script>"]
    assert not re.search(r"""\son\w+=["']|javascript:""", text)
    assert "link" not in page.tags
    assert all(address.startswith(("#", "data:")) for address in page.loads), page.loads
    assert not re.search(r"@import|url\((?!#)", text)
    assert "http:" not in text
    assert "https:" not in text
    assert len(text) < 10_000_000


def test_a_clip_is_in_the_page_and_stands_still_for_whoever_asks_for_that(reported: Path) -> None:
    content = add_clip(reported)
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


def test_a_truncated_clip_is_refused_in_one_line(reported: Path) -> None:
    content = add_clip(reported)
    paths.clip("tiny", "lines").write_bytes(content[:20])
    with pytest.raises(UserError, match="no animated picture.*figures/lines.webp --force"):
        report()


def test_every_link_inside_the_page_leads_somewhere(reported: Path) -> None:
    text = report()
    page = Page(text)
    for target in re.findall(r'href="#([^"]+)"', text):
        assert target in page.ids


def test_links_to_files_are_relative_to_the_report_and_right(reported: Path) -> None:
    text = report()
    folder = paths.report("tiny").parent
    linked = set(re.findall(r'<a href="([^"#][^"]*)"', text))
    assert "tables/walk.csv" in linked
    assert "figures/lines.csv" in linked
    assert "../../data/runs/tiny/walk/near/seed_0/episodes.csv" in linked
    missing = {one for one in linked if not (folder / one).exists() and "src/memdt" not in one}
    assert not missing


def test_texts_from_files_are_escaped(reported: Path) -> None:
    text = report()
    assert "It &lt;script&gt;holds" in text
    assert "Walking &amp; turning &lt;b&gt;" in text
    assert "Lines &lt;i&gt;" in text
    assert "One step &lt;more&gt;." in text


def test_the_same_files_give_the_same_bytes(reported: Path) -> None:
    first = report().encode()
    forget_settings()
    assert report().encode() == first


def test_what_was_measured_is_not_in_the_report_but_beside_it(reported: Path) -> None:
    first, first_cost = report(), cost_page()
    for path in reported.rglob("*measured.json"):
        other = json.loads(path.read_text()) | {
            "git_commit": "f" * 40, "wall_seconds": 7500.0, "peak_memory_bytes": 2**33,
            "finished": "2027-01-01T00:00:00+00:00", "resumed": 7, "platform": "Elsewhere",
        }  # fmt: skip
        path.write_text(json.dumps(other))
    assert report() == first
    page = cost_page()
    assert page != first_cost
    for fact in ("f" * 10, "8,192 MiB", "2027-01-01", "Elsewhere", "2 h 05 min"):
        assert fact in page
        assert fact not in first
    for fact in (COMMIT[:10], "102 MiB", "2026-01-02"):
        assert fact in first_cost
        assert fact not in first


def test_the_report_needs_nothing_that_was_measured(reported: Path) -> None:
    first = report()
    for path in reported.rglob("*measured.json"):
        path.unlink()
    assert report() == first
    page = cost_page()
    assert "Measured here: 0 of 18 jobs" in page
    assert "–" in page
    assert "Nothing was measured here" in page


def test_what_was_measured_of_another_manifest_does_not_count(reported: Path) -> None:
    """A clone that pulls results over its own keeps its measured files."""
    path = paths.stage("tiny", "walk", "near", 0, 1) / "manifest.json"
    path.write_text(path.read_text().replace("3.11.9", "3.12.1"))
    report()
    assert "Measured here: 17 of 18 jobs" in cost_page()


def test_no_path_of_this_machine_and_no_clock_is_in_anything_that_is_kept(reported: Path) -> None:
    report()
    kept = [path for path in Path("reports").rglob("*") if path.is_file()]
    assert len(kept) >= 12
    for path in kept:
        text = path.read_text(encoding="utf-8")
        assert str(reported) not in text, path
        assert str(ROOT) not in text, path
        if path.name != "cost.html":
            assert not re.search(r"\b20\d\d-\d\d-\d\d", text), path


def test_the_cost_page_is_well_formed_loads_nothing_and_leads_to_files(reported: Path) -> None:
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


def test_the_head_shows_scale_and_verdicts(reported: Path) -> None:
    head = section(report(), "head")
    assert "Reduced scale: tiny." in head
    row = head[head.index("<tbody>") : head.index("</tbody>")]
    assert re.findall(r'class="count (\w+)[^"]*">(\d)', row) == [
        ("holds", "1"), ("fails", "0"), ("undecided", "0"), ("waits", "0"), ("unbuilt", "0")
    ]  # fmt: skip
    assert "not distinguished 1" in section(report(), "tables")


def test_the_claims_say_how_many_tests_there_were_and_what_each_would_take(reported: Path) -> None:
    claims = section(report(), "claims")
    assert "1 claim was tested here" in claims
    assert "Holm" not in claims  # nothing is refuted
    assert "To decide it takes at best 6 seeds." in claims
    path = paths.claims("tiny")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(",holds,3,", ",cannot be decided,3,"), encoding="utf-8")
    assert '<span class="verdict open">cannot be decided</span>' in section(report(), "claims")
    path.write_text(text.replace(",holds,3,", ",does not hold,3,"), encoding="utf-8")
    assert "corrected for all 1 tests (Holm)" in section(report(), "claims")


def test_cells_of_a_sentence_are_not_counted_as_cells_of_a_table(reported: Path) -> None:
    path = paths.table("tiny", "walk")
    text = path.read_text(encoding="utf-8")
    item = read_table(path)["item"].dropna().iloc[0]
    path.write_text(text.replace(f",{item},", ",Section 5.1,"), encoding="utf-8")
    tables = section(report(), "tables")
    assert "not distinguished 1" not in tables[: tables.index("<details")]
    assert "1 more are spread out from sentences" in tables


def test_the_cost_page_shows_commit_day_and_changes(reported: Path) -> None:
    report()
    head = section(cost_page(), "head")
    assert COMMIT[:10] in head
    assert "2026-01-02" in head
    assert "uncommitted changes" in head
    assert "Measured here: 18 of 18 jobs." in head


def test_the_rules_of_verdicts_are_printed_word_for_word(reported: Path) -> None:
    tables = section(report(), "tables")
    for rule in RULES:
        assert str(Markup.escape(rule.text)) in tables


def test_every_verdict_that_can_fall_has_a_look() -> None:
    assert set(report_view.TONES) == {rule.verdict for rule in RULES} | set(VERDICTS)


def test_a_cell_shows_published_and_reproduced_with_its_seeds(reported: Path) -> None:
    """Means 0.8, 0.9, 0.8, of which three seeds say no more than 0.25 to 0.95."""
    tables = section(report(), "tables")
    start = tables.index('<details class="cell">')
    cell = tables[start : tables.index("</details>", start)]
    summary = cell[: cell.index("</summary>")]
    assert all(text in summary for text in ("0.833", "[0.243, 0.954]", ">0.900<", ">?<"))
    for expected in (
        "0.900 ± 0.050",
        "0.833",
        "[0.243, 0.954]",
        "−0.067",
        "not distinguished",
    ):
        assert expected in cell
    assert "standard error over 10 runs" in tables
    assert "seed_2/episodes.csv" in cell


def test_what_has_not_run_is_listed_with_its_command(reported: Path) -> None:
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


def test_what_has_not_run_is_folded_away_below_what_has(reported: Path) -> None:
    tables = section(report(), "tables")
    summary = tables.index("2 not run at this scale</summary>")
    assert tables.index('id="table-walk"') < summary
    assert summary < min(tables.index(f'id="table-{name}"') for name in ("later", "unasked"))


def test_a_project_without_any_result_has_a_report_too(reported: Path) -> None:
    paths.claims("tiny").unlink()
    (reported / "docs/deviations.md").unlink()
    text = render("tiny", ("unasked",), reported / "empty.html").read_text(encoding="utf-8")
    assert set(SECTIONS) <= set(Page(text).ids)
    for name in ("claims", "tables", "figures", "training"):
        assert "not run" in section(text, name)
    page = (reported / "cost.html").read_text(encoding="utf-8")
    assert "not run" in section(page, "variants")
    assert "not run" in section(page, "runs")


def test_every_table_shows_what_its_rows_cost(reported: Path) -> None:
    page = section(report(), "tables")
    row = r"far</td><td>1,234</td><td>40</td><td>100</td><td>not known</td><td>9,000</td><td>2<"
    assert re.search(row, page)


def test_a_reduced_scale_says_so_at_every_table_and_figure(reported: Path) -> None:
    text = report()
    label = "reduced scale: tiny"
    assert "Reduced scale: tiny." in section(text, "head")
    for match in re.finditer(r'<table class="(paper|numbers)|<div class="drawing"', text):
        before = text[: match.start()]
        assert label in before[before.rfind("<h") :], before[-300:]
    assert "layers 1 instead of 4" in section(text, "tables")
    assert "seeds 3 instead of 4" in section(text, "figures")


def test_the_published_scale_is_not_called_reduced(reported: Path) -> None:
    text = report("full")
    assert "reduced scale:" not in text
    assert "Reduced scale:" not in text


def test_a_layout_check_says_that_its_numbers_mean_nothing(reported: Path) -> None:
    text = report("nothing")
    assert "the numbers mean nothing" in text
    assert re.search(r'<body class="[^"]*\bmeaningless"', text)


def test_deviations_are_printed_and_linked_where_they_are_named(reported: Path) -> None:
    text = report()
    shown = section(text, "deviations")
    assert 'id="D3"' in shown
    assert "D3: A <code>spare</code> step" in shown
    for words in ("Because.", "None.", "Seen."):
        assert words in shown
    assert '<a href="#D3">D3</a>' in section(text, "tables")


def test_prose_knows_code_and_deviations_and_nothing_else() -> None:
    html = prose("`a<b>` of D3 and D9 <i>", {"D3"})
    assert html == '<code>a&lt;b&gt;</code> of <a href="#D3">D3</a> and D9 &lt;i&gt;'


def test_cost_sums_seconds_and_takes_the_largest_memory(reported: Path) -> None:
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


def test_the_cost_of_every_run_is_shown(reported: Path) -> None:
    report()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", section(cost_page(), "runs"))
    took = ["2 min 00 s", "1 min 40 s", "1 min 00 s", "50 s", "101 MiB"]
    assert cells[10:20] == ["near", "1", *took, "3", "2026-01-02T03:04:01+00:00", COMMIT[:10]]


def test_provenance_lists_every_value_that_occurs(reported: Path) -> None:
    shown = section(report(), "provenance")
    assert "5" * 16 in shown
    assert "2.4.0, 2.4.1, 2.4.2" in shown
    assert "0, 1, 2" in shown
    assert "snakemake --cores all reports/tiny/report.html" in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "expected the columns id,text"),
        ("", "truncated"),
        (",".join(CLAIM_COLUMNS) + "\nR1,It hol", "truncated"),
        (",".join(CLAIM_COLUMNS) + '\nR1,"never closed\n', "no table of values"),
    ],
)
def test_a_file_that_is_no_list_of_claims_is_refused(
    reported: Path, text: str, message: str
) -> None:
    put(paths.claims("tiny"), text)
    with pytest.raises(UserError, match=f"{message}.*snakemake reports/tiny/claims.csv --force"):
        report()
