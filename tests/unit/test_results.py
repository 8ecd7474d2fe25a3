"""What the runs wrote is gathered whole, or refused; absent runs are absent."""

from __future__ import annotations

import json
import math
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from memdt import paths
from memdt.errors import UserError
from memdt.evaluation.recordings import Recording, write_recording
from memdt.files import sha256
from memdt.provenance import FORMAT
from memdt.results.results import (
    load_curves,
    load_episodes,
    load_manifests,
    measures_in,
    per_seed,
)

CURVE = "stage,update,segments,loss,accuracy,learning_rate,gradient_norm\n"
EPISODES = "condition,segments,episode,environment_seed,return,steps,success,group\n"
ROWS = "as_published,1,0,17,1.0,29,1,all\nas_published,1,1,18,0.0,30,0,all\n"


def put(root: Path, variant: str, seed: int, text: str) -> Path:
    path = root / paths.episodes("quick", "task", variant, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


ONE = {"format": FORMAT, "seed": 0}  # the least manifest


def put_stage(root: Path, stage: int, curve: str, manifest: object) -> None:
    folder = root / paths.stage("quick", "task", "rate", 0, stage)
    folder.mkdir(parents=True)
    (folder / "curve.csv").write_text(CURVE + curve, encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_episodes_carry_the_names_of_their_run(tmp_path):
    put(tmp_path, "rate", 0, EPISODES + ROWS)
    put(tmp_path, "rate", 10, EPISODES + ROWS)
    put(tmp_path, "dt", 2, EPISODES + ROWS)
    frame = load_episodes("quick", "task", ["rate", "dt"], tmp_path)
    assert list(frame.columns) == ["experiment", "variant", "seed", *EPISODES.strip().split(",")]
    runs = frame[["variant", "seed"]].drop_duplicates().itertuples(index=False, name=None)
    assert list(runs) == [("rate", 0), ("rate", 10), ("dt", 2)]
    assert len(frame) == 6
    assert set(frame["experiment"]) == {"task"}


def test_only_the_seeds_asked_for_are_read_and_absent_runs_are_absent(tmp_path):
    put(tmp_path, "rate", 0, EPISODES + ROWS)
    put(tmp_path, "rate", 7, "left over from another scale")
    frame = load_episodes("quick", "task", {"rate": [0, 1], "dt": [0]}, tmp_path)
    assert set(frame["seed"]) == {0}


def test_nothing_run_gives_an_empty_frame_with_all_columns(tmp_path):
    frame = load_episodes("quick", "task", ["rate"], tmp_path)
    assert frame.empty
    without_outcomes = EPISODES.strip().replace(",success", "").split(",")
    assert list(frame.columns) == ["experiment", "variant", "seed", *without_outcomes]
    assert per_seed(frame, "success").empty


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "truncated"),
        (EPISODES + ROWS[:-1], "truncated"),
        (EPISODES + ROWS + "as_published,1,2\n", "missing"),
        (EPISODES, "no rows"),
        ("loss,accuracy\n1,2\n", "expected the columns"),
        (EPISODES.replace("steps,success", "success,steps") + ROWS, "expected the columns"),
        (EPISODES + ROWS.replace("\n", ",9\n"), "expected the columns"),
        (EPISODES + ROWS + "as_published,1,2,19,1.0,29,1,all,5\n", "no table"),
        (EPISODES.replace("\n", ",tics\n") + ROWS.replace("\n", ",many\n"), "no number"),
        (EPISODES.replace("\n", ",tics\n") + ROWS, "missing"),
        (EPISODES + ROWS.replace("29", "many"), "no number"),
        (EPISODES + ROWS.replace(",1,all", ",0.5,all"), "0 or 1"),
        (EPISODES + ROWS + ROWS, "twice"),
    ],
)
def test_a_broken_or_foreign_file_is_refused_with_its_path(tmp_path, text, message):
    path = put(tmp_path, "rate", 0, text)
    with pytest.raises(UserError, match=message) as caught:
        load_episodes("quick", "task", ["rate"], tmp_path)
    assert str(path) in str(caught.value)
    assert "snakemake" in caught.value.remedy


def test_per_seed_is_the_naive_mean_over_episodes():
    rows = [
        ("task", variant, "as_published", segments, seed, float(success))
        for variant in ("rate", "dt")
        for seed in (3, 0)
        for segments in (2, 1)
        for success in ([1, 1, 0, 0, 0] if variant == "dt" and seed == 0 else [1, 1, 1, 0])
    ]
    names = ["experiment", "variant", "condition", "segments", "seed", "success"]
    frame = pd.DataFrame(rows, columns=names).sample(frac=1, random_state=0)
    frame = frame.sort_values("variant", ascending=False, kind="stable")
    means = per_seed(frame, "success")
    assert list(means["variant"].drop_duplicates()) == ["rate", "dt"]  # first appearance
    for cell in means.itertuples():
        chosen = [row[5] for row in rows if row[:5] == tuple(cell)[1:6]]
        assert cell.value == pytest.approx(sum(chosen) / len(chosen))
        assert cell.episodes == len(chosen)
    assert means.groupby(["variant", "segments"])["seed"].apply(list).tolist() == [[0, 3]] * 4


def test_what_an_environment_measures_comes_after_the_columns_of_all(tmp_path):
    header = EPISODES.replace("\n", ",tics,right_items\n")
    put(tmp_path, "rate", 0, header + "as_published,1,0,17,1.0,29,1,red,58,3\n")
    put(tmp_path, "dt", 0, header + "as_published,1,0,17,1.0,29,1,red,60,2\n")
    frame = load_episodes("quick", "task", ["rate", "dt"], tmp_path)
    assert list(frame.columns[-3:]) == ["group", "tics", "right_items"]
    assert measures_in(frame) == ["tics", "right_items"]
    assert per_seed(frame, "tics")["value"].tolist() == [58, 60]


LATE = "share of right_items against wrong_items after step 3"


def put_counted(root: Path, lengths: tuple[int, int] = (5, 2)) -> None:
    """Two of three episodes are recorded: right items in steps 0, 3 and 4, and in 0 and 1."""
    header = EPISODES.replace("\n", ",right_items,wrong_items\n")
    rows = ["1,0,17,1.0,3,1,red,1,0", "2,0,17,1.0,5,1,red,3,2", "2,1,18,1.0,2,1,green,2,0",
            "2,2,19,1.0,4,1,red,4,0"]  # fmt: skip
    path = put(root, "rate", 0, header + "".join(f"as_published,{row}\n" for row in rows))
    right = [[0, 0], [1, 1], [1, 2], [1, 2], [2, 2], [3, 2]]
    wrong = [[0, 0], [0, 0], [1, 0], [1, 0], [1, 0], [2, 0]]
    write_recording(
        Recording(
            seeds=np.array([17, 18]),
            groups=np.array(["red", "green"]),
            lengths=np.array(lengths),
            measure_names=np.array(["right_items", "wrong_items"]),
            measures=np.stack([np.array(right), np.array(wrong)], axis=2),
            actions=np.zeros((5, 2), int),
            returns_to_go=np.zeros((5, 2)),
            memory=np.zeros((1, 2, 0)),
            segment_length=np.array(3),
            hint=np.array([0, 1]),
            filmed=np.array([], int),
            film_every=np.array(1),
            frame_bytes=np.zeros((0, 5), int),
            frames=np.array([], np.uint8),
        ),
        path.with_name("recording.npz"),
    )


def test_what_comes_after_a_step_is_counted_in_the_episodes_that_were_recorded(tmp_path):
    put_counted(tmp_path)
    metrics = (LATE, "right_items (red) after step 1", "right_items after step 9", "return")
    frame = load_episodes("quick", "task", ["rate"], tmp_path, metrics)
    longest = frame[frame["segments"] == 2]
    assert longest["right_items after step 3"].tolist() == pytest.approx([2, 0, nan], nan_ok=True)
    assert frame.loc[frame["segments"] == 1, "right_items after step 3"].isna().all()
    means = [per_seed(frame, metric) for metric in metrics]
    assert [len(one) for one in means] == [1, 1, 1, 2]
    assert [one["value"].iloc[0] for one in means[:3]] == pytest.approx([2 / 3, 2.0, 0.0])
    assert [one["episodes"].iloc[0] for one in means[:3]] == [2, 1, 2]


def test_without_a_recording_nothing_is_known_of_what_comes_after_a_step(tmp_path):
    put_counted(tmp_path)
    (tmp_path / paths.recording("quick", "task", "rate", 0)).unlink()
    frame = load_episodes("quick", "task", ["rate"], tmp_path, [LATE])
    assert per_seed(frame, LATE).empty
    assert len(per_seed(frame, "right_items")) == 2


def test_the_recording_of_other_episodes_is_refused(tmp_path):
    put_counted(tmp_path, lengths=(5, 3))
    with pytest.raises(UserError, match=r"other episodes.*snakemake .*recording.npz --force"):
        load_episodes("quick", "task", ["rate"], tmp_path, [LATE])


# Seed 0: red 10 and 20, green 2 and 4. Seed 1: red 7, green 9.
GROUPED = pd.DataFrame(
    [
        ("task", "rate", "as_published", 1, seed, group, value, right, wrong)
        for seed, group, value, right, wrong in (
            (0, "red", 10.0, 3, 1), (0, "red", 20.0, 5, 0), (0, "green", 2.0, 1, 2),
            (0, "green", 4.0, 0, 0), (1, "red", 7.0, 0, 0), (1, "green", 9.0, 0, 0),
        )
    ],
    columns=[
        "experiment", "variant", "condition", "segments", "seed", "group", "return",
        "right_items", "wrong_items",
    ],
)  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("return", [9.0, 8.0]),
        ("return (red)", [15.0, 7.0]),
        ("return (green)", [3.0, 9.0]),
        ("return imbalance", [12.0, 2.0]),
        ("share of right_items against wrong_items", [9 / 12, math.nan]),
        ("share of right_items against wrong_items (green)", [1 / 3, math.nan]),
        ("share of right_items against wrong_items imbalance", [8 / 9 - 1 / 3, math.nan]),
    ],
)
def test_metrics_of_groups_and_shares_by_hand(metric, values):
    means = per_seed(GROUPED, metric)
    assert means["seed"].tolist() == [0, 1]
    assert means["value"].tolist() == pytest.approx(values, nan_ok=True)
    assert means["episodes"].tolist() == ([2, 1] if "(" in metric else [4, 2])


def test_a_seed_that_lacks_a_group_has_no_imbalance():
    lacking = GROUPED[(GROUPED["seed"] == 0) | (GROUPED["group"] == "red")]
    values = per_seed(lacking, "return imbalance")["value"].tolist()
    assert values == pytest.approx([12.0, math.nan], nan_ok=True)


def test_episodes_of_an_environment_that_does_not_measure_it_are_left_out():
    other = pd.DataFrame({**GROUPED.iloc[0].to_dict(), "experiment": "maze"}, index=[0])
    both = pd.concat([other.drop(columns=["right_items", "wrong_items"]), GROUPED])
    assert set(per_seed(both, "right_items")["experiment"]) == {"task"}
    assert set(per_seed(both, "return")["experiment"]) == {"task", "maze"}


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("sucess", "unknown metric 'sucess'.*did you mean 'success'"),
        ("tics", "unknown metric 'tics'.*allowed: return, right_items"),
        ("return (rad)", "no group 'rad'.*did you mean 'red'"),
        ("return (red", "unknown metric.*write it like"),
        ("share of right_items against lives", "no 'lives'.*allowed"),
        ("tic after step 90", "no 'tic'.*did you mean 'tics'"),
        ("return after step 90", "no .return."),  # only counts are recorded at every step
        ("right_items after step 0", "unknown metric.*write it like"),
        ("episode", "unknown metric"),
    ],
)
def test_an_unknown_metric_is_refused_in_one_line(metric, message):
    with pytest.raises(UserError, match=message):
        per_seed(GROUPED, metric)


def test_one_group_has_no_imbalance():
    with pytest.raises(UserError, match="only one group"):
        per_seed(GROUPED[GROUPED["group"] == "red"], "return imbalance")


def test_curves_of_all_stages_in_order(tmp_path):
    for stage in (1, 2, 10):
        put_stage(tmp_path, stage, f"{stage},100,{stage},0.5,0.9,0.001,1.0\n", ONE)
    put_stage(tmp_path, 11, "11,100,11,nan,0.1,0.001,1.0\n", ONE)  # diverged
    curves = load_curves("quick", "task", {"rate": [0]}, tmp_path)
    assert list(curves["stage"]) == [1, 2, 10, 11]
    assert curves["loss"].isna().tolist() == [False, False, False, True]
    assert list(curves.columns) == ["experiment", "variant", "seed", *CURVE.strip().split(",")]


def test_a_curve_without_its_update_is_refused(tmp_path):
    put_stage(tmp_path, 1, "1,,1,0.5,0.9,0.001,1.0\n", {"seed": 0})
    with pytest.raises(UserError, match="missing"):
        load_curves("quick", "task", ["rate"], tmp_path)


def described(path: Path, manifest: str) -> None:
    content = ONE | {"files": {path.name: sha256(path)}}
    path.with_name(manifest).write_text(json.dumps(content), encoding="utf-8")


def test_files_that_are_not_what_their_manifest_says_are_refused(tmp_path):
    """A flipped column would give another success rate."""
    put(tmp_path, "rate", 0, EPISODES + ROWS)
    put_stage(tmp_path, 1, "1,1,1,0.5,0.9,0.001,1.0\n", ONE)
    run = tmp_path / paths.run("quick", "task", "rate", 0)
    cases = {
        "episodes.csv": ("evaluation_manifest.json", load_episodes, ",1,", ",0,"),
        "stage_1/curve.csv": ("manifest.json", load_curves, "0.5", "0.4"),
    }
    for name, (manifest, load, old, new) in cases.items():
        path = run / name
        described(path, manifest)
        assert len(load("quick", "task", ["rate"], tmp_path))
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        with pytest.raises(UserError, match=f"not what {manifest} says -> .*{path} --force"):
            load("quick", "task", ["rate"], tmp_path)


def test_manifests_are_one_row_a_job_and_keep_nested_values(tmp_path):
    content = {"format": FORMAT, "seed": 0, "settings": {"model": "rate"}}
    for stage in (1, 2):
        put_stage(tmp_path, stage, "", {**content, "stage": stage})
    evaluation = tmp_path / paths.run("quick", "task", "rate", 0) / "evaluation_manifest.json"
    evaluation.write_text(json.dumps(content), encoding="utf-8")
    frame = load_manifests("quick", "task", ["rate"], tmp_path)
    assert list(frame["step"]) == ["training", "training", "evaluation"]
    assert list(frame["stage"])[:2] == [1, 2]
    assert frame.loc[2, "path"] == str(evaluation)
    assert frame.loc[0, "settings"] == {"model": "rate"}
    assert load_manifests("quick", "task", ["dt"], tmp_path).empty


@pytest.mark.parametrize(
    "content", ['{"seed": 0, ', "[1, 2]", f'{{"format": "{FORMAT}", "seed": 1}}', "{}", "\0\0"]
)
def test_a_broken_or_foreign_manifest_is_refused(tmp_path, content):
    put_stage(tmp_path, 1, "", {})
    path = tmp_path / paths.stage("quick", "task", "rate", 0, 1) / "manifest.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=f"manifest.*snakemake {path} --force"):
        load_manifests("quick", "task", ["rate"], tmp_path)


@pytest.mark.parametrize("content", [b"\x80\x02PK binary\n", b"\0" * 64, b'"never closed\n'])
@pytest.mark.parametrize("name", ["episodes.csv", "stage_1/curve.csv"])
def test_bytes_that_are_no_text_are_refused_in_one_line(tmp_path, name, content):
    put_stage(tmp_path, 1, "1,1,1,0.5,0.9,0.001,1.0\n", {})
    path = tmp_path / paths.run("quick", "task", "rate", 0) / name
    path.write_bytes(content)
    load = load_episodes if name == "episodes.csv" else load_curves
    with pytest.raises(UserError, match=f"snakemake {path} --force") as caught:
        load("quick", "task", ["rate"], tmp_path)
    assert "\n" not in str(caught.value)
