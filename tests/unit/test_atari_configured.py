"""The configured Atari games: what all scales make of them, and of those with published logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_up.project import forget_settings
from memdt.environments.task import Task
from memdt.settings.resolve import resolve, resolve_dataset
from memdt.workflow import inputs, observations

pytest.importorskip("ale_py")

ROOT = Path(__file__).parents[2]
GAMES = ("breakout", "qbert", "pong", "seaquest")


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)
    forget_settings()
    yield
    forget_settings()


@pytest.mark.parametrize("scale", ["smoke", "quick", "paper"])
@pytest.mark.parametrize("game", GAMES)
def test_every_game_is_played_from_nothing(game, scale):
    settings = resolve_dataset(game, scale)
    assert settings.environment.parameters["game"] == game
    assert settings.dataset["source"] == "played"
    assert inputs.raw_files(settings) == []


@pytest.mark.parametrize("scale", ["smoke", "quick", "paper"])
@pytest.mark.parametrize("game", GAMES)
def test_published_logs_keep_their_frames_at_every_scale(game, scale):
    settings = resolve_dataset(f"{game}_dqn_replay", scale)
    task = Task.of(settings.environment)
    assert task.settings.game == game
    assert task.spaces.observation.shape == (84, 84, 1)
    assert settings.dataset["game"].lower() == game
    assert len(inputs.raw_files(settings)) == 50 * 6


def test_a_plan_counts_the_frames_of_a_model_and_the_bytes_of_single_ones():
    seen = observations.note(resolve("atari_table_3", "pong-rate", "paper").settings)["observation"]
    assert seen == {"shape": (84, 84, 4), "bytes": 84 * 84}


@pytest.mark.parametrize("scale", ["quick", "paper"])
@pytest.mark.parametrize("game", ["pong", "breakout"])
def test_models_see_four_frames_and_the_twin_one(game, scale):
    four = resolve("atari_table_3", f"{game}-rate", scale).settings
    one = resolve("atari_frames", f"{game}-rate_one", scale).settings
    assert (four.inputs.frame_stack, one.inputs.frame_stack) == (4, 1)
    same = four.model_copy(update={"inputs": one.inputs, "evaluation": one.evaluation})
    assert same.model_dump(exclude={"non_default"}) == one.model_dump(exclude={"non_default"})
