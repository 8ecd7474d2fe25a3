"""An agent that learns by playing: what is kept of it, and that a stop changes nothing."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from memdt.data import agents
from memdt.data.actors import read_actors
from memdt.data.agents import ACTORS, FIRST_SEED, REPLAY, AgentSettings
from memdt.data.episode_file import read_episodes
from memdt.environments.spaces import Spaces
from memdt.environments.task import Task
from memdt.stopping import Stopped
from memdt.training.online import agent as module
from memdt.training.online.agent import AgentJob, Learning, train_agent
from memdt.training.online.td3 import Td3, Transitions

SMALL = {
    "steps": 200, "random_steps": 60, "batch_size": 8, "width": 8, "evaluate_every": 50,
    "evaluation_episodes": 2, "medium_score": 1e6,
}  # fmt: skip


class Target(gymnasium.Env):
    """One number is seen; the action should be that number. 20 steps, but a large miss ends it."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._see(), {}

    def _see(self):
        self.target = self.np_random.uniform(-0.5, 0.5, 1).astype(np.float32)
        return self.target.copy()

    def step(self, action):
        miss = float(np.abs(action - self.target)[0])
        self.time += 1
        return self._see(), 1 - miss, miss > 1.3, self.time == 20, {}


def task():
    known = Spaces(Target.observation_space, Target.action_space)
    return Task(
        SimpleNamespace(
            __name__="tests.target", REQUIRES=(), spaces_of=lambda settings: known,
            make=lambda settings: Target(), score_range=lambda settings, group: (0.0, 20.0),
        ),
        None,
    )  # fmt: skip


def job(folder, **settings):
    return AgentJob(task(), AgentSettings(**SMALL | settings), folder, {"settings_digest": "x"})


def content(folder):
    return [(folder / name).read_bytes() for name in agents.FILES]


def test_it_learns(tmp_path):
    train_agent(job(tmp_path, steps=900, random_steps=300, width=32, evaluate_every=300))
    _, metadata = read_actors(tmp_path / ACTORS, "")
    first, *_, last = [score for _, score in metadata["curve"]]
    assert last > 85 > first  # 0 throughout gets 75; the noise on its actions costs 8


def test_the_same_settings_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        train_agent(job(tmp_path / name))
    assert content(tmp_path / "one") == content(tmp_path / "two")
    train_agent(job(tmp_path / "three", seed=1))
    assert content(tmp_path / "three")[1] != content(tmp_path / "one")[1]


def test_one_that_was_stopped_ends_with_the_same_bytes(tmp_path, monkeypatch, capsys):
    train_agent(job(tmp_path / "whole"))
    played, stops = Learning.play_episode, [2, 5]

    def interrupted(learning, environment):
        played(learning, environment)
        if stops and int(learning.counters[0]) == stops[0]:
            stops.pop(0)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Learning, "play_episode", interrupted)
    for _ in range(2):
        with pytest.raises(Stopped, match="the same command goes on from there"):
            train_agent(job(tmp_path / "stopped"))
    train_agent(job(tmp_path / "stopped"))
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")
    assert capsys.readouterr().err.count("goes on from step") == 2
    assert sorted(one.name for one in (tmp_path / "stopped").iterdir()) == sorted(agents.FILES)


def test_the_state_of_other_settings_is_set_aside(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "save_every_seconds", lambda: 0.0)
    monkeypatch.setattr(module, "_write", lambda *arguments: None)
    monkeypatch.setattr(module.ResumeFile, "remove", lambda file: None)
    train_agent(job(tmp_path / "agent"))
    other = job(tmp_path / "agent")
    other.metadata = {"settings_digest": "y"}
    monkeypatch.undo()
    train_agent(other)
    assert "it differs in settings_digest" in capsys.readouterr().err


def evaluated(scores, medium_score):
    """What is kept after evaluations with these scores, 50 steps apart."""
    learning = Learning(AgentSettings(**SMALL | {"medium_score": medium_score}), task())
    for number, score in enumerate(scores, start=1):
        learning.transitions.count = 50 * number
        learning.note(float(score))
    return {name: mark.tolist() for name, mark in learning.marks.items()}


def test_medium_is_the_closest_up_to_the_first_that_reaches_the_score():
    kept = evaluated([3, 30, 20, 45, 41, 90, 60], medium_score=40)
    assert kept == {"medium": [45, 200], "expert": [90, 300]}
    kept = evaluated([3, 31, 20, 90, 41], medium_score=40)
    assert kept["medium"] == [31, 100]  # 90 is farther from 40
    assert evaluated([3, 30, 20], medium_score=40) == {"medium": [30, 100], "expert": [30, 100]}


def test_the_experience_is_that_up_to_the_medium_checkpoint(tmp_path):
    train_agent(job(tmp_path))
    _, metadata = read_actors(tmp_path / ACTORS, "")
    store = read_episodes(tmp_path / REPLAY, None, "")
    assert len(store.rewards) == metadata["medium"]["steps"]
    environment = Target()
    for number, episode in enumerate(store):
        assert episode.seed == FIRST_SEED + number
        seen = [environment.reset(seed=episode.seed)[0]]
        steps = [environment.step(action) for action in episode.actions]
        seen += [step[0] for step in steps]
        np.testing.assert_array_equal(episode.observations, seen[:-1])
        np.testing.assert_array_equal(episode.final_observation, seen[-1])
        np.testing.assert_allclose(episode.rewards, [step[1] for step in steps], rtol=1e-6)
        assert (episode.terminated, episode.truncated) == (steps[-1][2], not steps[-1][2])


def test_the_first_update_is_td3s(monkeypatch):
    """The losses of algorithm 1 with torch's own modules, on one batch without target noise."""
    settings = AgentSettings(**SMALL | {"target_noise": 0.0, "actor_delay": 1})
    td3 = Td3(settings, 3, 2)
    transitions = Transitions(8, 3, 2)
    transitions.rows = torch.rand(8, sum(transitions.sizes), generator=td3.random)
    transitions.rows[:, -2] = torch.tensor([0.0, 1.0] * 4)  # every other one has ended
    transitions.count = 8
    monkeypatch.setattr(Transitions, "batch", lambda self, *_: self.rows.split(list(self.sizes), 1))
    seen, done, earned, following, ended, _ = transitions.batch()

    def module_of(layers):
        linear = [torch.nn.Linear(w.shape[0], w.shape[1]) for w in layers[::2]]
        for one, weight, bias in zip(linear, layers[::2], layers[1::2], strict=True):
            one.weight.data, one.bias.data = (
                weight.detach().T.clone(),
                bias.detach().reshape(-1).clone(),
            )
        relu = torch.nn.ReLU()
        return torch.nn.Sequential(linear[0], relu, linear[1], relu, linear[2])

    actor = module_of(td3.actor)
    critics = [module_of([layer[i] for layer in td3.critic]) for i in range(2)]
    with torch.no_grad():
        then = torch.cat([following, torch.tanh(actor(following))], 1)
        value = torch.minimum(*(one(then) for one in critics))
        target_value = earned + 0.99 * (1 - ended) * value
    both = torch.cat([seen, done], 1)
    optimiser = torch.optim.Adam([p for one in critics for p in one.parameters()], 1e-3)
    sum(torch.nn.functional.mse_loss(one(both), target_value) for one in critics).backward()
    optimiser.step()
    of_actor = torch.optim.Adam(actor.parameters(), 1e-3)
    (-critics[0](torch.cat([seen, torch.tanh(actor(seen))], 1)).mean()).backward()
    of_actor.step()

    before = [one.clone() for one in td3.actor_target]
    td3.update(transitions)
    for number in range(2):
        for mine, theirs in zip(td3.critic[::2], critics[number][::2], strict=True):
            torch.testing.assert_close(mine[number], theirs.weight.T)
    for mine, theirs in zip(td3.actor[::2], actor[::2], strict=True):
        torch.testing.assert_close(mine, theirs.weight.T)
    for target, old, new in zip(td3.actor_target, before, td3.actor, strict=True):
        torch.testing.assert_close(target, old + 0.005 * (new - old))
