"""The environment ``gymnasium``: any id, brought to what models take."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from pydantic import ValidationError

from memdt.environments import gymnasium as module
from memdt.environments.task import Task
from memdt.errors import UserError

BARE = {"disable_env_checker": True}


class Joined(gymnasium.Env):
    """Shows a dict, and takes an action without bounds or of another kind."""

    def __init__(self, action: spaces.Space, observation: spaces.Space | None = None) -> None:
        goal = spaces.Box(-1, 1, (2,))
        parts = {"observation": spaces.Box(0, 9, (3,)), "goal": goal, "other": goal}
        self.observation_space = observation or spaces.Dict(parts)
        self.action_space = action

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        one = np.array([0.5, -0.5], np.float32)
        return {"observation": np.array([1, 2, 3], np.float32), "goal": one, "other": -one}, {}

    def step(self, action):
        return self.reset()[0], 0.0, False, False, {}


@pytest.fixture
def register(monkeypatch):
    """Register such an environment under an id, for this test."""

    def register(action, observation=None):
        monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
        monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)
        kwargs = {"action": action, "observation": observation}
        gymnasium.register("Joined-v0", Joined, max_episode_steps=5, kwargs=kwargs)

    return register


def make(**settings):
    return module.make(module.Settings(**settings))


def test_the_package_gymnasium_stays_what_it_is():
    assert module.gymnasium is gymnasium
    assert hasattr(gymnasium, "make")


def test_an_environment_that_models_take_is_left_as_it_is():
    ours, theirs = make(id="CartPole-v1"), gymnasium.make("CartPole-v1", **BARE)
    assert ours.spec == theirs.spec
    np.testing.assert_array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])


def test_choices_that_are_seen_become_zeros_and_ones():
    ours, theirs = make(id="FrozenLake-v1"), gymnasium.make("FrozenLake-v1", **BARE)
    assert ours.observation_space.shape == (16,)
    for action in (2, 2, 1, 1, 2):
        ours.reset(seed=action)
        theirs.reset(seed=action)
        seen, number = ours.step(action)[0], theirs.step(action)[0]
        assert seen.dtype == np.float32
        np.testing.assert_array_equal(seen, np.arange(16) == number)


def test_actions_lie_between_minus_one_and_one():
    ours, theirs = make(id="Pendulum-v1"), gymnasium.make("Pendulum-v1", **BARE)
    assert (ours.action_space.low, ours.action_space.high) == (-1, 1)
    ours.reset(seed=0)
    theirs.reset(seed=0)
    half = ours.step(np.array([0.5], np.float32))
    one = theirs.step(np.array([1.0], np.float32))  # of 2
    np.testing.assert_allclose(half[0], one[0], rtol=1e-6)
    assert half[1] == pytest.approx(one[1])


def test_named_arrays_of_a_dict_are_joined_in_the_order_of_their_names(register):
    register(spaces.Discrete(2))
    environment = make(id="Joined-v0", observation_keys=("observation", "goal"))
    np.testing.assert_array_equal(environment.reset(seed=0)[0], [0.5, -0.5, 1, 2, 3])


@pytest.mark.parametrize("settings", [
    {"id": "CartPole-v1"}, {"id": "FrozenLake-v1", "arguments": {"map_name": "8x8"}},
    {"id": "Pendulum-v1", "max_episode_steps": 7},
])  # fmt: skip
def test_the_specification_makes_the_same_environment_without_this_package(settings):
    ours = make(**settings)
    theirs = gymnasium.make(EnvSpec.from_json(ours.spec.to_json()))
    assert theirs.observation_space == ours.observation_space
    assert theirs.action_space == ours.action_space
    assert theirs.spec.max_episode_steps == ours.spec.max_episode_steps


def test_the_time_limit_of_the_settings_holds_and_segments_do_not_lengthen_it():
    task = Task.named("gymnasium", {"id": "Pendulum-v1", "max_episode_steps": 3})
    vector = task.vector(2, steps=500)
    vector.reset(seed=0)
    cut = [vector.step(np.zeros((2, 1)))[3].all() for _ in range(4)]
    assert cut == [False, False, True, True]


def test_the_environment_judges_nothing_and_names_no_groups():
    task = Task.named("gymnasium", {"id": "CartPole-v1"})
    assert task.outcomes == ()
    assert task.groups([1, 2]) == ["all", "all"]


@pytest.mark.parametrize(("settings", "message"), [
    ({"id": "CartPol-v1"}, "knows no environment 'CartPol-v1'; did you mean 'CartPole-v1'?"),
    ({"id": "CartPole-v9"}, "did you mean 'CartPole-v"),
    ({"id": "Nowhere/Nothing-v5"}, "Namespace Nowhere not found"),
    ({"id": "no_such_package:Env-v0"}, "package 'no_such_package' cannot be imported"),
    ({"id": "CliffWalking-v1"}, "has no time limit of its own: set max_episode_steps"),
])  # fmt: skip
def test_an_id_that_cannot_be_is_refused_when_settings_are_read(settings, message):
    with pytest.raises(ValidationError) as error:
        module.Settings(**settings)
    assert message in str(error.value)


@pytest.mark.parametrize(("settings", "message"), [
    ({"id": "CartPole-v1", "arguments": {"gravity": 3}}, "unexpected keyword argument 'gravity'"),
    ({"id": "CartPole-v1", "observation_keys": ["a"]}, "are not a dict -> leave it out"),
    ({"id": "Taxi-v4", "arguments": {"fickle_passenger": 1, "x": 2}}, "unexpected keyword"),
])  # fmt: skip
def test_what_cannot_be_made_is_refused_in_one_line(settings, message):
    with pytest.raises(UserError) as error:
        make(**settings)
    assert message in error.value.line()


@pytest.mark.parametrize(("action", "observation", "message"), [
    (spaces.MultiDiscrete([2, 3]), spaces.Box(0, 1, (2,)), "no model takes actions of MultiD"),
    (spaces.Box(-np.inf, np.inf, (2,)), spaces.Box(0, 1, (2,)), "a vector with bounds"),
    (spaces.Discrete(3, start=1), spaces.Box(0, 1, (2,)), "choices that count from 0"),
    (spaces.Discrete(3), None, "are a dict of goal, observation, other -> name those"),
    (spaces.Discrete(3), spaces.Sequence(spaces.Discrete(2)), "no model takes observations"),
])  # fmt: skip
def test_spaces_that_no_model_takes_are_refused_in_one_line(register, action, observation, message):
    register(action, observation)
    with pytest.raises(UserError) as error:
        make(id="Joined-v0")
    assert message in error.value.line()
