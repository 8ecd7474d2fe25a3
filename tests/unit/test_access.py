"""Episodes on disk give the batches that episodes in memory give, read ahead or not."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from made_up.episodes import episodes
from memdt.data.access import LIMIT, ObservationsOnDisk, open_episodes, read_ahead
from memdt.data.batches import Batches
from memdt.data.episode_file import write_episodes
from memdt.data.episodes import EpisodeStore
from memdt.data.segments import EpisodeTensors
from memdt.errors import UserError

LENGTHS = [40, 7, 23, 90, 5, 61]
GROUPS = np.array(["up", "down", "up", "down", "up", "up"])


def store_of(shape: tuple[int, ...], kind: type) -> EpisodeStore:
    draws = np.random.default_rng(0)
    steps = sum(LENGTHS)
    seen = draws.integers(0, 256, (steps, *shape)).astype(kind)
    return episodes(
        seen, draws.integers(0, 4, steps), draws.normal(size=steps), LENGTHS, groups=GROUPS
    )


@pytest.fixture(params=[((4,), np.float64), ((12, 9, 3), np.uint8)], ids=["vectors", "frames"])
def path(request, tmp_path):
    write_episodes([store_of(*request.param)], tmp_path / "data.h5", {"settings_digest": "a"})
    return tmp_path / "data.h5"


def both(path, monkeypatch, **options) -> tuple[EpisodeTensors, EpisodeTensors]:
    monkeypatch.delenv(LIMIT, raising=False)
    memory = open_episodes(path, "a", "", **options)
    monkeypatch.setenv(LIMIT, "0")
    disk = open_episodes(path, "a", "", **options)
    assert isinstance(memory.observations, torch.Tensor)
    assert isinstance(disk.observations, ObservationsOnDisk)
    return memory, disk


def assert_same_batches(memory: EpisodeTensors, disk: EpisodeTensors, start: str) -> None:
    streams = [Batches(one, 10, 4, 1, 4, start, seed=3) for one in (memory, disk)]
    for update in range(6):
        for ours, theirs in zip(*(one.batch(update) for one in streams), strict=True):
            for name in ("observations", "actions", "returns_to_go", "mask"):
                assert torch.equal(getattr(ours, name), getattr(theirs, name)), name


@pytest.mark.parametrize("start", ["beginning", "random"])
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_batches_on_disk_are_those_in_memory(path, monkeypatch, start, fraction):
    memory, disk = both(path, monkeypatch, fraction=fraction)
    assert len(disk.lengths) == (6 if fraction == 1 else 3)
    np.testing.assert_array_equal(memory.groups, disk.groups)
    assert_same_batches(memory, disk, start)


def test_frames_are_stacked_when_they_are_read(tmp_path, monkeypatch):
    """Against a loop over single frames: the newest last, an episode's first one repeated."""
    store = store_of((6, 5, 1), np.uint8)
    write_episodes([store], tmp_path / "data.h5", {"settings_digest": "a"})
    for tensors in both(tmp_path / "data.h5", monkeypatch, frame_stack=3):
        first, last = store.offsets[:-1], store.offsets[1:]
        window = tensors.window(first, last, 6).observations
        assert window.shape == (6, 6, 6, 5, 3)
        for episode, begin in enumerate(first):
            for time in range(min(6, LENGTHS[episode])):
                for position, back in enumerate((2, 1, 0)):
                    frame = store.observations[begin + max(0, time - back), :, :, 0]
                    np.testing.assert_array_equal(window[episode, time, :, :, position], frame)


def test_a_limit_that_is_no_number_is_refused(path, monkeypatch):
    monkeypatch.setenv(LIMIT, "lots")
    with pytest.raises(UserError, match="'lots' is not a number of bytes"):
        open_episodes(path, "a", "")


def test_the_next_batch_is_read_while_one_is_used():
    read: list[int] = []
    second = threading.Event()

    def batch_of(number: int) -> int:
        read.append(number)
        if number == 1:
            second.set()
        return 10 * number

    batch = read_ahead(batch_of)
    assert batch(0) == 0
    assert second.wait(10)  # nobody has asked for it yet
    assert batch(1) == 10
    assert batch(5) == 50  # a resumed run asks for another one
    assert read.count(1) == 1


def test_an_error_of_the_reader_comes_when_its_batch_is_asked_for():
    def batch_of(number: int) -> int:
        if number == 1:
            raise ValueError("broken")
        return number

    batch = read_ahead(batch_of)
    assert batch(0) == 0
    with pytest.raises(ValueError, match="broken"):
        batch(1)
