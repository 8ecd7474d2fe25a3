"""A collector of T-Maze that errs."""

from __future__ import annotations

import numpy as np
import pytest

from memdt.data.sources.played import play
from memdt.environments import tmaze


def test_so_many_episodes_turn_the_wrong_way_the_same_ones_each_time():
    options = tmaze.Settings(corridor_length=3, mistakes=0.25)
    stores = [
        play(tmaze.make_vector(options, 400), tmaze.collection_policy(options), range(400))
        for _ in range(2)
    ]
    assert stores[0].terminated.all()  # a wrong turn ends an episode too
    assert stores[0].returns.mean() == pytest.approx(0.75, abs=0.06)
    assert np.array_equal(stores[0].actions, stores[1].actions)
