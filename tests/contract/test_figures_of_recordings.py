"""Figures, strips and clips of recorded episodes, their data checked by hand."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from made_up.results import CHOICES, data_of, drawn, inputs, recording
from memdt import discovery
from memdt.errors import UserError
from memdt.figures import clips
from memdt.figures.interface import Clip, VariantFacts
from memdt.figures.parts import films
from memdt.settings.pages import FigureSettings


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
    ("name", "message"),
    [("choices_over_time", "nobody has made 999 choices"), ("memory_probe", "nowhere do 5 record")],
)
def test_a_figure_with_too_little_to_show_says_so(name: str, message: str) -> None:
    run = recording()
    fewer = run.recording
    fewer = replace(fewer, groups=np.full(12, "all"))
    given = inputs(
        name,
        {"fewest": 999} if name == "choices_over_time" else {},
        recordings=(replace(run, recording=fewer),),
    )
    assert discovery.load("memdt.figures", name).data(given).empty
    assert message in [text.get_text() for text in drawn(given).texts][0]


def test_forgetting_begins_with_the_first_wrong_choice_before_a_majority_of_them() -> None:
    assert films.forgotten([10, 20, 30], [], 0, window=5, fewest=3) is None
    assert films.forgotten([10, 20, 30], [40, 50, 60, 70], 0, window=5, fewest=3) == 40
    # 20 wrong, then three right: no majority; from 60 on three of four.
    assert films.forgotten([30, 40, 50, 80], [20, 60, 70, 90], 0, window=5, fewest=3) == 60
    assert films.forgotten([], [10, 20], 0, window=5, fewest=3) is None  # too few to say
    # Wrong choices while the hint is seen are no forgetting.
    assert films.forgotten([40, 50, 60], [10, 20, 30], 35, window=5, fewest=3) is None
    assert films.forgotten([30], [10, 20, 40, 50], 15, window=3, fewest=3) == 20


def test_moments_are_the_start_the_given_ones_and_then_evenly_spread() -> None:
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


def test_a_frame_of_a_film_counts_what_happened_before_it() -> None:
    frame = data_of("film_strip", {"success": "right_items"})
    long = frame[frame["film"] == 1]
    options = films.Options(**CHOICES, success="right_items")
    assert films.counts_until(long, 1, options) == ["0 right", "0 wrong", "no success"]
    assert films.counts_until(long, 14, options) == ["6 right", "1 wrong", "succeeded"]
    assert films.counts_until(long, 14, films.Options()) == []


def test_a_clip_shows_all_variants_until_the_last_one_is_over() -> None:
    given = inputs("film_strip")
    module = discovery.load("memdt.figures", "film_strip")
    clip = module.clip(module.data(given), given)
    assert len(clip.frames) == 7 + 1  # steps 0, 3, ..., 18 of the long run, and its end
    assert len({frame.size for frame in clip.frames}) == 1
    short, long = (np.asarray(clip.frames[-2])[40:60, left : left + 200, 0].mean()
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
    monkeypatch.setattr("memdt.figures.clips.figures", lambda: {"far": still})
    with pytest.raises(UserError, match="far.clip: extrapolation has no animated picture"):
        clips.make_clip("far", "tiny", Path("far.webp"))


def test_the_probe_reads_the_group_off_the_memory_until_its_code_is_turned() -> None:
    facts = {("maze", "long"): VariantFacts(3, 4)}  # training crosses two borders
    frame = data_of("memory_probe", {"variants": ["long"]}, facts=facts)
    assert set(frame["panel"]) == {"long"}
    accuracies = frame[frame["source"] == "reproduced"].groupby("series", sort=False)["value"]
    # What was done tells nothing of the group here: the control guesses.
    assert accuracies.apply(list).tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [0.5, 0.5, 0.5, 0.5]]
    assert frame.loc[frame["source"] == "reproduced", "x"].tolist() == [4, 8, 12, 16] * 3
    assert set(frame["episodes"].dropna()) == {36}
    assert set(frame.loc[frame["source"] == "trained", "x"]) == {12}
    both = data_of("memory_probe", {"labels": {"short": "brief"}})
    assert list(dict.fromkeys(both["panel"])) == ["brief", "long"]
