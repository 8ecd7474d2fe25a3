"""Every figure, found by its file name: drawn from made-up results, its data checked by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from made_up.results import SEGMENTS, curves, data_of, drawn, episodes, inputs
from memdt import discovery
from memdt.errors import UserError
from memdt.figures.drawing import draw_figure, write
from memdt.results.statistics import interval
from memdt.settings.pages import FigureSettings

NAMES = discovery.names("memdt.figures")

# ---- every figure ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_writes_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    module = discovery.load("memdt.figures", name)
    once = write(module, inputs(name), tmp_path / "once" / f"{name}.svg")
    again = write(module, inputs(name), tmp_path / "again" / f"{name}.svg")
    assert once.read_bytes() == again.read_bytes()
    assert once.read_text().count("<text") > 3  # text stays text
    data = once.with_suffix(".csv")
    assert data.read_bytes() == again.with_suffix(".csv").read_bytes()
    assert len(pd.read_csv(data)) == len(module.data(inputs(name)))


@pytest.mark.parametrize("name", NAMES)
def test_labels_neither_overlap_nor_leave_the_figure(name: str) -> None:
    figure = drawn(inputs(name))
    canvas = figure.bbox
    for texts in _rows_of_labels(figure):
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        for left, right in itertools.pairwise(sorted(boxes, key=lambda box: box.x0)):
            assert left.x1 < right.x0 or left.y1 < right.y0 or right.y1 < left.y0
        for box in boxes:
            assert canvas.x0 - 1 <= box.x0
            assert box.x1 <= canvas.x1 + 1
            assert canvas.y0 - 1 <= box.y0
            assert box.y1 <= canvas.y1 + 1


def _rows_of_labels(figure: Figure) -> Iterator[list[Any]]:
    for legend in figure.legends:
        yield legend.get_texts()
    for axes in figure.axes:
        shown = [
            low <= tick <= high
            for tick in axes.get_xticks()
            for low, high in [sorted(axes.get_xlim())]
        ]
        yield [label for label, there in zip(axes.get_xticklabels(), shown) if there]  # noqa: B905
        yield [axes.yaxis.label]
        yield list(axes.texts)


@pytest.mark.parametrize("name", NAMES)
def test_without_results_a_figure_says_what_is_missing(name: str) -> None:
    module = discovery.load("memdt.figures", name)
    empty = pd.DataFrame()
    given = inputs(name, episodes=empty, curves=empty, attention=(), recordings=())
    with pytest.raises(UserError, match=f"{name}.*there are no .* to draw.*run its experiments"):
        module.data(given)


@pytest.mark.parametrize("name", NAMES)
def test_a_misspelt_option_is_refused_with_its_location(name: str) -> None:
    module = discovery.load("memdt.figures", name)
    with pytest.raises(UserError, match=f"figures.yaml: {name}.options.*variantz.*unknown key"):
        module.data(inputs(name, {"variantz": 1}))


# ---- lines -----------------------------------------------------------------------------------


def test_a_point_is_the_mean_over_seeds_with_its_interval() -> None:
    frame = data_of("success_against_segments")
    point = frame[(frame["series"] == "short") & (frame["x"] == 5)]
    mean = point[point["source"] == "reproduced"].iloc[0]
    expected = interval([0.6, 0.7, 0.8], bounds=(0.0, 1.0))
    assert [mean["value"], mean["low"], mean["high"]] == pytest.approx(
        [0.7, expected.low, expected.high]
    )
    assert mean["seeds"] == 3
    seeds = point[point["source"] == "seed"]
    assert seeds[["seed", "value"]].to_numpy().tolist() == [[0, 0.6], [1, 0.7], [2, 0.8]]


def test_only_the_published_condition_and_only_known_variants_are_shown() -> None:
    frame = data_of("success_against_segments")
    assert set(frame["series"]) == {"short", "long"}
    printed = frame[frame["source"] == "published"]
    assert printed[["series", "x", "value"]].to_numpy().tolist() == [["short", 2, 0.9]]


def test_the_trained_length_is_marked_once_a_line() -> None:
    frame = data_of("success_against_segments")
    marks = frame[frame["source"] == "trained"]
    assert marks[["series", "x"]].to_numpy().tolist() == [["short", 3.0], ["long", 9.0]]


def test_variants_with_one_label_share_a_colour_across_panels() -> None:
    frame = data_of(
        "success_against_segments",
        {
            "panels": {"one": ["short"], "two": ["long"]},
            "labels": {"short": "same", "long": "same"},
            "published": False,
        },
    )
    assert list(dict.fromkeys(frame["panel"])) == ["one", "two"]
    assert set(frame["series"]) == {"same"}


@pytest.mark.parametrize(("panels", "columns"), [(4, 1), (5, 2), (6, 2)])
def test_more_than_four_panels_stand_in_two_columns(panels: int, columns: int) -> None:
    options = {"panels": {f"panel {number}": ["short"] for number in range(panels)}}
    axes = drawn(inputs("success_against_segments", options)).axes
    assert [one.get_title("left") for one in axes] == list(options["panels"])
    assert len({round(one.get_position().x0, 6) for one in axes}) == columns
    named = [one.get_title("left") for one in axes if one.get_xlabel()]
    assert named == list(options["panels"])[-columns:]
    shown = [any(label.get_visible() for label in one.get_xticklabels()) for one in axes]
    assert [one.get_title("left") for one, there in zip(axes, shown, strict=True) if there] == named


def test_memory_edits_has_a_panel_a_variant_and_a_line_a_condition() -> None:
    frame = data_of("memory_edits", {"published": False, "labels": {"noise": "white noise"}})
    assert set(frame["panel"]) == {"short", "long"}
    assert set(frame["series"]) == {"as published", "white noise"}


def test_extrapolation_counts_in_steps() -> None:
    frame = data_of("extrapolation", {"published": False})
    shown = frame[(frame["source"] == "reproduced") & (frame["series"] == "short")]
    assert shown["x"].tolist() == [30 * segments for segments in SEGMENTS]
    marks = frame[frame["source"] == "trained"]
    assert marks["x"].tolist() == [90, 270]


def test_token_count_puts_the_setting_on_the_axis() -> None:
    frame = data_of("token_count", {"published": False})
    line = frame[(frame["series"] == "5 segments") & (frame["source"] == "reproduced")]
    assert line["x"].tolist() == [5, 15]
    assert "1 segment" in set(frame["series"])
    with pytest.raises(UserError, match="no setting 'model.tokens'.*model.memory_tokens"):
        data_of("token_count", {"published": False, "setting": "model.tokens"})


def test_a_performance_profile_is_over_the_same_sets() -> None:
    """Seeds have 0.6, 0.7 and 0.8 in both sets; the one that b lacks would add an eighth of 0."""
    played = episodes(("maze-a", "maze-b", "hall-a", "hall-b"), ("as_published",))
    played = played[played["segments"] == 1]
    alone = episodes(("attic-a",), ("as_published",)).assign(success=0)
    given = pd.concat([played, alone[alone["segments"] == 1]])
    frame = data_of("performance_profile", {"points": 3}, episodes=given)
    assert frame["series"].tolist() == ["a"] * 3 + ["b"] * 3
    assert frame["x"].tolist() == pytest.approx([0.6, 0.7, 0.8] * 2)
    assert frame["value"].tolist() == pytest.approx([2 / 3, 1 / 3, 0] * 2)
    assert (frame["low"] <= frame["value"]).all()
    assert (frame["high"] >= frame["value"]).all()


def test_a_method_without_the_common_sets_is_left_out() -> None:
    played = episodes(("maze-a", "hall-a", "maze-b", "hall-b", "attic-c"), ("as_published",))
    frame = data_of("performance_profile", {"points": 2}, episodes=played)
    assert set(frame["series"]) == {"a", "b"}


def test_scores_stand_by_set_and_method() -> None:
    played = episodes(("maze-a", "maze-b", "hall-a"), ("as_published", "noise"))
    options = {"labels": {"maze": "the maze"}, "reference": {}}
    frame = data_of("scores_by_set", options, episodes=played[played["segments"] == 1])
    assert set(frame["panel"]) == {"the maze", "hall"}
    hall = frame[frame["panel"] == "hall"]
    assert hall["series"].tolist() == ["a"] * 4  # the mean, then three seeds
    assert hall["value"].tolist() == pytest.approx([0.7, 0.6, 0.7, 0.8])
    assert hall["seeds"].tolist()[0] == 3


def test_returns_of_the_data_stand_beside_those_of_the_policies() -> None:
    played = episodes(
        ("maze-random", "maze-rate", "maze-dt", "hall-rate"), ("as_published", "noise")
    )
    played = played.assign(**{"return": played["return"] + (played["variant"] == "maze-dt")})
    learnt = {("maze", name): np.array([0.0, 1.0, 2.0, 3.0, 8.0]) for name in ("maze-rate",)}
    frame = data_of("return_distributions", episodes=played, dataset_returns=learnt)
    rows = frame.set_index(["panel", "series"])
    assert rows.index.tolist() == [
        ("maze", "data"), ("maze", "random"), ("maze", "rate"), ("maze", "dt"), ("hall", "rate"),
    ]  # fmt: skip
    quantiles = ["least", "lower_quarter", "median", "upper_quarter", "most", "episodes"]
    assert rows.loc[("maze", "data"), quantiles].tolist() == [0, 1, 2, 3, 8, 5]
    assert rows.loc[("maze", "dt"), quantiles].tolist() == [1, 1, 2, 2, 2, 30 * len(SEGMENTS)]


# ---- training curves -------------------------------------------------------------------------


def test_training_curves_count_updates_through_all_stages() -> None:
    frame = data_of("training_curves")
    one = frame[(frame["variant"] == "short") & (frame["seed"] == 1)]
    assert one["update"].tolist() == [1, 2, 3, 4, 5, 6]
    assert one["stage"].tolist() == [1, 1, 1, 1, 2, 2]
    assert one["loss"].tolist() == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 2, 1 / 4])


def test_long_curves_are_averaged_to_the_points_asked_for() -> None:
    frame = data_of("training_curves", {"points": 2})
    one = frame[(frame["variant"] == "long") & (frame["seed"] == 0)]
    assert one["update"].tolist() == [2, 4, 5, 6]  # each point at the last update it stands for
    assert one["loss"].tolist() == pytest.approx([3 / 4, 7 / 24, 1 / 2, 1 / 4])


def test_variants_share_a_row_only_where_their_stages_end_together() -> None:
    other = curves()
    other = other[(other["variant"] == "short") | (other["stage"] == 1)]
    assert len(drawn(inputs("training_curves")).axes) == 2
    assert len(drawn(inputs("training_curves", curves=other)).axes) == 4


# ---- the driver ------------------------------------------------------------------------------


def test_an_unknown_figure_is_refused_with_the_closest_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = FigureSettings(module="extrapolation", title="", caption="", experiments=("maze",))
    monkeypatch.setattr("memdt.figures.drawing.figures", lambda: {"far_beyond": settings})
    with pytest.raises(UserError, match="unknown figure 'far_beyont'.*did you mean 'far_beyond'"):
        draw_figure("far_beyont", "tiny")


def test_training_curves_of_continuous_actions_have_no_accuracy() -> None:
    both = drawn(inputs("training_curves")).axes
    alone = drawn(inputs("training_curves", curves=curves().assign(accuracy=np.nan))).axes
    assert len(alone) == 1
    assert len(both) == 2
    assert alone[0].get_yscale() == "log"  # the loss
    assert alone[0].get_legend() is not None
