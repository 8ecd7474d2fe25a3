"""The source ``gymnasium_agent``: who plays, how much, and what is kept and recorded."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from pydantic import ValidationError

from memdt.data.actors import Actor, write_actors
from memdt.data.agents import ACTORS, REPLAY
from memdt.data.episode_file import write_episodes
from memdt.data.episodes import concatenate
from memdt.data.sources import gymnasium_agent as module
from memdt.data.sources.gymnasium_agent import FIRST_SEED, SEEDS_PER_PART, Settings, play_until
from memdt.data.sources.record import Record
from memdt.environments.spaces import Spaces
from memdt.environments.task import Task
from memdt.errors import UserError

SHA = "0" * 64
WEIGHTS = {"address": "http://lab.example/a.zip", "sha256": SHA, "format": "stable_baselines3"}
AGENT = {"medium_score": 40.0}


class Short(gymnasium.Env):
    """Episodes of 3 to 9 steps, as the seed has it; the reward is the action."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 3 + seed % 7
        return np.array([self.left, seed % 100], np.float32), {}

    def step(self, action):
        self.left -= 1
        seen = np.array([self.left, 0], np.float32)
        return seen, float(action[0]), self.left == 0, False, {}


def task():
    known = Spaces(Short.observation_space, Short.action_space)
    return Task(
        SimpleNamespace(
            __name__="tests.short", REQUIRES=(), spaces_of=lambda settings: known,
            make=lambda settings: Short(), score_range=lambda settings, group: (0.0, 10.0),
        ),
        None,
    )  # fmt: skip


def constant(value):
    """A policy that always does the same."""
    weight, bias = np.zeros((2, 1), np.float32), np.full(1, np.arctanh(value), np.float32)
    return Actor([], (weight, bias))


def settings_of(*parts, **more):
    return Settings(source="gymnasium_agent", parts=parts, **more)


def test_whole_episodes_are_played_as_long_as_they_fit():
    parts = list(play_until(task(), constant(0.5), 100, number=0))
    store = concatenate(parts)
    assert len(store.rewards) <= 100 < len(store.rewards) + 9
    assert store.seeds.tolist() == list(range(FIRST_SEED, FIRST_SEED + len(store)))
    assert store.lengths.tolist() == [3 + seed % 7 for seed in store.seeds]
    assert store.terminated.all()
    more = concatenate(play_until(task(), constant(0.5), 101 + 9, number=0))
    assert len(more) > len(store)
    np.testing.assert_array_equal(more.observations[: len(store.rewards)], store.observations)


def test_parts_never_share_an_episode():
    first, second = (concatenate(play_until(task(), constant(0.5), 50, number=n)) for n in (0, 1))
    assert not set(first.seeds) & set(second.seeds)
    assert second.seeds[0] == FIRST_SEED + SEEDS_PER_PART


@pytest.fixture
def agent(tmp_path):
    """The files of an agent: three episodes of experience, and two policies."""
    seen = concatenate(play_until(task(), constant(0.1), 20, number=7))
    write_episodes([seen], tmp_path / REPLAY, {})
    marks = {"medium": {"score": 38.5, "steps": 20}, "expert": {"score": 80.0, "steps": 90}}
    policies = {"medium": constant(0.4), "expert": constant(0.8)}
    write_actors(tmp_path / ACTORS, policies, {"asked_score": 40.0, **marks})
    return [tmp_path / REPLAY, tmp_path / ACTORS], seen


def test_an_agents_policies_and_experience_become_sets(agent):
    files, seen = agent
    dataset = settings_of(
        {"agent": "medium", "steps": 60}, {"agent": "expert", "steps": 40}, agent=AGENT
    )
    record = Record()
    store = concatenate(module.episodes(task(), dataset, files, record))
    second = store.seeds >= FIRST_SEED + SEEDS_PER_PART
    rewards = np.repeat(second, store.lengths)
    np.testing.assert_allclose(store.rewards, np.where(rewards, 0.8, 0.4), rtol=1e-6)
    assert record.notes["agent, medium"] == "score 38.5 after 20 steps, asked for 40"
    assert record.notes["agent, expert"] == "score 80.0 after 90 steps"
    scores = 10 * store.returns[~second]
    error = scores.std() / np.sqrt(len(scores))
    assert record.notes["part 1"] == (
        f"medium: {len(scores)} episodes, score {scores.mean():.1f} +- {error:.1f}"
    )
    replay = concatenate(
        module.episodes(task(), settings_of({"agent": "replay"}, agent=AGENT), files, Record())
    )
    np.testing.assert_array_equal(replay.observations, seen.observations)
    np.testing.assert_array_equal(replay.offsets, seen.offsets)


def test_a_scale_may_make_parts_smaller(agent):
    part = {"agent": "medium", "steps": 1000}
    dataset = settings_of(part, agent=AGENT, most_steps=50)
    store = concatenate(module.episodes(task(), dataset, agent[0], Record()))
    assert len(store.rewards) <= 50
    assert module.expected(dataset).simulated_steps == 50


def test_a_set_without_its_agent_says_what_makes_it():
    dataset = settings_of({"agent": "medium", "steps": 60}, agent=AGENT)
    with pytest.raises(UserError, match="memdt agent --environment"):
        next(module.episodes(task(), dataset, [], Record()))


def test_a_policy_of_another_environment_is_refused():
    other = Actor([], (np.zeros((3, 1), np.float32), np.zeros(1, np.float32)))
    with pytest.raises(UserError, match=r"the policy sees and does \(3, 1\)"):
        next(play_until(task(), other, 60, number=0))


def test_steps_for_not_one_episode_are_refused(agent):
    dataset = settings_of({"agent": "medium", "steps": 2}, agent=AGENT)
    with pytest.raises(UserError, match="not one episode fits"):
        list(module.episodes(task(), dataset, agent[0], Record()))


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ([{"steps": 5}], "exactly one of agent and weights"),
        ([{"agent": "medium"}], "a part needs steps"),
        ([{"agent": "replay", "steps": 5}], "replay has its own"),
        ([{"agent": "replay"}, {"weights": WEIGHTS, "steps": 5}], "mix an agent from nothing"),
    ],
)
def test_parts_that_say_nothing_clear_are_refused(parts, what):
    with pytest.raises(ValidationError, match=what):
        settings_of(*parts, agent=AGENT)


def test_an_agent_that_nobody_described_is_refused():
    with pytest.raises(ValidationError, match=r"dataset\.agent is missing"):
        settings_of({"agent": "medium", "steps": 5})


def test_origin_files_and_agent_follow_from_the_parts():
    nothing = settings_of({"agent": "medium", "steps": 5}, agent=AGENT)
    assert module.origin(nothing) == "from nothing"
    assert module.agent(nothing) == AGENT
    assert module.raw_files(nothing) == []
    public = settings_of({"weights": WEIGHTS, "steps": 5}, agent=AGENT)
    assert module.origin(public) == "public policy"
    assert module.agent(public) is None
    (file,) = module.raw_files(public)
    assert (file.path.name, file.address) == ("00000000_a.zip", WEIGHTS["address"])


def test_observations_are_held_against_published_ones(tmp_path, monkeypatch):
    statistics = tmp_path / "statistics.json"
    statistics.write_text('{"sets": {"a": {"mean": [1.0, 2.0], "deviation": [2.0, 4.0]}}}')
    monkeypatch.setattr(module, "STATISTICS", statistics)
    moments = module.Moments()
    moments.add(np.array([[1.0, 2.0], [1.0, 2.0]]))
    moments.add(np.array([[1.0, 5.0]]))  # means 1 and 3: shifts 0 and 0.25
    assert moments.held_against("a").startswith("accepted: means at most 0.250 deviations")
    moments.add(np.array([[1.0, 3.1]]))
    assert moments.held_against("a").startswith("NOT accepted: means at most 0.256 deviations")
    with pytest.raises(UserError, match="did you mean 'a'|no statistics of 'b'"):
        moments.held_against("b")
