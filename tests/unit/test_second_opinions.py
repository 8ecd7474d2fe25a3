"""What others measured: the files are about variants that exist, and a view keeps ours out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from made_up.project import EXPERIMENTS, forget_settings, put, report
from memdt import paths
from memdt.errors import UserError
from memdt.report import publish
from memdt.report.table_view import OpinionView, opinion_view
from memdt.results.second_opinions import Opinion, second_opinions
from memdt.settings.files import experiment_file

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / paths.SECOND_OPINIONS).glob("*.csv"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_opinions_are_about_variants_that_exist(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    opinions, settings = second_opinions(path.stem), experiment_file(path.stem)
    assert opinions
    assert {one.variant for one in opinions} <= set(settings.variants)
    assert {one.metric for one in opinions} <= set(settings.table.metrics)
    keys = [(one.variant, one.metric, one.source) for one in opinions]
    assert len(set(keys)) == len(keys)


def opinion(variant: str, source: str, mean: float, spread: float | None = None) -> Opinion:
    kind = "none" if spread is None else "std"
    return Opinion(
        variant=variant, metric="score", source=source, reference="a page", mean=mean,
        spread=spread, spread_kind=kind, seeds=None if spread is None else 4, note="by hand",
    )  # fmt: skip


def test_a_view_has_what_is_printed_and_what_others_measured_and_nothing_of_ours() -> None:
    table = pd.DataFrame(
        {
            "variant": ["hopper-dt", "hopper-bc", "hopper-cql"],
            "metric": "score",
            "published_mean": [67.6, float("nan"), 58.0],
            "published_spread": [1.0, float("nan"), float("nan")],
            "reproduced_mean": [11.0, 12.0, float("nan")],
            "seeds": [6, 6, 0],
        }
    )
    opinions = [
        opinion("hopper-dt", "X, last", 65.1, 1.61),
        opinion("hopper-dt", "Y", 60.0),
        opinion("hopper-bc", "X, last", 53.5, 1.76),
        opinion("hopper-cql", "Y", 59.1),
    ]
    assert opinion_view(opinions, table, "RATE prints") == OpinionView(
        columns=("RATE prints", "X, last", "Y"),
        rows=(
            ("hopper-dt", ("67.6 ± 1.000", "65.1 ± 1.610", "60")),
            ("hopper-bc", ("", "53.5 ± 1.760", "")),
        ),
        sources=(
            "X, last: a page, ± standard deviation over 4 runs; by hand",
            "Y: a page; by hand",
        ),
    )
    assert opinion_view(opinions, table.assign(seeds=0), "RATE prints") is None
    unprinted = opinion_view(opinions, table.assign(published_mean=float("nan")), "RATE prints")
    assert unprinted is not None
    assert unprinted.columns == ("X, last", "Y")


def test_a_bad_value_is_named_with_its_line(tmp_path: Path) -> None:
    path = paths.second_opinions("walk", tmp_path)
    path.parent.mkdir(parents=True)
    header = ",".join(Opinion.model_fields)
    path.write_text(f"{header}\na,score,X,page,1.0,0.1,none,3,\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"walk\.csv, line 2.*a spread needs its kind"):
        second_opinions("walk", tmp_path)
    assert second_opinions("run", tmp_path) == ()


def test_the_report_and_its_page_show_them(reported: Path) -> None:
    row = "near,success,Others <b>,a page,0.5,0.1,std,4,"
    put(paths.second_opinions("walk"), f"{','.join(Opinion.model_fields)}\n{row}\n")
    put(paths.CONFIG / "findings.yaml", "findings: []\n")
    put(publish.README, f"{publish.START}\n{publish.END}\n")
    forget_settings()
    report()
    html = paths.report("tiny").read_text(encoding="utf-8")
    assert "what others measured" in html
    assert "<td>0.500 ± 0.100</td>" in html
    assert "Others &lt;b&gt;: a page, ± standard deviation over 4 runs." in html
    publish.publish("tiny", EXPERIMENTS)
    page = (publish.FOLDER / "rate-maze.md").read_text(encoding="utf-8")
    assert "| near | 0.900 ± 0.050 | 0.500 ± 0.100 |" in page
    assert "| | RATE prints | Others <b> |" not in page
