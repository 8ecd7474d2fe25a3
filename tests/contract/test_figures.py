"""Every figure, found by its file name: drawn from made-up results, its data checked by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from memdt import discovery
from memdt.errors import UserError
from memdt.evaluation.record import compressed
from memdt.evaluation.recordings import Recording
from memdt.figures import films, style
from memdt.figures.attention_map import Block, Layout
from memdt.figures.interface import AttentionRecord, Clip, FigureInputs, RecordedRun, VariantFacts
from memdt.reporting import clips
from memdt.reporting.figures import draw_figure, read_attention, write
from memdt.reporting.published import Cell
from memdt.settings.schema import FigureSettings

NAMES = discovery.names("memdt.figures")
SEGMENTS = (1, 2, 3, 5, 9, 12, 30, 100)
# Successes of 10 episodes under seeds 0, 1, 2: means 0.6, 0.7, 0.8, standard deviation 0.1, so the
# 95 % interval is 0.7 ± 4.302653 · 0.1 / √3.
SUCCESSES = (6, 7, 8)
REACH = 4.302653 * 0.1 / 3**0.5


def episodes(
    variants: tuple[str, ...] = ("short", "long"),
    conditions: tuple[str, ...] = ("as_published", "noise"),
) -> pd.DataFrame:
    cases = itertools.product(variants, enumerate(SUCCESSES), conditions, SEGMENTS, range(10))
    return pd.DataFrame(
        {
            "experiment": "maze",
            "variant": variant,
            "seed": seed,
            "condition": condition,
            "segments": segments,
            "episode": episode,
            "environment_seed": episode,
            "return": float(episode < good),
            "steps": 30 * segments,
            "success": int(episode < good),
        }
        for variant, (seed, good), condition, segments, episode in cases
    )


def curves() -> pd.DataFrame:
    """Two seeds, stages of 4 and 2 updates, a row each."""
    cases = itertools.product(
        ("short", "long"), (0, 1), ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2))
    )
    return pd.DataFrame(
        {
            "experiment": "maze",
            "variant": variant,
            "seed": seed,
            "stage": stage,
            "update": update,
            "segments": stage,
            "loss": 1.0 / (stage * update),
            "accuracy": 0.2 * update,
            "learning_rate": 0.1,
            "gradient_norm": 1.0,
        }
        for variant, seed, (stage, update) in cases
    )


def attention(seed: int = 0) -> AttentionRecord:
    """Two segments of two steps, two layers, two heads, 1 memory token, 2 cached states."""
    weights = np.zeros((2, 2, 2, 8, 10), dtype=np.float32)
    weights[..., 0] = 0.1
    weights[1, 0, 0, 5, 7] = 0.75
    weights[1, 0, 1, 5, 7] = 0.25
    return AttentionRecord("maze", "short", seed, weights, 1, 2, 2, 0, 1, 3)


# Twelve episodes, six of each group: 0, 2, ... are red. Segments of 4 steps; the hint is seen in
# steps 0 to 2. Whoever is not dead takes an item at every odd step: right ones up to step 12, from
# then on wrong ones. Episode e of a long run ends after 20 steps, of a short one after 9.
LENGTHS = {"short": 9, "long": 20}


def recording(variant: str = "long", seed: int = 0) -> RecordedRun:
    """Its memory is the group's sign at every border, turned round from the third border on."""
    length, episodes = LENGTHS[variant], np.arange(12)
    groups = np.where(episodes % 2, "green", "red")
    times = np.arange(length)
    gains = np.stack([(times % 2) * (times < 12), (times % 2) * (times >= 12)], axis=1)
    counts = np.concatenate([np.zeros((1, 2), int), gains.cumsum(axis=0)])
    signs = np.where(groups == "red", 1.0, -1.0)
    drawn = np.random.default_rng(seed)
    memory = np.stack(
        [
            np.stack([sign * signs, drawn.normal(size=12)], axis=1)
            for sign in (1, 1, -1, -1)[: (length - 1) // 4]
        ]
    )
    images = [picture(episode, step) for episode in (0, 1) for step in range(0, length, 3)]
    return RecordedRun(
        "maze", variant, seed,
        Recording(
            seeds=episodes,
            groups=groups,
            lengths=np.full(12, length),
            measure_names=np.array(["right_items", "wrong_items"]),
            measures=np.repeat(counts[:, None], 12, axis=1),
            actions=np.zeros((length, 12), int),
            returns_to_go=np.zeros((length, 12)),
            memory=memory,
            segment_length=np.array(4),
            hint=np.array([0, 3]),
            filmed=np.array([0, 1]),
            film_every=np.array(3),
            frame_bytes=np.array([len(image) for image in images]).reshape(2, -1),
            frames=np.frombuffer(b"".join(images), np.uint8),
        ),
    )  # fmt: skip


def picture(episode: int, step: int) -> bytes:
    """Brighter with every step, redder or greener by the episode."""
    shade = np.zeros((36, 64, 3), np.uint8)
    shade[..., episode] = 60 + 8 * step
    return compressed(shade)


def published(variant: str, segments: int, mean: float) -> Cell:
    return Cell(
        paper="rate", version="1", item="Table 2", page="6", experiment="maze", variant=variant,
        condition="as_published", segments=segments, metric="success", unit="rate", mean=mean,
        spread=0.01, spread_kind="sem", seeds=10, episodes=100, margin=0.05, in_scope=True, note="",
    )  # fmt: skip


CHOICES = {"right": "right_items", "wrong": "wrong_items"}
CHOSEN = {"choices_over_time": CHOICES, "film_strip": CHOICES}


def inputs(name: str, options: dict[str, Any] | None = None, **changes: Any) -> FigureInputs:
    settings = FigureSettings(
        module=name,
        title="Title",
        caption="Caption",
        experiments=("maze",),
        options=CHOSEN.get(name, {}) | (options or {}),
    )
    facts = {
        ("maze", "short"): VariantFacts(3, 30, {"model.memory_tokens": 5}),
        ("maze", "long"): VariantFacts(9, 30, {"model.memory_tokens": 15}),
    }
    given: dict[str, Any] = {
        "episodes": episodes(),
        "curves": curves(),
        "attention": (attention(),),
        "recordings": tuple(recording(v, s) for v in LENGTHS for s in (0, 1, 2)),
        "published": (published("short", 2, 0.9), published("elsewhere", 2, 0.1)),
        "facts": facts,
    }
    return FigureInputs(name, settings, **{**given, **changes})


def drawn(given: FigureInputs) -> Figure:
    module = discovery.load("memdt.figures", given.name)
    with mpl.rc_context(style.settings(given.name)):
        figure = module.draw(module.data(given), given)
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
    return figure


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
def test_a_misspelt_option_is_told_with_its_place(name: str) -> None:
    module = discovery.load("memdt.figures", name)
    with pytest.raises(UserError, match=f"figures.yaml: {name}.options.*variantz.*unknown key"):
        module.data(inputs(name, {"variantz": 1}))


# ---- lines -----------------------------------------------------------------------------------


def data_of(name: str, options: dict[str, Any] | None = None, **changes: Any) -> pd.DataFrame:
    frame: pd.DataFrame = discovery.load("memdt.figures", name).data(
        inputs(name, options, **changes)
    )
    return frame


def test_a_point_is_the_mean_over_seeds_with_its_interval() -> None:
    frame = data_of("success_against_segments")
    point = frame[(frame["series"] == "short") & (frame["x"] == 5)]
    mean = point[point["source"] == "reproduced"].iloc[0]
    assert [mean["value"], mean["low"], mean["high"]] == pytest.approx(
        [0.7, 0.7 - REACH, 0.7 + REACH]
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


# ---- recorded episodes -----------------------------------------------------------------------


def test_choices_are_counted_in_pieces_of_time_by_group() -> None:
    """Pieces of 4 steps; two items in each, right ones up to step 12."""
    frame = data_of("choices_over_time", {"segments": 1})
    assert list(dict.fromkeys(frame["panel"])) == ["all episodes", "green", "red"]
    long = frame[(frame["series"] == "long") & (frame["source"] == "reproduced")]
    for panel, episodes in (("all episodes", 12), ("red", 6)):
        one = long[long["panel"] == panel]
        assert one["x"].tolist() == [2, 6, 10, 14, 18]
        assert one["value"].tolist() == [1, 1, 1, 0, 0]
        assert set(one["choices"]) == {3 * episodes * 2}
        assert set(one["seeds"]) == {3}
    marks = frame[frame["source"].isin(["hint", "trained"])]
    assert marks.groupby("panel")["x"].apply(sorted).tolist() == [[3, 90, 270]] * 3


def test_pieces_in_which_too_little_was_chosen_are_left_out() -> None:
    frame = data_of("choices_over_time", {"segments": 1, "fewest": 13, "trained": False})
    shown = frame[frame["source"] == "reproduced"]
    assert set(shown["panel"]) == {"all episodes"}  # 24 items in a piece, 12 in one of a group


@pytest.mark.parametrize(
    ("name", "told"),
    [("choices_over_time", "nobody has made 999 choices"), ("memory_probe", "nowhere do 5 record")],
)
def test_too_little_to_show_is_said_and_no_error(name: str, told: str) -> None:
    run = recording()
    fewer = run.recording
    fewer = replace(fewer, groups=np.full(12, "all"))
    given = inputs(
        name,
        {"fewest": 999} if name == "choices_over_time" else {},
        recordings=(replace(run, recording=fewer),),
    )
    assert discovery.load("memdt.figures", name).data(given).empty
    assert told in [text.get_text() for text in drawn(given).texts][0]


def test_forgetting_begins_with_the_first_wrong_choice_before_a_majority_of_them() -> None:
    assert films.forgotten([10, 20, 30], [], 0, window=5, fewest=3) is None
    assert films.forgotten([10, 20, 30], [40, 50, 60, 70], 0, window=5, fewest=3) == 40
    # 20 wrong, then three right: no majority; from 60 on three of four.
    assert films.forgotten([30, 40, 50, 80], [20, 60, 70, 90], 0, window=5, fewest=3) == 60
    assert films.forgotten([], [10, 20], 0, window=5, fewest=3) is None  # too few to say
    # Wrong choices while the hint is seen are no forgetting.
    assert films.forgotten([40, 50, 60], [10, 20, 30], 35, window=5, fewest=3) is None
    assert films.forgotten([30], [10, 20, 40, 50], 15, window=3, fewest=3) == 20


def test_moments_are_the_start_what_is_told_and_then_evenly_spread() -> None:
    steps = range(0, 101, 10)
    assert films.moments(steps, [45], 4) == [0, 20, 50, 100]
    assert films.moments(steps, [], 3) == [0, 50, 100]
    assert films.moments(steps, [12, 33], 3) == [0, 20, 40]
    assert films.moments([0, 10], [90], 6) == [0, 10]


def test_a_film_strip_holds_what_happened_in_one_episode_of_each_variant() -> None:
    frame = data_of("film_strip", {"group": "green", "frames": 4})
    assert frame[
        ["variant", "seed", "group", "environment_seed"]
    ].drop_duplicates().to_numpy().tolist() == [["short", 0, "green", 1], ["long", 0, "green", 1]]
    long = frame[frame["film"] == 1].groupby("kind")["step"].apply(list)
    assert long["hint"] == [3]
    assert long["right"] == [1, 3, 5, 7, 9, 11]
    assert long["wrong"] == [13, 15, 17, 19]
    assert long["forgotten"] == [13]
    assert long["end"] == [20]
    assert long["frame"] == [0, 3, 9, 15]
    assert "forgotten" not in set(frame.loc[frame["film"] == 0, "kind"])


def test_a_strip_shows_the_frames_that_its_data_name() -> None:
    axes = drawn(inputs("film_strip", {"variants": ["long"], "frames": 4})).axes
    pictures = [one for one in axes if one.images]
    assert [one.texts[0].get_text() for one in pictures] == ["0", "3", "9", "15"]
    red = [float(np.asarray(one.images[0].get_array())[..., 0].mean()) for one in pictures]
    assert red == pytest.approx([60, 84, 132, 180], abs=4)


def test_a_strip_of_an_environment_without_hint_has_no_words_for_it() -> None:
    run = recording("short")
    plain = (replace(run, recording=replace(run.recording, hint=np.array([0, 0]))),)
    options = {"right": None, "wrong": None, "success": "right_items"}
    given = inputs("film_strip", options, recordings=plain)
    module = discovery.load("memdt.figures", "film_strip")
    assert set(module.data(given)["kind"]) == {"frame", "success", "end"}
    words = [text.get_text() for text in drawn(given).legends[0].get_texts()]
    assert words == ["frame", "end of the episode"]
    assert len(module.clip(module.data(given), given).frames) > 1


def test_a_strip_without_frames_says_so() -> None:
    run = recording()
    empty = replace(run.recording, frame_bytes=np.zeros((2, 7), int), frames=np.zeros(0, np.uint8))
    with pytest.raises(UserError, match="there are no filmed episodes to draw"):
        data_of("film_strip", recordings=(replace(run, recording=empty),))


def test_without_choices_a_film_shows_frames_steps_and_success() -> None:
    """Short runs end before step 13, at which what counts as success here is counted first."""
    options = {"right": None, "wrong": None, "success": "wrong_items"}
    frame = data_of("film_strip", options)
    kinds = frame.groupby("film")["kind"].agg(set)
    assert kinds.tolist() == [{"hint", "frame", "end"}, {"hint", "frame", "success", "end"}]
    assert frame.loc[frame["kind"] == "success", "step"].tolist() == [13]
    given = inputs("film_strip", options)
    texts = [text.get_text() for one in drawn(given).axes for text in one.texts]
    assert "no success; over after 9 steps" in texts
    assert "succeeded; over after 20 steps" in texts
    legend = [text.get_text() for text in drawn(given).legends[0].get_texts()]
    assert legend == ["hint is seen", "frame", "end of the episode"]
    assert discovery.load("memdt.figures", "film_strip").clip(frame, given).frames
    silent = drawn(inputs("film_strip", {"right": None, "wrong": None}))
    assert "over after 9 steps" in [text.get_text() for one in silent.axes for text in one.texts]


def test_what_is_told_of_a_film_is_what_has_happened_before() -> None:
    frame = data_of("film_strip", {"success": "right_items"})
    long = frame[frame["film"] == 1]
    options = films.Options(**CHOICES, success="right_items")
    assert films.told_until(long, 1, options) == ["0 right", "0 wrong", "no success"]
    assert films.told_until(long, 14, options) == ["6 right", "1 wrong", "succeeded"]
    assert films.told_until(long, 14, films.Options()) == []


def test_a_clip_shows_all_variants_until_the_last_one_is_over() -> None:
    given = inputs("film_strip")
    module = discovery.load("memdt.figures", "film_strip")
    found = module.clip(module.data(given), given)
    assert len(found.frames) == 7 + 1  # steps 0, 3, ..., 18 of the long run, and its end
    assert len({frame.size for frame in found.frames}) == 1
    short, long = (np.asarray(found.frames[-2])[40:60, left : left + 200, 0].mean()
                   for left in (20, 270))  # fmt: skip
    assert long > 2.5 * short  # over since step 9, so dark
    few = inputs("film_strip", {"clip_frames": 2})
    assert len(module.clip(module.data(few), few).frames) == 2 + 1


def test_a_clip_is_small_enough_in_the_same_bytes_and_plays_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, 120, 160, 3), np.uint8)
    moving = Clip([Image.fromarray(one) for one in noise], 100)
    content = clips.encoded(moving)
    assert content == clips.encoded(moving)
    with Image.open(BytesIO(content)) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (3, (160, 120), 0)
    monkeypatch.setattr(clips, "MOST_BYTES", len(content) - 1)
    assert len(clips.encoded(moving)) < len(content)


def test_only_a_figure_that_moves_has_a_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    still = FigureSettings(
        module="extrapolation", title="", caption="", experiments=("maze",), clip=True
    )
    monkeypatch.setattr("memdt.reporting.clips.figures", lambda: {"far": still})
    with pytest.raises(UserError, match="far.clip: extrapolation has no animated picture"):
        clips.make_clip("far", "tiny", Path("far.webp"))


def test_the_probe_reads_the_group_off_the_memory_until_its_code_is_turned() -> None:
    facts = {("maze", "long"): VariantFacts(3, 4)}  # training crosses two borders
    frame = data_of("memory_probe", {"variants": ["long"]}, facts=facts)
    found = frame[frame["source"] == "reproduced"].groupby("panel", sort=False)["value"]
    assert found.apply(list).tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert frame.loc[frame["source"] == "reproduced", "x"].tolist() == [4, 8, 12, 16] * 2
    assert set(frame["episodes"].dropna()) == {36}


# ---- attention -------------------------------------------------------------------------------


def test_the_layout_of_a_segment() -> None:
    """cache cache | read | R0 o0 a0 R1 o1 a1 | write: ten columns; eight rows without the cache."""
    layout = Layout.of(attention())
    assert layout.columns == [
        Block("cache", 0, 2),
        Block("read", 2, 3),
        Block("steps", 3, 9),
        Block("write", 9, 10),
    ]
    assert layout.rows == [Block("read", 0, 1), Block("steps", 1, 7), Block("write", 7, 8)]
    assert layout.token(0, cached=True) == 4
    assert layout.token(1, cached=False) == 5


def test_attention_is_the_mean_over_heads_unless_one_is_named() -> None:
    frame = data_of("attention_map")
    pair = frame[(frame["query"] == 5) & (frame["key"] == 7)]
    assert pair.to_numpy().tolist() == [[2, 1, 5, 7, 0.5]]
    one = data_of("attention_map", {"head": 2})
    assert one[(one["query"] == 5) & (one["key"] == 7)]["weight"].tolist() == [0.25]
    assert len(frame) == 2 * 2 * 8 + 1  # pairs without weight are left out


def test_attention_of_another_seed_serves_where_the_asked_one_was_not_recorded() -> None:
    assert len(data_of("attention_map", {"variant": "short", "seed": 4})) > 0
    with pytest.raises(UserError, match="no recorded attention"):
        data_of("attention_map", {"variant": "long"})


def test_hint_and_decision_are_marked_where_they_lie() -> None:
    """Hint in step 0, so in segment 1; decision in step 3, so in segment 2; in both layers."""
    axes = drawn(inputs("attention_map")).axes
    marks = [[text.get_text() for text in one.texts] for one in axes[:4]]
    assert marks == [["hint"], ["decision"], ["hint"], ["decision"]]


def test_a_hint_of_several_steps_is_a_strip_over_every_segment_that_shows_it() -> None:
    longer = replace(attention(), hint_stop=3)
    assert [longer.hint_in(segment) for segment in (0, 1, 2)] == [
        range(2), range(1), range(0),
    ]  # fmt: skip
    given = inputs("attention_map", {"decision": False}, attention=(longer,))
    marks = [[text.get_text() for text in one.texts] for one in drawn(given).axes[:2]]
    assert marks == [["hint"], ["hint"]]


def test_attention_of_written_memory_to_the_hint_is_summed_by_hand() -> None:
    """Columns: cache 0 1, read 2, steps 3 to 8, write 9. The hint is step 0: columns 3 to 5."""
    record = attention()
    weights = np.zeros_like(record.weights)
    weights[0, 1, :, 7, 3:6] = 0.25  # the written token looks at step 0
    weights[0, 1, :, 7, 6:9] = 0.05
    weights[0, 1, :, 1:7, 2] = [0.6, 0, 0, 0, 0, 0.6]  # two of six step tokens look at memory
    frame = data_of("attention_to_hint", attention=(replace(record, weights=weights),))
    found = frame.set_index(["look", "segment", "layer"])
    assert found.loc[("write to hint", 1, 2), "share"] == pytest.approx(0.75)
    assert found.loc[("write to hint", 1, 2), "even"] == pytest.approx(3 / 8)
    assert found.loc[("write to hint", 2, 2), "even"] == 0  # nothing of it is seen there
    assert found.loc[("steps to memory", 1, 2), "share"] == pytest.approx(0.2)


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, record = tmp_path / "attention.npz", attention()
    marks = {
        "memory_tokens": 1, "cache": 2, "segment_length": 2, "hint_start": 0, "hint_stop": 1,
        "decision_step": 3,
    }  # fmt: skip
    np.savez_compressed(path, weights=record.weights, **marks)
    found = read_attention(path, "maze", "short", 0)
    np.testing.assert_array_equal(found.weights, record.weights)
    assert (found.memory_tokens, found.cache, found.decision_step) == (1, 2, 3)
    np.savez_compressed(path, weights=record.weights[..., 1:], **marks)
    with pytest.raises(UserError, match="weights of the shape"):
        read_attention(path, "maze", "short", 0)


@pytest.mark.parametrize("left", [0, 3, 100, 0.5, 0.9, 0.999])
def test_a_truncated_recording_is_refused_in_one_line(tmp_path: Path, left: float) -> None:
    path = recorded(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content)) if isinstance(left, float) else left])
    with pytest.raises(UserError, match=f"no recorded attention.*snakemake {path} --force"):
        read_attention(path, "maze", "short", 0)


def test_a_damaged_recording_is_refused_wherever_the_damage_lies(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    content = path.read_bytes()
    refused = 0
    for place in range(0, len(content), max(1, len(content) // 200)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:  # a date inside the archive may change and nothing else
            read_attention(path, "maze", "short", 0)
        except UserError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("what", [b"no archive", {"weights": 1}, ["an", "array"], None])
def test_a_foreign_recording_is_refused_in_one_line(tmp_path: Path, what: object) -> None:
    path = tmp_path / "attention.npz"
    if isinstance(what, bytes):
        path.write_bytes(what)
    elif isinstance(what, dict):
        np.savez(path, **what)
    else:
        with path.open("wb") as file:
            np.save(file, np.array(what, dtype=None if what else object), allow_pickle=True)
    with pytest.raises(UserError, match="no recorded attention.*make it anew") as caught:
        read_attention(path, "maze", "short", 0)
    assert "\n" not in str(caught.value)


def recorded(folder: Path) -> Path:
    """The recording as a file."""
    path, record = folder / "attention.npz", attention()
    np.savez_compressed(
        path, weights=record.weights, memory_tokens=1, cache=2, segment_length=2, hint_start=0,
        hint_stop=1, decision_step=3,
    )  # fmt: skip
    return path


# ---- the driver ------------------------------------------------------------------------------


def test_an_unknown_figure_is_told_with_the_closest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = FigureSettings(module="extrapolation", title="", caption="", experiments=("maze",))
    monkeypatch.setattr("memdt.reporting.figures.figures", lambda: {"far_beyond": settings})
    with pytest.raises(UserError, match="unknown figure 'far_beyont'.*did you mean 'far_beyond'"):
        draw_figure("far_beyont", "tiny")


def test_training_curves_of_continuous_actions_have_no_accuracy() -> None:
    both = drawn(inputs("training_curves")).axes
    alone = drawn(inputs("training_curves", curves=curves().assign(accuracy=np.nan))).axes
    assert len(alone) == 1
    assert len(both) == 2
    assert alone[0].get_yscale() == "log"  # the loss
    assert alone[0].get_legend() is not None
