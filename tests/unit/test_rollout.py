"""Rollouts: memory at segment borders as in training, memory edits, sampled and greedy actions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from memdt import discovery
from memdt.data.segments import Segment
from memdt.environments import tmaze
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.evaluation.memory_edits import MemoryEdit
from memdt.evaluation.rollout import Protocol, Rollout
from memdt.models.interface import Choice, Spaces, Step
from memdt.models.parts.input_scaling import InputScaling
from memdt.settings.schema import Condition, InputSettings

LENGTH = 4
SIZES = {"layers": 2, "heads": 2, "width": 16, "head_width": 8, "feed_forward_width": 16}


def protocol(greedy: bool = True, context: int = LENGTH, **condition: object) -> Protocol:
    return Protocol(LENGTH, 1.0, greedy, Condition(**condition), context, seed=0)


def environment(segments: int, count: int):
    return Task(tmaze, tmaze.Settings()).vector(count, segments * LENGTH)


def policy_of(name: str = "rate", **parts: object) -> torch.nn.Module:
    module = discovery.load("memdt.models", name)
    made = tmaze.make(tmaze.Settings())
    torch.manual_seed(0)
    parts = {"memory_tokens": 2, **parts} if name == "rate" else parts
    sizes = {k: v for k, v in SIZES.items() if k in module.Settings.model_fields}
    settings = module.Settings(name=name, **sizes, **parts)
    policy = module.build(settings, Spaces(made.observation_space, made.action_space))
    for parameter in policy.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return policy.eval()


class Watched:
    """Keeps what a policy was asked and what it answered."""

    def __init__(self, policy: torch.nn.Module) -> None:
        self.policy = policy
        self.questions: list[Step] = []
        self.outputs: list[Tensor] = []
        self.closed: list = []
        step, end_segment = policy.step, policy.end_segment

        def watched_step(seen, state):
            output, state = step(seen, state)
            self.questions.append(seen)
            self.outputs.append(output.clone())
            return output, state

        def watched_end(action, state):
            memory = end_segment(action, state)
            self.closed.append((action.clone(), memory))
            return memory

        policy.step, policy.end_segment = watched_step, watched_end


class Recorder:
    """A vector environment that keeps the actions it was given."""

    def __init__(self, inner) -> None:
        self.inner, self.actions = inner, []

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def step(self, actions):
        self.actions.append(actions.copy())
        return self.inner.step(actions)


@pytest.mark.parametrize("parts", [{}, {"cache_length": 5}, {"memory_update": "retention_valve"}])
def test_a_rollout_sees_what_training_sees(parts: dict) -> None:
    """The logits of a rollout are those of ``forward`` on the episode that came out of it."""
    watched, recorder = Watched(policy_of(**parts)), Recorder(environment(3, 2))
    with torch.inference_mode():
        outcome = Rollout(watched.policy, recorder, protocol(greedy=False)).play([0, 1])
    steps = int(outcome.steps.min())
    assert steps > 2 * LENGTH  # two borders are crossed
    observations = torch.stack([q.observation[:2] for q in watched.questions[:steps]], dim=1)
    actions = torch.from_numpy(np.stack(recorder.actions[:steps], axis=1)).long()
    returns = torch.stack([q.return_to_go[:2] for q in watched.questions[:steps]], dim=1)
    memory = watched.policy.initial_memory(2)
    with torch.inference_mode():
        for first in range(0, steps, LENGTH):
            window = slice(first, min(first + LENGTH, steps))
            shape = actions[:, window].shape
            segment = Segment(
                observations[:, window], actions[:, window], returns[:, window],
                torch.ones(shape, dtype=torch.bool),
            )  # fmt: skip
            expected, memory = watched.policy(segment, memory)
            played = torch.stack([o[:2] for o in watched.outputs[window]], dim=1)
            torch.testing.assert_close(played, expected, rtol=0, atol=1e-5)


def test_memory_is_updated_after_every_full_segment_with_its_last_action() -> None:
    watched, recorder = Watched(policy_of()), Recorder(environment(3, 4))
    Rollout(watched.policy, recorder, protocol(greedy=False)).play([0, 1, 2, 3])
    longest = len(recorder.actions)
    assert len(watched.closed) == (longest - 1) // LENGTH
    last_action = watched.closed[0][0].numpy()
    assert np.array_equal(last_action, recorder.actions[LENGTH - 1][: len(last_action)])
    assert watched.questions[LENGTH].previous_action is None  # a new segment begins without one


def test_an_episode_is_the_same_alone_and_in_company() -> None:
    policy = policy_of()
    together = Rollout(policy, environment(2, 6), protocol()).play(range(6))
    for row in range(6):
        alone = Rollout(policy, environment(2, 1), protocol()).play([row])
        assert alone.returns[0] == together.returns[row]
        assert alone.steps[0] == together.steps[row]


def test_the_return_to_go_falls_by_what_is_received_unless_it_is_held() -> None:
    class Paid(Recorder):
        def step(self, actions):
            observations, rewards, *rest = super().step(actions)
            return observations, rewards + 0.25, *rest

    for held, expected in ((False, [1.0, 0.75, 0.5]), (True, [1.0, 1.0, 1.0])):
        watched = Watched(policy_of())
        Rollout(watched.policy, Paid(environment(2, 1)), protocol(return_to_go_held=held)).play([0])
        assert [float(q.return_to_go[0]) for q in watched.questions[:3]] == expected


def test_every_segment_begins_with_the_target_return_where_it_restarts() -> None:
    class Paid(Recorder):
        def step(self, actions):
            observations, rewards, *rest = super().step(actions)
            return observations, rewards + 0.25, *rest

    watched = Watched(policy_of())
    Rollout(watched.policy, Paid(environment(2, 1)), protocol(return_to_go_restarts=True)).play([0])
    returns_to_go = [float(q.return_to_go[0]) for q in watched.questions]
    assert returns_to_go[:6] == [1.0, 0.75, 0.5, 0.25, 1.0, 0.75]  # segments of four steps


def test_a_policy_gets_inputs_scaled_as_in_training() -> None:
    """Observations and returns are scaled for the policy, and for nobody else."""
    plain, scaled = Watched(policy_of()), policy_of()
    settings = InputSettings(observations="standardized", return_scale=4.0)
    scaled.inputs = InputScaling(settings, scaled.spaces)
    scaled.inputs.deviation.fill_(2.0)
    watched, observed = Watched(scaled), []
    Rollout(plain.policy, environment(2, 2), protocol()).play([0, 1])
    rollout = Rollout(scaled, environment(2, 2), protocol())
    rollout.observer.on_step = lambda alive, seen, actions, info: observed.append(seen)
    rollout.play([0, 1])
    first = plain.questions[0]
    assert torch.equal(watched.questions[0].observation, first.observation / 2)
    assert torch.equal(watched.questions[0].return_to_go, first.return_to_go / 4)
    assert torch.equal(observed[0].observation, first.observation)


def test_sampled_actions_follow_the_seed() -> None:
    policy = policy_of("random")
    seeds = list(range(40))
    runs = [
        Rollout(policy, environment(1, 40), protocol(greedy=False)).play(seeds) for _ in range(2)
    ]
    assert np.array_equal(runs[0].steps, runs[1].steps)
    other = Protocol(LENGTH, 1.0, False, Condition(), LENGTH, seed=1)
    third = Rollout(policy, environment(1, 40), other).play(seeds)
    assert not np.array_equal(runs[0].returns, third.returns)


def edit(**condition: object) -> MemoryEdit:
    return MemoryEdit(Condition(**condition), torch.Generator().manual_seed(1))


def memories(count: int) -> list:
    policy = policy_of(cache_length=3)
    generator = torch.Generator().manual_seed(0)
    first = policy.initial_memory(2000)
    return [first.map(lambda t: torch.randn(t.shape, generator=generator)) for _ in range(count)]


def test_the_memory_of_the_first_segment_is_kept() -> None:
    apply, (first, second, third) = edit(memory_edit="first_segment"), memories(3)
    assert torch.equal(apply(first).tokens, first.tokens)
    assert torch.equal(apply(second).tokens, first.tokens)
    keep = torch.arange(2000) % 2 == 0
    apply.rows(keep)
    assert torch.equal(apply(third.rows(keep)).tokens, first.tokens[keep])


def test_noise_is_added_or_replaces_the_memory() -> None:
    (memory,) = memories(1)
    added = edit(memory_edit="added_noise", noise_scale=0.5)(memory).tokens - memory.tokens
    assert float(added.std()) == pytest.approx(0.5, rel=0.02)
    replaced = edit(memory_edit="noise", noise_scale=2.0)(memory).tokens
    assert float(replaced.std()) == pytest.approx(2.0, rel=0.02)
    together = torch.stack([replaced.flatten(), memory.tokens.flatten()])
    assert abs(float(torch.corrcoef(together)[0, 1])) < 0.02


def test_single_tokens_are_erased_and_the_cache_stays() -> None:
    (memory,) = memories(1)
    erased = edit(erased_tokens=(1,))(memory)
    assert not erased.tokens[:, 1].any()
    assert torch.equal(erased.tokens[:, 0], memory.tokens[:, 0])
    pairs = zip(erased.cache, memory.cache, strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    with pytest.raises(UserError, match="no memory token 9"):
        edit(erased_tokens=(9,))(memory)


def test_with_the_initial_memory_every_segment_is_decoded_as_the_first_one() -> None:
    """The same observations after a border give the same logits, whatever came before it."""
    policy = policy_of(cache_length=3)
    rollout = Rollout(policy, environment(3, 2), protocol(memory_edit="initial"))
    given: list = []
    rollout.observer.on_segment_end = lambda alive, memory: given.append(memory)
    rollout.play([0, 1])
    start = policy.initial_memory(2)
    assert len(given) == 2
    for memory in given:
        assert torch.equal(memory.tokens, start.tokens[: len(memory.tokens)])
        assert not memory.cache


def test_no_edit_changes_nothing() -> None:
    (memory,) = memories(1)
    assert edit()(memory) is memory


def test_replacing_memory_by_noise_changes_what_is_done() -> None:
    """The edit reaches the policy: after a border the logits differ, before it they do not."""
    outputs = []
    for condition in ({}, {"memory_edit": "noise"}):
        watched = Watched(policy_of())
        Rollout(watched.policy, environment(3, 2), protocol(**condition)).play([0, 1])
        outputs.append(watched.outputs)
    plain, noisy = outputs
    assert all(torch.equal(a, b) for a, b in zip(plain[:LENGTH], noisy[:LENGTH], strict=True))
    assert not torch.equal(plain[LENGTH], noisy[LENGTH])


def test_a_decision_transformer_with_more_context_sees_more() -> None:
    """Within the shorter context both give the same logits; past it they differ."""
    results = []
    for context in (LENGTH, 3 * LENGTH):
        watched = Watched(policy_of("decision_transformer"))
        Rollout(watched.policy, environment(3, 2), protocol(context=context)).play([0, 1])
        results.append(watched.outputs)
    short, long = results
    torch.testing.assert_close(short[LENGTH - 1], long[LENGTH - 1], rtol=0, atol=1e-5)
    assert not torch.allclose(short[LENGTH + 1], long[LENGTH + 1], atol=1e-4)


@pytest.mark.parametrize(
    ("greedy", "spread", "width"), [(True, 1.0, 0), (False, 0.0, 0), (False, 0.5, 0.5)]
)
def test_continuous_actions_lie_around_their_means(greedy, spread, width, monkeypatch):
    arm = Spaces(spaces.Box(-1, 1, (4,), np.float32), spaces.Box(-1, 1, (2,), np.float32))
    module = discovery.load("memdt.models", "random")
    policy = module.build(module.Settings(name="random"), arm)
    monkeypatch.setattr(type(policy), "spread", spread)
    means = torch.full((500, 2), 0.25)
    distance = policy.choose(means, Choice(greedy, torch.Generator().manual_seed(0))) - means
    assert distance.abs().max() <= width
    assert distance.std().item() == pytest.approx(width / 3**0.5, abs=0.02)  # of a uniform draw
