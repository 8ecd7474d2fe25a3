"""Stacked frames: an environment shows what training reads from a file of single ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pydantic import ValidationError

from memdt.data.segments import EpisodeTensors
from memdt.data.sources.played import play
from memdt.environments import atari
from memdt.environments.frame_stacks import StackedEnvironment, stacked_spaces, stacked_vector
from memdt.environments.spaces import Spaces
from memdt.environments.vectors import screens
from memdt.errors import UserError
from memdt.models.building import build
from memdt.settings.schema import InputSettings

pytest.importorskip("ale_py")

SMALL = atari.Settings(
    game="pong", height=40, width=40, max_steps=9, collectors=({"share": 1, "noise": 1.0},)
)


def test_an_evaluation_shows_what_training_read():
    store = play(atari.make_vector(SMALL, 2), atari.collection_policy(SMALL), [5, 6])
    tensors = EpisodeTensors.from_store(store, frame_stack=4)
    read = tensors.window(store.offsets[:-1], store.offsets[1:], 9)
    vector = stacked_vector(atari.make_vector(SMALL, 2), 4)
    shown = [vector.reset(seed=[5, 6])[0]]
    shown += [vector.step(actions)[0] for actions in read.actions.numpy().T[:-1]]
    np.testing.assert_array_equal(np.stack(shown, axis=1), read.observations.numpy())


def test_a_single_environment_shows_the_same():
    vector = stacked_vector(atari.make_vector(SMALL, 1), 3)
    single = StackedEnvironment(atari.make(SMALL), 3)
    np.testing.assert_array_equal(vector.reset(seed=[4])[0][0], single.reset(seed=4)[0])
    for action in (1, 2, 3, 0):
        seen = single.step(action)[0]
        np.testing.assert_array_equal(vector.step(np.array([action]))[0][0], seen)
    assert single.observation_space.contains(seen)
    assert vector.single_observation_space == single.observation_space


def test_one_frame_changes_nothing():
    vector = atari.make_vector(SMALL, 1)
    assert stacked_vector(vector, 1) is vector
    assert stacked_spaces(atari.spaces_of(SMALL), 1) == atari.spaces_of(SMALL)


def test_a_model_is_built_for_stacked_frames():
    model = {"name": "behaviour_cloning_mlp", "width": 16}
    policy = build(model, InputSettings(frame_stack=4), atari.spaces_of(SMALL))
    assert policy.spaces.observation.shape == (40, 40, 4)
    assert policy.network[0](torch.zeros(2, 40, 40, 4, dtype=torch.uint8)).shape == (2, 16)


def test_a_film_is_taken_of_what_lies_below():
    vector = stacked_vector(atari.make_vector(SMALL, 2), 4)
    vector.reset(seed=[1, 2])
    (screen,) = screens(vector, [1])
    assert screen.shape == (40, 40, 3)


def test_only_frames_are_stacked():
    vectors = Spaces(spaces.Box(-1, 1, (3,)), spaces.Discrete(2))
    with pytest.raises(UserError, match="are no frames"):
        stacked_spaces(vectors, 2)
    with pytest.raises(ValidationError, match="frame_stack needs"):
        InputSettings(frame_stack=2, observations="standardized")
