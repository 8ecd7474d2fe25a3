"""Losses, schedules, the two ways of training through memory, idle segments."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces

from memdt import discovery
from memdt.data.segments import Segment
from memdt.errors import UserError
from memdt.models.interface import Spaces
from memdt.settings.schema import TrainingSettings
from memdt.training.checkpoints import load_checkpoint, save_checkpoint
from memdt.training.learners.behaviour_cloning import BehaviourCloning, with_idle_segments
from memdt.training.losses import action_score
from memdt.training.optimiser import AdamW
from memdt.training.schedules import learning_rate_factor

SPACES = Spaces(gym_spaces.Box(-1, 1, (2,), np.float32), gym_spaces.Discrete(3))


def segment(batch: int, seed: int = 0, real: int = 4, time: int = 4) -> Segment:
    generator = torch.Generator().manual_seed(seed)
    return Segment(
        torch.randn((batch, time, 2), generator=generator),
        torch.randint(0, 3, (batch, time), generator=generator),
        torch.rand((batch, time), generator=generator),
        (torch.arange(time) < real).expand(batch, -1),
    )


def rate() -> torch.nn.Module:
    module = discovery.load("memdt.models", "rate")
    sizes = {"layers": 1, "heads": 2, "width": 8, "head_width": 4, "feed_forward_width": 8}
    torch.manual_seed(0)
    return module.build(module.Settings(name="rate", memory_tokens=2, **sizes), SPACES)


def trainer(policy: torch.nn.Module, **changes: object) -> BehaviourCloning:
    values = {
        "segments": 3, "updates_per_stage": (1,), "batch_size": 4, "learning_rate": 0.1,
        "weight_decay": 0.0, "gradient_clip": 1e9, **changes,
    }  # fmt: skip
    optimiser = AdamW(policy.parameters(), lr=0.1, betas=(0.9, 0.95), weight_decay=0.0)
    settings, noise = TrainingSettings(**values), torch.Generator().manual_seed(0)
    return BehaviourCloning(policy, settings, optimiser, noise, segment_length=4)


def test_the_loss_averages_over_real_steps_only() -> None:
    short = segment(2, real=3)
    outputs = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1))
    by_hand = [
        -math.log(torch.softmax(outputs[row, time], 0)[short.actions[row, time]])
        for row in range(2)
        for time in range(3)
    ]
    score = action_score(outputs, short)
    assert score.steps == 6
    assert float(score.mean_loss) == pytest.approx(sum(by_hand) / 6, abs=1e-6)
    poisoned = outputs.clone()
    poisoned[:, 3] = 1e6
    assert float(action_score(poisoned, short).mean_loss) == float(score.mean_loss)


def test_labels_are_learnt_in_place_of_the_actions() -> None:
    whole = segment(2)
    outputs = torch.randn((2, 4, 3), generator=torch.Generator().manual_seed(1))
    labels = (whole.actions + 1) % 3
    labelled = replace(whole, labels=labels)
    as_actions = replace(whole, actions=labels)
    assert action_score(outputs, labelled).loss == action_score(outputs, as_actions).loss
    assert action_score(outputs, labelled).loss != action_score(outputs, whole).loss


def test_accuracy_counts_the_most_likely_action() -> None:
    whole = segment(2)
    outputs = torch.nn.functional.one_hot(whole.actions, 3).float()
    outputs[0, 0] = torch.roll(outputs[0, 0], 1)
    assert action_score(outputs, whole).accuracy == pytest.approx(7 / 8)


def test_a_continuous_action_is_scored_by_squared_error() -> None:
    whole = segment(1)
    vectors = Segment(whole.observations, torch.zeros(1, 4, 2), whole.returns_to_go, whole.mask)
    assert float(action_score(torch.full((1, 4, 2), 3.0), vectors).mean_loss) == pytest.approx(9.0)


def test_linear_and_cosine_end_at_the_final_fraction() -> None:
    for schedule in ("linear", "cosine"):
        factors = [learning_rate_factor(u, 11, 3, schedule, 0.1) for u in range(11)]
        assert factors[2] == pytest.approx(1.0)
        assert factors[-1] == pytest.approx(0.1)
        assert all(a >= b for a, b in zip(factors[2:], factors[3:], strict=False))
    assert learning_rate_factor(6, 11, 2, "cosine", 0.0) == pytest.approx(0.5)


def test_a_stage_of_one_update_has_a_learning_rate() -> None:
    assert learning_rate_factor(0, 1, 0, "linear", 0.1) == 1.0


def test_full_gradient_takes_one_step_a_batch_and_detached_one_a_segment() -> None:
    segments = [segment(4, 0), segment(4, 1), segment(2, 2)]
    for mode, expected in (("full", 1), ("detached", 3)):
        policy = rate()
        made = trainer(policy, gradient_through_memory=mode)
        steps = []
        made.optimiser.step = lambda steps=steps: steps.append(1)
        made.update(0, segments)
        assert len(steps) == expected


def test_detached_training_gives_the_last_segment_no_say_in_the_first() -> None:
    """In ``full`` the initial memory learns from later segments, in ``detached`` from the first."""
    segments = [segment(4, 0), segment(4, 1)]
    policy = rate()
    score = trainer(policy).unroll(segments)
    score.mean_loss.backward()
    whole = policy.memory.grad.clone()
    policy.zero_grad()
    first, memory = trainer(policy)._segment(segments[0], policy.initial_memory(4))
    second, _ = trainer(policy)._segment(segments[1], memory.detach())
    ((first + second).mean_loss).backward()
    assert (whole - policy.memory.grad).abs().max() > 1e-6


def test_row_shrinking_gives_the_loss_of_padding() -> None:
    policy = rate().eval()
    short_first = segment(3, 0)
    second = segment(2, 1)
    shrunk = trainer(policy).unroll([short_first, second])
    padding = Segment(
        *(
            torch.cat([getattr(second, f), getattr(second, f)[:1]])
            for f in ("observations", "actions", "returns_to_go")
        ),
        torch.cat([second.mask, torch.zeros(1, 4, dtype=torch.bool)]),
    )
    padded = trainer(policy).unroll([short_first, padding])
    assert shrunk.steps == padded.steps
    assert float(shrunk.mean_loss) == pytest.approx(float(padded.mean_loss), abs=1e-6)


def test_idle_segments_repeat_the_middle_for_rows_that_go_on() -> None:
    segments = [segment(4, 0), segment(3, 1), segment(2, 2)]
    lengths = set()
    for seed in range(20):
        longer = with_idle_segments(segments, 2, torch.Generator().manual_seed(seed))
        lengths.add(len(longer))
        assert longer[0] is segments[0]
        assert longer[-1] is segments[-1]
        assert all(torch.equal(s.actions, segments[1].actions[:2]) for s in longer[2:-1])
    assert lengths == {3, 4, 5}
    assert with_idle_segments(segments[:2], 5, torch.Generator()) == segments[:2]


def test_memory_noise_changes_training_only_when_asked_for() -> None:
    segments = [segment(4, 0), segment(4, 1)]
    quiet, again = (float(trainer(rate()).unroll(segments).mean_loss) for _ in range(2))
    noisy = float(trainer(rate(), memory_noise=1.0).unroll(segments).mean_loss)
    assert quiet == again
    assert noisy != quiet


def test_training_is_the_same_bits_on_repetition() -> None:
    results = []
    for _ in range(2):
        policy = rate()
        made = trainer(policy)
        for seed in range(3):
            made.update(seed, [segment(4, seed), segment(2, seed + 9)])
        results.append(torch.cat([p.detach().flatten() for p in policy.parameters()]))
    assert torch.equal(*results)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "pickle", "missing", "digest"])
def test_a_wrong_checkpoint_is_refused_with_the_remedy(tmp_path, damage: str) -> None:
    path, policy = tmp_path / "checkpoint.safetensors", rate()
    save_checkpoint(policy, path, {"settings_digest": "right"})
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "foreign":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(1)}, path)
    elif damage == "pickle":
        torch.save(policy.state_dict(), path)
    elif damage == "missing":
        path.unlink()
    digest = "other" if damage == "digest" else "right"
    with pytest.raises(UserError, match="do this") as caught:
        load_checkpoint(policy, path, digest, "do this")
    assert str(path) in caught.value.line()
    assert "\n" not in caught.value.line()


def test_weights_of_other_spaces_are_refused_in_one_line(tmp_path) -> None:
    path, module = tmp_path / "checkpoint.safetensors", discovery.load("memdt.models", "rate")
    save_checkpoint(rate(), path, {"settings_digest": "right"})
    wider = Spaces(gym_spaces.Box(-1, 1, (5,), np.float32), SPACES.action)
    other = module.build(module.Settings.model_validate(rate().settings.model_dump()), wider)
    with pytest.raises(UserError, match="observations or actions have other sizes") as caught:
        load_checkpoint(other, path, "right", "do this")
    assert "\n" not in caught.value.line()
