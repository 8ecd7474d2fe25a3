"""Results pages come from a finished report, and a page edited by hand is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from made_up.project import EXPERIMENTS, forget_settings, put, report
from memdt import paths
from memdt.errors import UserError
from memdt.report import publish

PROJECT = Path(__file__).parents[2]
PAGE = publish.FOLDER / "rate-maze.md"
FINDINGS = {"findings": [{"claim": "R1", "says": "It holds"}, {"claim": "R9", "says": "Unknown"}]}


@pytest.fixture
def published(reported: Path) -> Path:
    put(paths.CONFIG / "findings.yaml", yaml.safe_dump(FINDINGS))
    put(publish.README, f"# made up\n\n{publish.START}\nstale line\n{publish.END}\n\n## Run it\n")
    forget_settings()
    report()
    publish.publish("tiny", EXPERIMENTS)
    return reported


def test_the_pages_of_this_repository_are_as_they_were_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(PROJECT)
    publish.check()


def test_a_page_has_table_claims_and_figures(published: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "# RATE on maze" in text
    assert "**Reduced scale `tiny`**" in text
    assert "with seeds 0-2 at commit `0123456789`" in text
    assert "| R1 | It &lt;script>holds&lt;/script> | ✓ holds | 3 |" in text
    assert "## Walking &amp; turning &lt;b>" in text
    assert "| 1 | 0.833 [0.243, 0.954] *0.900 ± 0.050* ? |" in text
    assert 'srcset="figures/lines-dark.svg"' in text
    assert "Never made" not in text  # it has not run


def test_the_seeds_are_those_of_the_tables(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMDT_SEEDS", "1")
    forget_settings()
    publish.publish("tiny", EXPERIMENTS)
    assert "with seeds 0-2 at commit" in PAGE.read_text(encoding="utf-8")


def test_the_dark_figure_differs_only_in_its_colours(published: Path) -> None:
    light, dark = (
        (publish.FOLDER / "figures" / name).read_text(encoding="utf-8")
        for name in ("lines.svg", "lines-dark.svg")
    )
    assert light != dark
    assert "#ffffff" not in dark
    assert len(light) == len(dark)


def test_the_readme_gets_the_findings_that_were_decided(published: Path) -> None:
    text = publish.README.read_text(encoding="utf-8")
    assert "stale line" not in text
    assert "| It holds | ✓ holds, 3 seeds | [RATE on maze](docs/results/rate-maze.md) |" in text
    assert "Unknown" not in text
    assert text.startswith("# made up\n")
    assert text.endswith("## Run it\n")


def test_publishing_again_changes_nothing(published: Path) -> None:
    before = {path: path.read_bytes() for path in publish.FOLDER.rglob("*.*")}
    publish.publish("tiny", EXPERIMENTS)
    assert {path: path.read_bytes() for path in publish.FOLDER.rglob("*.*")} == before
    publish.check()


@pytest.mark.parametrize("path", [PAGE, publish.FOLDER / "figures/lines.svg", publish.README])
def test_an_edit_by_hand_is_named(published: Path, path: Path) -> None:
    path.write_text(
        path.read_text(encoding="utf-8").replace("0.", "1.").replace("3 seeds", "9 seeds")
    )
    with pytest.raises(
        UserError, match=rf"not what was published.*{path.name}|{path.name}.*not what"
    ):
        publish.check()


def test_pages_of_other_environments_stay(published: Path) -> None:
    record = json.loads(publish.RECORD.read_text(encoding="utf-8"))
    record["pages"]["other"] = {**record["pages"]["rate-maze"], "files": {}, "findings": []}
    publish.RECORD.write_text(json.dumps(record), encoding="utf-8")
    publish.publish("tiny", EXPERIMENTS)
    assert set(json.loads(publish.RECORD.read_text(encoding="utf-8"))["pages"]) == {
        "other",
        "rate-maze",
    }


def test_the_figure_of_the_first_finding_stays_on_the_readme(published: Path) -> None:
    record = json.loads(publish.RECORD.read_text(encoding="utf-8"))
    earlier = {**record["pages"]["rate-maze"], "headline": ["elsewhere"], "findings": []}
    record["pages"] = {"a-page-that-sorts-first": earlier, **record["pages"]}
    publish.RECORD.write_text(json.dumps(record), encoding="utf-8")
    figures = yaml.safe_load((paths.CONFIG / "figures.yaml").read_text(encoding="utf-8"))
    figures["lines"]["headline"] = True
    put(paths.CONFIG / "figures.yaml", yaml.safe_dump(figures))
    forget_settings()
    publish.publish("tiny", EXPERIMENTS)
    text = publish.README.read_text(encoding="utf-8")
    assert "figures/lines.svg" in text
    assert "figures/elsewhere.svg" not in text


def test_a_missing_report_is_refused_in_one_line(published: Path) -> None:
    paths.report("tiny").unlink()
    with pytest.raises(UserError, match=r"there is no report.*make reproduce"):
        publish.publish("tiny", EXPERIMENTS)
