"""ViZDoom-Two-Colors on the real engine: its rules, its settings, what a frame gives away."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("vizdoom")

from memdt.data.sources.played import play
from memdt.environments import vizdoom_two_colors as module
from memdt.environments.doom import engine as doom_engine
from memdt.environments.doom import expert as two_colors_expert
from memdt.environments.doom import scenario as doom_scenario
from memdt.environments.doom.expert import Seen
from memdt.environments.vizdoom_two_colors import Settings, TwoColors
from memdt.errors import UserError

SMALL = Settings(screen="256x144", width=64, height=36)
LEFT, RIGHT, FORWARD = 0, 1, 2
RED, GREEN = 4, 5  # seeds


def room(sight: bool = True, **changes: object) -> TwoColors:
    return TwoColors(SMALL.model_copy(update=changes), sight=sight)


def idle_steps(environment: TwoColors, seed: int, most: int = 3000):
    """Turn on the spot until the end; yields info, reward and both flags of each step."""
    environment.reset(seed=seed)
    for _ in range(most):
        _, reward, terminated, truncated, info = environment.step(LEFT)
        yield info, reward, terminated, truncated
        if terminated or truncated:
            return


def names(info) -> set[str]:
    return {seen.name for seen in info["sight"]}


@pytest.mark.parametrize(("acid", "tics"), [(8, 384), (5, 608)])
def test_the_floor_kills_after_the_measured_time(acid, tics):
    # 8 points every 32 tics, first at tic 0: 100 points last 12 intervals; 5 points last 19.
    *_, (info, reward, terminated, truncated) = idle_steps(room(acid_health=acid, items=0), RED)
    assert terminated
    assert not truncated
    assert abs(info["tics"] - tics) <= 2
    assert reward == pytest.approx(0.02)


@pytest.mark.parametrize(("pillar_tics", "last"), [(90, 44), (45, 21)])
@pytest.mark.parametrize("seed", [RED, GREEN, 100, 101])
def test_the_pillar_is_seen_for_as_long_as_it_is_set_to(seed, pillar_tics, last):
    # Nothing else is in the room, so that nothing hides it.
    environment = room(pillar_tics=pillar_tics, items=0, item_tics=10_000)
    _, info = environment.reset(seed=seed)
    seen = [names(info)]
    for step in range(60):  # left and right in turn: it stays in view
        seen.append(names(environment.step((LEFT, RIGHT)[step % 2])[4]))
    pillar = {RED: "RedPillar", GREEN: "GreenPillar"}[RED + seed % 2]
    assert [step for step, view in enumerate(seen) if view == {pillar}] == list(range(last + 1))
    assert not set().union(*seen[last + 1 :])


@pytest.mark.parametrize("tics", [100, 99])
def test_time_is_up_after_the_time_limit(tics):
    *_, (info, _, terminated, truncated) = idle_steps(room(time_limit=tics), RED)
    assert truncated
    assert not terminated
    assert info["tics"] == tics


def test_ten_thousand_tics_are_possible_too():
    settings = SMALL.model_copy(update={"time_limit": 10_000, "acid_health": 5, "lapses": 0.0})
    vector = module.make_collection_vector(settings, 4)
    store = play(vector, module.collection_policy(settings), range(4), 30)
    vector.close()
    assert store.played.max() > 1050  # 2,100 tics
    assert (store.played[~store.terminated] == 5000).all()


def test_the_parity_of_a_seed_is_the_colour():
    colours = module.group(module.Settings(), np.array([0, 1, 2, 3]))
    assert colours == ["red", "green", "red", "green"]
    environment = room()
    for seed, pillar in ((RED, "RedPillar"), (GREEN, "GreenPillar")):
        assert pillar in names(environment.reset(seed=seed)[1])


def test_items_are_where_they_are_whatever_the_colour():
    # MAP01 and MAP02 differ in nothing but the pillar and what the items do.
    places = []
    for number in (0, 1):
        engine = doom_engine.Engine(
            doom_scenario.two_colors_wad(90, 8, 25, 10, 30),
            doom_engine.Screen(256, 144, module.BUTTONS, module.VARIABLES, labels=True),
        )
        engine.begin(f"map{number + 1:02}", 7, 2100)
        items = [
            (label.object_name[-3:], label.object_position_x, label.object_position_y)
            for label in engine.look()[1]
            if not label.object_name.endswith("Pillar")
        ]
        places.append(sorted(items))
        engine.close()
    assert places[0] == places[1]
    assert len(places[0]) > 4


def test_new_items_of_both_colours_come_into_an_empty_room():
    environment = room(items=0, item_tics=30, acid_health=5)
    assert names(environment.reset(seed=RED)[1]) == {"RedPillar"}
    seen = set()
    for info, *_ in idle_steps(environment, RED):
        seen |= {(s.name, round(s.distance)) for s in info["sight"] if "Pillar" not in s.name}
        if info["tics"] >= 600:
            break
    kinds = {name for name, _ in seen}
    assert kinds == {"RightRed", "WrongGreen"}


def walk(environment: TwoColors, seed: int, kind: str):
    """The expert's way of walking, towards items of one kind; yields info and reward."""
    _, info = environment.reset(seed=seed)
    expert = two_colors_expert.Expert(lapses=0.0)
    expert.reset([0])
    expert._colours = [kind]
    for _ in range(400):
        shown = [s for s in info["sight"] if not s.name.endswith("Pillar")]
        action = int(expert.act(np.zeros(1), {"sight": [shown]})[0])
        _, reward, terminated, truncated, info = environment.step(action)
        yield info, reward
        if terminated or truncated:
            return


def test_a_right_item_is_worth_one_and_heals():
    steps = list(walk(room(), RED, "Red"))
    right = np.array([info["right_items"] for info, _ in steps])
    gained = np.diff(right, prepend=0)
    rewards = np.array([reward for _, reward in steps])
    assert right[-1] >= 3
    np.testing.assert_allclose(rewards, gained + 0.02, atol=1e-9)
    assert steps[-1][0]["tics"] > 500  # without a meal it ends at 384


def test_a_wrong_item_takes_health_and_is_worth_nothing():
    steps = list(walk(room(), RED, "Green"))
    assert steps[-1][0]["wrong_items"] >= 2
    assert steps[-1][0]["tics"] < 384
    # At 25 points each and 8 every 32 tics, 100 points are gone when the counts say so.
    info = steps[-1][0]
    taken = 25 * (info["wrong_items"] - info["right_items"]) + 8 * (1 + info["tics"] // 32)
    assert 76 <= taken <= 133


def test_the_same_seed_and_actions_give_the_same_frames_in_a_used_engine():
    actions = np.random.default_rng(0).integers(0, 5, 120)
    films = []
    environment = room(sight=False)
    for seed in (8, 9, 8):
        films.append([environment.reset(seed=seed)[0]])
        films[-1] += [environment.step(action)[0] for action in actions]
    np.testing.assert_array_equal(films[0], films[2])
    assert not np.array_equal(films[0], films[1])


def test_frames_give_the_colour_away_with_the_pillar_and_not_after_it():
    """A probe on single frames of a player who chooses at random."""
    episodes, generator = 64, np.random.default_rng(1)
    vector = module.make_vector(SMALL, episodes)
    frames = {0: vector.reset(seed=list(range(episodes)))[0]}
    for step in range(1, 91):
        frames[step] = vector.step(generator.integers(0, 5, episodes))[0]
    vector.close()
    colours = np.arange(episodes) % 2
    before = probe(frames[0], colours)
    after = np.mean([probe(frames[step], colours) for step in (50, 60, 70, 80, 90)])
    assert before == 1.0
    # Guessing 5 x 64 times has a standard error of 0.03 to 0.06: frames of a player are alike.
    assert abs(after - 0.5) < 0.15


def probe(frames, labels) -> float:
    """Accuracy of ridge regression on episodes that it was not fitted to, eight folds."""
    pixels = frames.reshape(len(frames), -1) / 255.0
    pixels = pixels - pixels.mean(axis=0)
    kernel, signs = pixels @ pixels.T, 2.0 * labels - 1
    right = 0
    for fold in range(8):
        test = np.arange(len(labels)) // 2 % 8 == fold
        inner = kernel[np.ix_(~test, ~test)]
        weights = np.linalg.solve(inner + 1e-3 * np.trace(inner) * np.eye(len(inner)), signs[~test])
        right += (np.sign(kernel[np.ix_(test, ~test)] @ weights) == signs[test]).sum()
    return right / len(labels)


def test_an_engine_that_dies_ends_with_one_line():
    environment = room()
    environment.reset(seed=RED)
    environment._engine.kill()
    environment._engine.process.wait(5)
    with pytest.raises(UserError, match="the Doom engine failed"):
        environment.step(FORWARD)


def test_an_engine_that_hangs_ends_with_one_line(monkeypatch):
    monkeypatch.setattr(doom_engine, "PATIENCE", 0.5)
    monkeypatch.setattr(doom_engine, "LOOK_EVERY", 0.2)
    environment = room()
    environment.reset(seed=RED)
    environment._engine.process.suspend()
    with pytest.raises(UserError, match="the Doom engine failed .*no answer"):
        environment.step(FORWARD)


def test_engines_of_a_killed_process_are_ended(monkeypatch):
    monkeypatch.setenv(doom_engine.OWNER, "999999999 1.5")  # nobody
    orphan = doom_engine.Engine.__new__(doom_engine.Engine)
    monkeypatch.setattr(doom_engine, "end_orphans", lambda: None)
    orphan.__init__(
        doom_scenario.two_colors_wad(90, 8, 25, 10, 30),
        doom_engine.Screen(256, 144, module.BUTTONS, module.VARIABLES, labels=False),
    )
    assert orphan.process.is_running()
    monkeypatch.undo()
    doom_engine._end_if_orphan(orphan.process)
    orphan.process.wait(10)  # raises where it is still there
    assert not orphan.process.is_running()


def test_the_expert_sees_what_is_in_view_only():
    settings = SMALL
    vector = module.make_collection_vector(settings, 8)
    store = play(vector, module.collection_policy(settings), range(20, 28), 90)
    vector.close()
    assert store.observations.shape[1:] == (36, 64, 3)
    assert store.observations.dtype == np.uint8
    assert (store.lengths == 90).all()
    assert store.returns.mean() > 30  # who forgets the colour earns about 24, at random 4.5
    assert store.played.mean() > 600


def test_an_expert_who_is_shown_no_pillar_turns_on_the_spot():
    expert = two_colors_expert.Expert(lapses=0.0)
    expert.reset([0])
    sight = [Seen("RightRed", 100.0, 0.0), Seen("WrongGreen", 200.0, 50.0)]
    assert expert.act(np.zeros(1), {"sight": [sight]}) in ([LEFT], [RIGHT])
    expert.act(np.zeros(1), {"sight": [[*sight, Seen("RedPillar", 320.0, 0.0)]]})
    assert expert.act(np.zeros(1), {"sight": [sight]}) == [FORWARD]


def test_relative_places():
    seen = two_colors_expert.relative("x", 10.0, 20.0, (10.0, 10.0, 90.0))
    assert (seen.ahead, seen.left) == pytest.approx((10.0, 0.0))
    assert two_colors_expert.relative("x", 0.0, 10.0, (10.0, 10.0, 90.0)).bearing == pytest.approx(
        90
    )


def test_a_scenario_is_an_archive_of_text():
    content = doom_scenario.two_colors_wad(90, 8, 25, 10, 30)
    assert content[:4] == b"PWAD"
    lumps = int.from_bytes(content[4:8], "little")
    start = int.from_bytes(content[8:12], "little")
    names = [content[start + 16 * n + 8 : start + 16 * n + 16].rstrip(b"\0") for n in range(lumps)]
    assert names == [b"DECORATE", b"MAP01", b"TEXTMAP", b"ENDMAP", b"MAP02", b"TEXTMAP", b"ENDMAP"]
    assert len(content) == start + 16 * lumps


LAPSES = [
    [Seen("RedPillar", 320.0, 0.0), Seen("RightRed", 100.0, 0.0), Seen("WrongGreen", 95.0, 60.0)]
]


def course(seeds: list[int], lapses: float, until: int | None = None) -> tuple[np.ndarray, ...]:
    """What is done and meant in 400 steps with the same things in view."""
    expert = two_colors_expert.Expert(lapses, until)
    expert.reset(seeds)
    sight = {"sight": LAPSES * len(seeds)}
    steps = [(expert.act(np.zeros(len(seeds)), sight), expert.meant) for _ in range(400)]
    done, meant = (np.stack(column) for column in zip(*steps, strict=True))
    return done, meant


def test_a_seed_decides_when_the_expert_lapses():
    done, meant = course([1, 2, 3], 0.0)
    np.testing.assert_array_equal(done, meant)
    ours, meant = course([1, 2, 3], 0.05)
    assert (meant == FORWARD).all()
    np.testing.assert_array_equal(ours, course([1, 2, 3], 0.05)[0])
    np.testing.assert_array_equal(ours[:, 1], course([2, 5, 6], 0.05)[0][:, 0])
    assert not (ours[:, 0] == ours[:, 1]).all()
    assert 0.05 < (ours != meant).mean() < 0.45


def test_lapses_end_with_the_steps_that_are_kept():
    done, meant = course([1, 2, 3], 0.10, until=90)
    lapsed = done != meant
    assert lapsed[:90].any(axis=0).all()
    assert not lapsed[90 + max(most for _, most in two_colors_expert.LAPSE_STEPS.values()) :].any()


def test_a_lapse_goes_for_the_nearest_item_and_wakes_before_it_touches_a_wrong_one():
    lapse = two_colors_expert.Lapse("nearest", held=0, steps=9)
    aside = Seen("WrongGreen", 200.0, 60.0)
    assert lapse.action([aside, Seen("RightRed", 400.0, 0.0)]) == two_colors_expert.FORWARD_LEFT
    assert lapse.action([Seen("WrongGreen", 80.0, 0.0)]) is None
    assert lapse.action([Seen("RightRed", 80.0, 0.0)]) == FORWARD
    assert lapse.action([]) is None
