"""The published numbers: typed twice, consistent, each with a counterpart of ours or a reason."""

from __future__ import annotations

import csv
import fnmatch
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from memdt.errors import UserError
from memdt.results.claim_tests import parse_test
from memdt.results.claims import claim_keys, load_claims
from memdt.results.metric_names import late, parse
from memdt.results.published import (
    Cell,
    in_scope,
    published_cells,
    read_cells,
    waiting,
)
from memdt.settings.files import experiment_file
from memdt.settings.layers import available
from memdt.settings.resolve import resolve

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "data" / "published"
HEADER = ",".join(Cell.model_fields)
ROW = "rate,v1,Table 2,,e,rate-3,as_published,2,success,share,1.000,0.010,sem,10,100,0.05,yes,,,,"


def number(text: str) -> float:
    return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)


def second_transcription(paper: str) -> Iterator[tuple[tuple, tuple]]:
    """(what, numbers) for each entry of the wide tables of the second transcription."""
    path = FOLDER / f"{paper}_second_transcription.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            columns, values = line["columns"].split(), line["values"].split()
            for column, value in zip(columns, values, strict=True):
                cell = dict(part.split("=") for part in line["fixed"].split())
                cell[line["across"]] = column
                mean, _, spread = value.partition("±")
                what = (
                    line["version"],
                    line["item"],
                    cell["variant"],
                    cell["condition"],
                    cell["segments"],
                    cell.get("metric", "success"),
                )
                kind = line["kind"] if spread else "none"
                runs = (line["runs"], line["episodes"])
                yield what, (number(mean), number(spread) if spread else None, kind, *runs)


def text(value: int | None) -> str:
    return "" if value is None else str(value)


def first_transcription(paper: str) -> Iterator[tuple[tuple, tuple]]:
    for cell in read_cells(FOLDER / f"{paper}.csv"):
        segments = text(cell.segments)
        what = (cell.version, cell.item, cell.variant, cell.condition, segments, cell.metric)
        runs = (text(cell.seeds), text(cell.episodes))
        yield what, (cell.mean, cell.spread, cell.spread_kind, *runs)


@pytest.mark.parametrize("paper", ["rate", "dt_mem"])
def test_both_transcriptions_agree_cell_by_cell(paper):
    first, second = list(first_transcription(paper)), list(second_transcription(paper))
    assert len(first) == len(dict(first))
    assert len(second) == len(dict(second))
    assert dict(first).keys() == dict(second).keys()
    assert {what: dict(second)[what] for what in dict(first)} == dict(first)


def test_table_2_is_whole():
    table = in_scope(published_cells(ROOT), "tmaze_table_2", ["success"])
    models = ("dt-3", "dt-7", "rate-3", "rate-7")
    assert {(key[1], key[3]) for key in table} == {
        (model, segments) for model in models for segments in (1, 2, 3, 5, 9, 12)
    }
    assert all(cell.spread_kind == "sem" and cell.seeds == 10 for cell in table.values())


def test_tables_3_and_4_are_whole_and_say_which_data_their_columns_rest_on():
    cells = [cell for cell in published_cells(ROOT) if cell.paper == "rate"]
    counts = {item: sum(cell.item == item for cell in cells) for item in ("Table 3", "Table 4")}
    assert counts == {"Table 3": 12, "Table 4": 36}
    table_4 = {cell.variant: cell for cell in cells if cell.item == "Table 4"}
    old = {variant for variant, cell in table_4.items() if cell.data_version == "v0"}
    assert old == {"halfcheetah_medium-cql", "hopper_medium-cql"}
    assert {cell.data_version for cell in table_4.values()} == {"v0", "v2"}
    own = {variant for variant, cell in table_4.items() if not cell.quoted_from}
    assert own == {variant for variant in table_4 if variant.endswith("-rate")}


def test_numbers_of_what_is_not_built_yet_wait_and_are_counted(monkeypatch):
    monkeypatch.chdir(ROOT)
    cells = published_cells(ROOT)
    counts = waiting(cells)
    assert sum(counts.values()) == sum(bool(cell.waits_for) for cell in cells)
    ours = catalogue()
    for cell in cells:
        if cell.waits_for:
            assert not cell.in_scope
            assert cell.variant not in ours.get(cell.experiment, {}), "it is built: waits_for goes"


def test_a_spread_of_unstated_kind_is_kept_and_allows_no_interval(tmp_path):
    (cell,) = read_cells(written(tmp_path, ROW.replace(",sem,", ",unstated,")))
    assert (cell.spread, cell.interval(), cell.deviation()) == (0.01, None, None)


def test_columns_that_few_rows_need_may_be_left_out(tmp_path):
    header = HEADER.replace(",waits_for,quoted_from,data_version", "")
    (cell,) = read_cells(written(tmp_path, ROW.replace("yes,,,,", "yes,"), header=header))
    assert (cell.waits_for, cell.quoted_from, cell.data_version) == ("", "", "")


def test_success_rates_are_shares_and_metrics_are_known():
    for cell in published_cells(ROOT):
        if not cell.in_scope:
            continue
        if parse(cell.metric).is_share:
            assert 0.0 <= cell.mean <= 1.0
            assert cell.margin == 0.05  # data/published/README.md


def catalogue() -> dict[str, dict[str, dict[str, tuple[int, ...]]]]:
    """What every experiment evaluates at full scale, as the settings resolve it."""
    evaluated: dict[str, dict[str, dict[str, tuple[int, ...]]]] = {}
    for experiment in available("experiments"):
        for variant in experiment_file(experiment).variants:
            evaluation = resolve(experiment, variant, "paper").settings.evaluation
            evaluated.setdefault(experiment, {})[variant] = {
                name: condition.segments or evaluation.segments
                for name, condition in evaluation.conditions.items()
            }
    return evaluated


def test_published_rows_and_claims_belong_to_our_experiments(monkeypatch):
    monkeypatch.chdir(ROOT)
    ours = catalogue()
    rows = [cell.key[:4] for cell in published_cells(ROOT) if cell.in_scope]
    claimed = [key for claim in load_claims(ROOT) for key in claim_keys(claim)]
    named = [key for key in claimed if "*" not in key[1]]
    unknown = [
        key
        for key in [*rows, *named]
        if key[3] not in ours.get(key[0], {}).get(key[1], {}).get(key[2], ())
    ]
    assert unknown == []
    for experiment, pattern, condition, segments in set(claimed) - set(named):
        matching = fnmatch.filter(ours[experiment], pattern)
        assert any(segments in ours[experiment][one].get(condition, ()) for one in matching)


def test_claims_about_late_steps_are_about_what_their_tables_have_recorded(monkeypatch):
    monkeypatch.chdir(ROOT)
    late_metrics = [
        (quantity.experiment or claim.experiment, quantity.metric)
        for claim in load_claims(ROOT)
        for quantity in parse_test(claim.test).quantities()
        if late([quantity.metric])
    ]
    assert late_metrics
    for experiment, metric in late_metrics:
        assert metric in experiment_file(experiment).table.metrics


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "numbers.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_row_is_read_with_its_types(tmp_path):
    (cell,) = read_cells(written(tmp_path, ROW))
    assert cell.key == ("e", "rate-3", "as_published", 2, "success")
    assert (cell.mean, cell.spread, cell.seeds, cell.in_scope) == (1.0, 0.01, 10, True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1.000", "1,000", "mean|columns|spread"),
        ("1.000", "nan", "mean"),
        ("0.010,sem", ",sem", "spread needs its kind"),
        ("0.010,sem", "0.010,none", "spread needs its kind"),
        ("0.010,sem", "0.010,se", "spread_kind"),
        (",yes,", ",no,", "reason in the note"),
        (",2,success", ",,success", "names experiment"),
        (",2,success", ",0,success", "segments"),
        (",yes,,", ",yes,Atari,", "waits for nothing"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path, old, new, message):
    with pytest.raises(UserError, match=f"line 2.*({message})"):
        read_cells(written(tmp_path, ROW.replace(old, new)))


def test_wrong_columns_twins_and_missing_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="unexpected columns"):
        read_cells(written(tmp_path, ROW, header=HEADER.replace("item,page", "page,item")))
    with pytest.raises(UserError, match="two rows in scope"):
        read_cells(written(tmp_path, ROW, ROW.replace("1.000", "0.900")))
    with pytest.raises(UserError, match="no such file"):
        read_cells(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("kind", "spread", "reach"),
    [
        ("ci95", 0.1, 0.1),
        ("sem", 0.1, 0.1 * 2.262157),
        ("std", 0.1, 0.1 * 2.262157 / math.sqrt(10)),
    ],
)
def test_each_kind_of_spread_becomes_a_95_percent_interval(tmp_path, kind, spread, reach):
    row = ROW.replace("0.010,sem", f"{spread},{kind}")
    interval = read_cells(written(tmp_path, row))[0].interval()
    assert interval.high - interval.mean == pytest.approx(reach, rel=1e-5)
