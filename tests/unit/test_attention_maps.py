"""What a policy looks at in one episode: recorded through the evaluation's own rollout."""

from __future__ import annotations

import numpy as np
import torch

from memdt.environments import tmaze
from memdt.evaluation.attention_maps import attention_of, play_episode, stack
from memdt.models.building import build_policy
from memdt.settings.schema import RunSettings

SIZES = {"layers": 2, "heads": 2, "width": 8, "head_width": 4, "feed_forward_width": 8}


def settings(**model: object) -> RunSettings:
    parameters = tmaze.Settings().model_dump()
    return RunSettings.model_validate(
        {
            "environment": {"name": "tmaze", "module": "tmaze", "parameters": parameters},
            "dataset": {"source": "played", "lengths": (4, 8), "episodes_per_length": 2},
            "segment_length": 4,
            "model": model,
            "training": {
                "segments": 2, "updates_per_stage": (1,), "batch_size": 2,
                "learning_rate": 1e-3, "weight_decay": 0.0,
            },
            "evaluation": {"segments": (1,), "episodes": 2, "target_return": 1.0},
            "seeds": (0,),
        }
    )  # fmt: skip


def test_the_episode_is_cut_into_the_segments_that_were_played() -> None:
    run = settings(name="rate", memory_tokens=2, **SIZES)
    policy = build_policy(run, 0).eval()
    torch.nn.init.constant_(policy.head.bias, 0.0)
    with torch.no_grad():
        policy.head.bias[0] = 100.0  # walks on until time is up: 8 steps
    segments = play_episode(run, policy, seed=0)
    assert [int(segment.mask.sum()) for segment in segments] == [4, 4]
    assert float(segments[0].observations[0, 0, tmaze.HINT]) == -1.0  # an even seed turns down
    assert float(segments[1].observations[0, 2, tmaze.FLAG]) == 1.0
    assert not segments[0].actions.any()


def test_weights_are_probabilities_over_what_may_be_seen() -> None:
    run = settings(name="rate", memory_tokens=2, cache_length=3, **SIZES)
    policy = build_policy(run, 0).eval()
    maps = attention_of(policy, play_episode(run, policy, seed=0))
    weights = stack([one.weights[0].numpy() for one in maps])
    assert maps[0].memory_tokens == 2
    assert weights.shape[1:] == (2, 2, 16, 19)  # 2 + 12 + 2 queries; 3 cached keys before them
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
    assert not weights[0, ..., :3].any()  # nothing is cached before the first segment
    assert weights[1, :, :, 2:14, :3].any()  # steps look at the cache, memory tokens do not
    assert not weights[1, :, :, :2, :3].any()


def test_a_policy_without_attention_has_nothing_to_show() -> None:
    run = settings(name="behaviour_cloning_mlp", width=8)
    policy = build_policy(run, 0).eval()
    assert attention_of(policy, play_episode(run, policy, seed=0)) == []
