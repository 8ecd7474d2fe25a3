"""Memory updates: what a gate keeps, what learns, and what training charges for overwriting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces
from pydantic import ValidationError
from torch import Tensor

from memdt import discovery
from memdt.data.segments import Segment
from memdt.errors import UserError
from memdt.models.interface import SequencePolicy, Spaces
from memdt.models.parts.memory_update import Gate, memory_update
from memdt.settings.schema import TrainingSettings
from memdt.training.learners.behaviour_cloning import BehaviourCloning

BATCH, SLOTS, WIDTH, TIME = 3, 4, 8, 5
SPACES = Spaces(gym_spaces.Box(-1, 1, (2,), np.float32), gym_spaces.Discrete(3))


def draw(seed: int) -> Tensor:
    return torch.randn(BATCH, SLOTS, WIDTH, generator=torch.Generator().manual_seed(seed))


def gate_with(scores: Callable[[Tensor], Tensor]) -> Gate:
    """A binary gate whose scores are given: one for each row and slot."""
    gate = Gate(WIDTH, binary=True, bias=0.0)
    gate.score.forward = lambda both: scores(both[..., :WIDTH])[..., None]  # type: ignore[method-assign]
    return gate


def segment(batch: int, seed: int) -> Segment:
    generator = torch.Generator().manual_seed(seed)
    return Segment(
        torch.randn((batch, TIME, 2), generator=generator),
        torch.randint(0, 3, (batch, TIME), generator=generator),
        torch.rand((batch, TIME), generator=generator),
        torch.ones(batch, TIME, dtype=torch.bool),
    )


def rate(update: str = "binary_gate", bias: float = 0.0) -> SequencePolicy:
    module = discovery.load("memdt.models", "rate")
    sizes = {"layers": 1, "heads": 2, "width": 8, "head_width": 4, "feed_forward_width": 8}
    torch.manual_seed(0)
    parts = {"memory_tokens": 2, "memory_update": update, "gate_bias": bias}
    return module.build(module.Settings(name="rate", **parts, **sizes), SPACES)


def trainer(policy: SequencePolicy, **changes: object) -> BehaviourCloning:
    values = {
        "segments": 3, "updates_per_stage": (1,), "batch_size": 4, "learning_rate": 0.1,
        "weight_decay": 0.0, **changes,
    }  # fmt: skip
    settings, noise = TrainingSettings(**values), torch.Generator().manual_seed(0)
    return BehaviourCloning(policy, settings, None, noise, segment_length=4)


@pytest.mark.parametrize("gradient", [True, False])
def test_a_binary_gate_copies_or_keeps_bit_for_bit(gradient: bool) -> None:
    """Scores near and far from 0, where sums of a sigmoid and 1 would round."""
    scores = torch.tensor([[-9.0, -1e-3, 1e-3, 9.0], [0.3, -0.3, 0.7, -0.7], [-1.0, 1.0, 2.0, 3.0]])
    memory, written = draw(0), draw(1)
    with torch.set_grad_enabled(gradient):
        updated, _ = gate_with(lambda _: scores.clone().requires_grad_(gradient))(memory, written)
    expected = torch.where((scores > 0)[..., None], written, memory)
    assert torch.equal(updated.detach(), expected)


def test_a_shut_gate_keeps_memory_over_any_number_of_segments() -> None:
    gate = Gate(WIDTH, binary=True, bias=-100.0)
    memory = first = draw(0)
    for seed in range(1, 200):
        memory, _ = gate(memory, draw(seed))
    assert torch.equal(memory, first)


def test_a_binary_gate_learns_as_if_it_were_the_sigmoid() -> None:
    """Straight through: the gradient of the score is (written - memory) * sigmoid'."""
    memory, written = draw(0), draw(1)
    scores = torch.randn(BATCH, SLOTS, requires_grad=True)
    updated, _ = gate_with(lambda _: scores)(memory, written)
    updated.sum().backward()
    sigmoid = torch.sigmoid(scores.detach())
    expected = (written - memory).sum(-1) * sigmoid * (1 - sigmoid)
    torch.testing.assert_close(scores.grad, expected)


def test_a_soft_gate_mixes_every_dimension() -> None:
    gate, memory, written = Gate(WIDTH, binary=False, bias=0.0), draw(0), draw(1)
    torch.nn.init.zeros_(gate.score.weight)
    updated, openness = gate(memory, written)
    torch.testing.assert_close(updated, (memory + written) / 2)
    torch.testing.assert_close(openness, torch.full((BATCH, SLOTS), 0.5))


def test_replace_hands_on_what_was_written() -> None:
    updated, openness = memory_update("replace", WIDTH, 1, 0.0)(draw(0), draw(1))
    assert torch.equal(updated, draw(1))
    assert openness is None


@pytest.mark.parametrize("kind", ["retention_valve", "gate", "binary_gate"])
def test_old_and_new_memory_and_all_weights_receive_a_gradient(kind: str) -> None:
    update = memory_update(kind, WIDTH, 2, 0.5)
    memory, written = draw(0).requires_grad_(), draw(1).requires_grad_()
    updated, _ = update(memory, written)
    (updated * draw(2)).sum().backward()
    for name, parameter in update.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert memory.grad is not None
    assert memory.grad.abs().max() > 0
    assert written.grad is not None
    assert written.grad.abs().max() > 0


def losses(policy: SequencePolicy, segments: list[Segment], cost: float) -> tuple[float, float]:
    """Mean loss without and with a write cost."""
    plain, charged = (trainer(policy, write_cost=c).unroll(segments) for c in (0.0, cost))
    return plain.mean_loss.item(), charged.mean_loss.item()


def test_the_charge_is_the_mean_openness_of_overwriting() -> None:
    """By hand: memory after segment 2 is read by two rows, after segment 3 by one; 1 is free."""
    segments = [segment(3, 0), segment(3, 1), segment(2, 2), segment(1, 3)]
    policy = rate(bias=0.3).eval()
    memory, opened = policy.initial_memory(3), []
    for index, part in enumerate(segments):
        _, memory = policy(part, memory.rows(len(part)))
        if index in (1, 2):
            opened.extend(memory.cost()[: len(segments[index + 1])].tolist())
    plain, charged = losses(policy, segments, 0.5)
    assert len(opened) == 3
    assert charged - plain == pytest.approx(0.5 * sum(opened) / 3, abs=1e-6)


def test_the_first_segment_writes_for_nothing() -> None:
    plain, charged = losses(rate().eval(), [segment(3, 0), segment(3, 1)], 0.5)
    assert charged == plain


@pytest.mark.parametrize("kind", ["gate", "binary_gate"])
def test_a_step_along_the_charge_shuts_the_gates(kind: str) -> None:
    policy, segments = rate(kind), [segment(4, seed) for seed in range(3)]
    quiet, costly = (trainer(policy, write_cost=cost) for cost in (0.0, 1.0))
    charge = costly.unroll(segments).mean_loss - quiet.unroll(segments).mean_loss
    charge.backward()
    bias = policy.update.score.bias.grad
    assert (bias > 0).all()


def test_the_cost_follows_rows_and_survives_noise() -> None:
    policy = rate()
    _, memory = policy(segment(3, 0), policy.initial_memory(3))
    cost = memory.cost()
    assert torch.equal(memory.rows(2).cost(), cost[:2])
    assert torch.equal(memory.edit(torch.zeros_like).cost(), cost)
    assert replace(memory, openness=()).cost() is None


def test_a_cost_without_gates_or_without_gradient_is_refused() -> None:
    segments = [segment(2, seed) for seed in range(3)]
    with pytest.raises(UserError, match="training.write_cost: this model has no gates"):
        trainer(rate("replace"), write_cost=0.1).unroll(segments)
    with pytest.raises(ValidationError, match="gradient_through_memory: full"):
        trainer(rate(), write_cost=0.1, gradient_through_memory="detached")
