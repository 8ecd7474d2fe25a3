"""Key-value recall: what is shown, what is asked, and what answers earn."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from memdt.environments.recall import ASKED, SHOWN, WAIT, Recall, Scribe, Settings, lengthened
from memdt.errors import UserError

SETTINGS = Settings(pairs=3, keys=5, values=2, steps=10)


def played(settings, seed, answer):
    """The observations of an episode and its rewards; ``answer`` sees an observation."""
    environment = Recall(settings)
    observation, _ = environment.reset(seed=seed)
    seen, rewards, ended = [observation], [], False
    while not ended:
        observation, reward, ended, truncated, info = environment.step(answer(observation))
        assert not truncated
        seen.append(observation)
        rewards.append(reward)
    return np.array(seen), rewards, info


def test_pairs_are_shown_first_and_asked_for_last():
    seen, rewards, _ = played(SETTINGS, 1, lambda _: WAIT)
    assert len(rewards) == SETTINGS.steps
    assert seen[:-1, SHOWN].tolist() == [1.0] * 3 + [0.0] * 7
    assert seen[:-1, ASKED].tolist() == [0.0] * 7 + [1.0] * 3
    keys = seen[:, 2:7]
    assert np.array_equal(keys[:3].sum(axis=0), keys[7:10].sum(axis=0))  # the same ones, once each
    assert keys[:3].sum(axis=0).max() == 1
    assert not seen[3:, 7:].any()  # values are shown with their keys alone


def test_whoever_kept_the_pairs_answers_all_and_who_waits_none():
    scribe = Scribe(SETTINGS)
    scribe.reset([4])
    _, rewards, info = played(SETTINGS, 4, lambda seen: scribe.act(seen[None], {})[0])
    assert sum(rewards) == pytest.approx(1.0)
    assert info == {"right_answers": 3, "wrong_answers": 0}
    _, rewards, info = played(SETTINGS, 4, lambda _: WAIT)
    assert (sum(rewards), info["wrong_answers"]) == (0.0, 3)


def test_one_answer_for_all_is_right_once_in_as_many_as_there_are_values():
    right = [played(Settings(), seed, lambda _: 1)[2]["right_answers"] for seed in range(100)]
    assert sum(right) / 800 == pytest.approx(1 / 4, abs=0.05)


def test_longer_episodes_have_the_same_pairs_and_a_longer_pause():
    long = lengthened(SETTINGS, 40)
    short_seen, _, _ = played(SETTINGS, 2, lambda _: WAIT)
    long_seen, _, _ = played(long, 2, lambda _: WAIT)
    assert np.array_equal(short_seen[:3], long_seen[:3])
    assert np.array_equal(short_seen[7:10], long_seen[37:40])
    with pytest.raises(UserError, match="cannot hold"):
        lengthened(SETTINGS, 5)
    for bad in ({"pairs": 6, "keys": 5}, {"pairs": 8, "keys": 8, "steps": 15}):
        with pytest.raises(ValidationError):
            Settings(**bad)
