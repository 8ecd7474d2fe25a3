"""Tables: every printed cell beside ours, in the paper's shape, with the same bytes each time."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from memdt.errors import UserError
from memdt.results.published import Cell
from memdt.results.statistics import interval
from memdt.results.tables import (
    TABLE_COLUMNS,
    build_table,
    read_table,
    verdict_counts,
    wide,
    write_table,
)
from memdt.settings.files import TableSettings


def shape(
    rows: str = "segments",
    columns: str = "variant",
    metric: str | tuple[str, ...] = "success",
) -> TableSettings:
    return TableSettings(rows=rows, columns=columns, metric=metric)


def cell(variant: str, segments: int, mean: float, **more: object) -> Cell:
    row = {
        "paper": "rate", "version": "v1", "item": "Table 2", "page": "", "experiment": "task",
        "variant": variant, "condition": "as_published", "segments": segments, "metric": "success",
        "unit": "share", "mean": mean, "spread": 0.01, "spread_kind": "sem", "seeds": 10,
        "episodes": 100, "margin": 0.05, "in_scope": True, "note": "",
    }  # fmt: skip
    return Cell(**{**row, **more})


PUBLISHED = [
    cell("rate-3", 12, 0.5),
    cell("rate-3", 2, 1.0),
    cell("dt-3", 2, 0.5),
    cell("dt-3", 5, 0.4, spread=None, spread_kind="none"),
    cell("dt-3", 9, 0.9, in_scope=False, note="not ours"),
    cell("dt-3", 2, 0.1, experiment="another"),
    cell("dt-3", 2, 29.0, metric="steps"),
]
MEANS = {
    ("rate-3", "as_published", 2): [1.0, 0.9, 1.0],
    ("rate-3", "as_published", 12): [0.8, 0.8],
    ("dt-3", "as_published", 2): [0.5, 0.5, 0.6],
    ("dt-3", "full_context", 2): [1.0, 1.0, 1.0],
    ("dt-3", "as_published", 30): [0.4, 0.5, 0.6],
}


def episodes(means: dict[tuple[str, str, int], list[float]] = MEANS) -> pd.DataFrame:
    rows = [
        ("task", variant, seed, condition, segments, episode, 0, float(won), 9, won)
        for (variant, condition, segments), seeds in means.items()
        for seed, mean in enumerate(seeds)
        for episode in range(10)
        for won in [int(episode < round(10 * mean))]
    ]
    names = (
        "experiment variant seed condition segments episode environment_seed return steps success"
    )
    return pd.DataFrame(rows, columns=names.split())


@pytest.fixture
def table() -> pd.DataFrame:
    return build_table("task", shape(), episodes(), PUBLISHED)


def one(table: pd.DataFrame, variant: str, condition: str, segments: int) -> pd.Series:
    chosen = table[
        (table["variant"] == variant)
        & (table["condition"] == condition)
        & (table["segments"] == segments)
    ]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_a_cell_holds_both_numbers_and_their_difference(table):
    row = one(table, "rate-3", "as_published", 2)
    assert (row["row"], row["column"], row["origin"]) == ("2", "rate-3", "paper")
    assert (row["published_mean"], row["published_spread"], row["spread_kind"]) == (
        1.0,
        0.01,
        "sem",
    )
    assert (row["item"], row["version"], row["margin"]) == ("Table 2", "v1", 0.05)
    assert row["reproduced_mean"] == pytest.approx(2.9 / 3)
    assert row["low"] == pytest.approx(interval([1.0, 0.9, 1.0], bounds=(0.0, 1.0)).low)
    assert row["high"] == pytest.approx(0.999, abs=1e-3)  # a share cannot be more than 1
    assert (row["seeds"], row["seed_numbers"]) == (3, "0;1;2")
    assert row["per_seed"] == "1.000000;0.900000;1.000000"
    assert row["difference"] == pytest.approx(2.9 / 3 - 1.0)
    assert row["verdict"] == "not distinguished"


def test_cells_are_the_union_of_printed_and_run(table):
    assert list(table.columns) == list(TABLE_COLUMNS)
    verdicts = {(r.variant, r.condition, r.segments): r.verdict for r in table.itertuples()}
    assert verdicts == {
        ("rate-3", "as_published", 2): "not distinguished",
        ("rate-3", "as_published", 12): "too few seeds",
        ("dt-3", "as_published", 2): "not distinguished",
        ("dt-3", "as_published", 5): "not run",
        ("dt-3", "as_published", 30): "no published number",
        ("dt-3", "full_context", 2): "no published number",
    }
    assert list(zip(table["variant"], table["segments"], strict=True)) == [
        ("rate-3", 2),
        ("rate-3", 12),
        ("dt-3", 2),
        ("dt-3", 5),
        ("dt-3", 30),
        ("dt-3", 2),
    ]
    assert verdict_counts(table) == {"not distinguished": 2, "too few seeds": 1, "not run": 1}


def test_an_amount_is_judged_from_six_seeds_on():
    means = {("dt-3", "as_published", 2): [0.5] * 6}
    table = build_table("task", shape(metric="steps"), episodes(means), PUBLISHED)
    assert one(table, "dt-3", "as_published", 2)["verdict"] == "lower"


def test_cells_of_a_sentence_are_not_counted():
    sentence = [cell("dt-3", 2, 0.5, item="Section 4.3"), cell("rate-3", 2, 1.0)]
    table = build_table("task", shape(), episodes(), sentence)
    assert verdict_counts(table) == {"not distinguished": 1}


def test_a_cell_that_never_ran_keeps_the_printed_number(table):
    row = one(table, "dt-3", "as_published", 5)
    assert row["published_mean"] == 0.4
    assert math.isnan(row["published_spread"])
    assert math.isnan(row["reproduced_mean"])
    assert math.isnan(row["difference"])
    assert row["seeds"] == 0


def test_the_wide_table_has_the_papers_shape(table):
    laid = wide(table)
    assert list(laid.index) == ["2", "5", "12", "30"]  # by number, not by text
    assert list(laid.columns) == ["rate-3", "dt-3", "dt-3 (full_context, ours)"]
    assert laid.loc["2", "dt-3 (full_context, ours)"] == 1.0
    assert math.isnan(laid.loc["5", "dt-3"])
    assert wide(table, "verdict").loc["5", "dt-3"] == "not run"


def test_a_condition_that_the_paper_reports_is_not_ours():
    published = [*PUBLISHED, cell("dt-3", 2, 1.0, condition="full_context")]
    table = build_table("task", shape(), episodes(), published)
    assert set(table["origin"]) == {"paper"}
    assert "dt-3 (full_context)" in wide(table).columns
    elsewhere = cell("dt-3", 9, 1.0, condition="full_context", in_scope=False, note="a limit")
    table = build_table("task", shape(), episodes(), [*PUBLISHED, elsewhere])
    assert set(table["origin"]) == {"paper"}
    assert one(table, "dt-3", "full_context", 2)["verdict"] == "no published number"


def test_the_dimension_left_open_names_the_column():
    table = build_table("task", shape(rows="segments", columns="condition"), episodes(), PUBLISHED)
    laid = wide(table)
    assert list(laid.columns) == [
        "as_published (rate-3)",
        "as_published (dt-3)",
        "full_context (dt-3, ours)",
    ]
    across = wide(build_table("task", shape("variant", "segments"), episodes(), PUBLISHED))
    assert list(across.index) == ["rate-3", "dt-3"]
    assert list(across.columns) == ["2", "5", "12", "30", "2 (full_context, ours)"]


def test_another_metric_has_its_own_published_number():
    table = build_table("task", shape(metric="steps"), episodes(), PUBLISHED)
    row = one(table, "dt-3", "as_published", 2)
    assert (row["published_mean"], row["reproduced_mean"]) == (29.0, 9.0)
    assert row["verdict"] == "not distinguished"  # an amount takes six seeds


def test_several_metrics_are_a_dimension_of_their_own():
    metrics = ("success", "steps")
    table = build_table("task", shape("metric", metric=metrics), episodes(), PUBLISHED)
    at_two = table[(table["segments"] == 2) & (table["condition"] == "as_published")]
    assert at_two[["row", "column", "published_mean", "verdict"]].to_numpy().tolist() == [
        ["success", "rate-3", 1.0, "not distinguished"],
        ["steps", "rate-3", pytest.approx(math.nan, nan_ok=True), "no published number"],
        ["success", "dt-3", 0.5, "not distinguished"],
        ["steps", "dt-3", 29.0, "not distinguished"],
    ]
    alone = wide(build_table("task", shape("metric", metric=metrics), at(2), PUBLISHED[1:2]))
    assert alone.index.tolist() == ["success", "steps"]
    assert alone.columns.tolist() == ["rate-3", "dt-3", "dt-3 (full_context, ours)"]
    assert alone.loc["steps", "dt-3"] == 9.0
    open_metric = wide(build_table("task", shape(metric=metrics), at(2), []))
    assert open_metric.columns[:2].tolist() == ["rate-3 (success)", "rate-3 (steps)"]


def at(segments: int) -> pd.DataFrame:
    frame = episodes()
    return frame[frame["segments"] == segments]


def test_nothing_run_and_nothing_printed(table):
    nothing = episodes({})
    printed = build_table("task", shape(), nothing, PUBLISHED)
    assert set(printed["verdict"]) == {"not run"}
    assert len(printed) == 4
    empty = build_table("task", shape(), nothing, [])
    assert empty.empty
    assert list(empty.columns) == list(table.columns)
    assert wide(empty).empty


def test_the_same_results_give_the_same_bytes(tmp_path, table):
    shuffled = (
        episodes()
        .sample(frac=1, random_state=1)
        .sort_values("variant", ascending=False, kind="stable")
    )
    write_table(table, tmp_path / "a.csv")
    write_table(build_table("task", shape(), shuffled, iter(PUBLISHED)), tmp_path / "b.csv")
    written = (tmp_path / "a.csv").read_bytes()
    assert written == (tmp_path / "b.csv").read_bytes()
    assert b"\r" not in written
    assert b"nan" not in written
    assert b",1.000000,0.010000,sem,10,0.050000,0.966667," in written


def test_a_table_reads_back_as_it_was(tmp_path, table):
    write_table(table, tmp_path / "a.csv")
    again = read_table(tmp_path / "a.csv")
    write_table(again, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert again["verdict"].tolist() == table["verdict"].tolist()
    pd.testing.assert_frame_equal(wide(again, "seeds"), wide(table, "seeds"), check_names=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "row,column\n1,2\n", "expected the columns"),
        (lambda text: text[:-20], "truncated"),
        (lambda text: "", "truncated"),
        (lambda text: text.rpartition("\n")[0].rpartition(",")[0] + "\n", "a value is missing"),
        (lambda text: text.replace(",0.966667,", ",many,"), "a value is no number"),
        (lambda text: "\0\0\n" + text, "no table|expected the columns"),
    ],
)
def test_a_truncated_or_foreign_table_is_refused(tmp_path, table, change, message):
    path = tmp_path / "a.csv"
    write_table(table, path)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UserError, match=f"({message}).*make it anew: snakemake {path} --force"):
        read_table(path)


@pytest.mark.parametrize("layout", [shape("segments", "segments"), shape("segment", "variant")])
def test_an_impossible_shape_is_refused(layout):
    with pytest.raises(UserError, match="rows and columns"):
        build_table("task", layout, episodes(), PUBLISHED)


def test_an_unknown_metric_is_refused():
    with pytest.raises(UserError, match="unknown metric"):
        build_table("task", shape(metric="sucess"), episodes(), PUBLISHED)


def test_a_variant_named_set_method_is_a_row_and_a_column():
    episodes = pd.DataFrame(
        [
            {"experiment": "e", "variant": f"{task}-{method}", "condition": condition,
             "segments": 50, "seed": seed, "episode": 0, "return": 1.0, "steps": 1, "score": score}
            for task in ("hopper_medium", "walker2d_medium")
            for method in ("dt", "rate")
            for condition in ("as_published", "held")
            for seed, score in enumerate((40.0, 60.0))
        ]
    )  # fmt: skip
    settings = TableSettings(rows="set", columns="method", metric="score")
    laid = wide(build_table("e", settings, episodes, []))
    assert list(laid.index) == ["hopper_medium", "walker2d_medium"]
    assert list(laid.columns) == ["dt", "rate", "dt (held, ours)", "rate (held, ours)"]
    assert laid.loc["hopper_medium", "rate"] == 50.0
