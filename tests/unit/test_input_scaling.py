"""What a policy sees is scaled by statistics of its dataset, which its checkpoint keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces

from made_up.episodes import drawn, episodes
from memdt.data.access import open_episodes
from memdt.data.episode_file import read_statistics, write_episodes
from memdt.data.episodes import EpisodeStore
from memdt.data.segments import EpisodeTensors
from memdt.environments.spaces import Spaces
from memdt.errors import UserError
from memdt.models.parts.input_scaling import InputScaling
from memdt.settings.schema import InputSettings

SPACES = Spaces(gym_spaces.Box(-1, 1, (4,), np.float32), gym_spaces.Discrete(4))
STANDARDIZED = InputSettings(observations="standardized", return_scale="dataset")


def fitted(store: EpisodeStore, path: Path) -> InputScaling:
    write_episodes([store], path, {"settings_digest": "a"})
    scaling = InputScaling(STANDARDIZED, SPACES)
    scaling.fit(read_statistics(path, ""), EpisodeTensors.from_store(store))
    return scaling


def test_a_standardized_dataset_has_mean_0_and_deviation_1(tmp_path: Path) -> None:
    store = drawn([5, 30, 12])
    shifted = replace(store, observations=store.observations * 7 + 100)
    tensors = EpisodeTensors.from_store(shifted)
    scaling = fitted(shifted, tmp_path / "d.h5")
    seen = scaling.episodes(tensors)
    assert isinstance(seen.observations, torch.Tensor)
    torch.testing.assert_close(seen.observations.mean(0), torch.zeros(4), rtol=0, atol=2e-4)
    torch.testing.assert_close(seen.observations.std(0, False), torch.ones(4), rtol=0, atol=1e-4)
    starts = tensors.returns_to_go[torch.from_numpy(tensors.offsets[:-1])]
    expected = starts / np.abs(shifted.returns).max()
    torch.testing.assert_close(seen.returns_to_go[torch.from_numpy(tensors.offsets[:-1])],
                               expected.float())  # fmt: skip
    assert torch.equal(seen.rewards, tensors.rewards)
    last = (tensors.final_observations - scaling.mean) / scaling.deviation
    assert torch.equal(seen.final_observations, last)


def test_a_dimension_that_never_changes_is_only_centred(tmp_path: Path) -> None:
    store = drawn([6, 6])
    still = store.observations.copy()
    still[:, 2] = 3.0
    store = replace(store, observations=still)
    seen = fitted(store, tmp_path / "d.h5").episodes(EpisodeTensors.from_store(store))
    assert torch.equal(seen.observations[torch.arange(12)][:, 2], torch.zeros(12))


def test_observations_on_disk_are_scaled_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.h5"
    scaling = fitted(drawn([5, 9, 4]), path)
    memory = open_episodes(path, None, "")
    monkeypatch.setenv("MEMDT_IN_MEMORY_BYTES", "1")
    disk = open_episodes(path, None, "")
    assert disk.on_disk
    index = torch.tensor([[0, 1], [7, 8]])
    assert torch.equal(*(scaling.episodes(one).observed(index) for one in (memory, disk)))


def test_frames_cannot_be_standardized() -> None:
    frames = Spaces(gym_spaces.Box(0, 255, (8, 8, 3), np.uint8), gym_spaces.Discrete(4))
    with pytest.raises(UserError, match="cannot be standardized"):
        InputScaling(STANDARDIZED, frames)
    InputScaling(InputSettings(return_scale=10.0), frames)
    with pytest.raises(UserError, match="cannot be centered"):
        InputScaling(InputSettings(observations="centered"), SPACES)


STACKED = InputSettings(observations="centered", frame_stack=2)


def moving(steps: int = 90) -> EpisodeTensors:
    """One white pixel that wanders over a grey ground, in the frames of one episode."""
    frames = np.full((steps, 6, 5, 1), 100, np.uint8)
    frames[np.arange(steps), np.arange(steps) % 6, np.arange(steps) % 5] = 255
    store = episodes(frames, np.zeros(steps, np.int64), np.zeros(steps), [steps])
    return EpisodeTensors.from_store(store, frame_stack=2)


def centred(tensors: EpisodeTensors) -> InputScaling:
    space = gym_spaces.Box(0, 255, (6, 5, 2), np.uint8)
    scaling = InputScaling(STACKED, Spaces(space, gym_spaces.Discrete(4)))
    scaling.fit({}, tensors)
    return scaling


def test_of_centered_frames_the_ground_is_128_and_what_moves_is_not() -> None:
    tensors = moving()
    scaling = centred(tensors)
    assert scaling.mean.shape == (6, 5, 1)
    seen = scaling.episodes(tensors).observed(torch.tensor([[7]]))[0, 0]
    assert seen.dtype == torch.uint8
    assert [tuple(at) for at in (seen > 190).nonzero().tolist()] == [(0, 1, 0), (1, 2, 1)]
    assert ((seen > 190) | ((seen > 124) & (seen < 129))).all()


def test_a_rollout_centers_stacks_as_training_does() -> None:
    tensors = moving()
    scaling = centred(tensors)
    index = torch.tensor([[0, 1, 2], [40, 41, 42]])
    trained, shown = scaling.episodes(tensors).observed(index), tensors.observed(index)
    assert torch.equal(scaling.observations(shown), trained)


def test_differences_of_a_whole_range_do_not_overflow() -> None:
    tensors = moving()
    scaling = centred(tensors)
    scaling.mean.zero_()
    white = torch.full((1, 6, 5, 2), 255, dtype=torch.uint8)
    assert scaling.observations(white).min() == 255


def test_the_best_episodes_hold_a_share_of_the_steps() -> None:
    rewards = np.repeat([1.0, 3.0, 2.0, 0.0], [10, 10, 10, 70])
    store = episodes(np.zeros((100, 1), np.float32), np.zeros(100, int), rewards, [10, 10, 10, 70])
    everyone = np.ones(4, dtype=bool)
    assert store.best(0.1, everyone).tolist() == [False, True, False, False]
    assert store.best(0.15, everyone).tolist() == [False, True, True, False]
    assert store.best(1e-9, everyone).sum() == 1
    assert store.best(1.0, everyone).all()
    assert not store.best(0.5, np.array([True, False, True, True]))[1]
