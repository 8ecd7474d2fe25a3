"""DT-Mem's memory against naive loops over the printed equations, slot by slot, token by token."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces
from pydantic import ValidationError
from torch import Tensor

from memdt import discovery
from memdt.data.segments import Segment
from memdt.models.interface import SequencePolicy, Spaces
from memdt.models.parts.working_memory import WorkingMemory, write_at_once, write_in_turn

BATCH, SLOTS, TOKENS, WIDTH = 2, 3, 5, 4
SPACES = Spaces(gym_spaces.Box(-1, 1, (2,), np.float32), gym_spaces.Discrete(3))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def memory(
    operations: int = 1, nearest: int | None = None, writing: str = "in_turn"
) -> WorkingMemory:
    torch.manual_seed(0)
    made = WorkingMemory(WIDTH, operations, nearest, writing)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made.eval()


def address_of(made: WorkingMemory, slots: Tensor, token: Tensor) -> list[float]:
    """Of one token: a number for each slot, which together are 1."""
    scores = [
        math.exp(float(made.query(slot) @ made.key(token)) / math.sqrt(WIDTH)) for slot in slots
    ]
    return [score / sum(scores) for score in scores]


def strength_of(made: WorkingMemory, slots: Tensor, token: Tensor) -> list[float]:
    scores = [
        math.exp(float(made.write_query(slot) @ made.write_key(token)) / math.sqrt(WIDTH))
        for slot in slots
    ]
    return [score / sum(scores) for score in scores]


@torch.no_grad()
def written_by_hand(made: WorkingMemory, before: Tensor, tokens: Tensor) -> Tensor:
    """M <- M (1 - w (1 - b)) + w b V, for each token in turn; found by what slots held before."""
    slots = before.clone()
    for token in tokens:
        address, strength = address_of(made, before, token), strength_of(made, before, token)
        for slot in range(len(slots)):
            erase = address[slot] * (1 - strength[slot])
            add = address[slot] * strength[slot] * made.write_value(token)
            slots[slot] = slots[slot] * (1 - erase) + add
    return slots


@torch.no_grad()
def test_tokens_write_in_turn_as_the_equations_say() -> None:
    made, slots, tokens = memory(), draw(BATCH, SLOTS, WIDTH), draw(BATCH, TOKENS, WIDTH, seed=1)
    expected = [written_by_hand(made, *pair) for pair in zip(slots, tokens, strict=True)]
    torch.testing.assert_close(made.write(slots, [tokens]), torch.stack(expected))


@torch.no_grad()
def test_each_operation_writes_its_tokens_to_what_the_one_before_has_left() -> None:
    made, slots = memory(operations=2), draw(1, SLOTS, WIDTH)
    first, second = draw(1, TOKENS, WIDTH, seed=1), draw(1, TOKENS, WIDTH, seed=2)
    halfway = written_by_hand(made, slots[0], first[0])
    expected = written_by_hand(made, halfway, second[0])
    torch.testing.assert_close(made.write(slots, [first, second])[0], expected)


def test_at_once_is_a_sum_over_tokens_and_erases_at_most_all() -> None:
    """By hand: slot 1 is erased by 0.5 * 0.5 + 0.2 * 0.5, slot 2 by more than there is."""
    address = torch.tensor([[[0.5, 0.2], [1.0, 1.0]]])
    strength = torch.tensor([[[0.5, 0.5], [0.25, 0.25]]])
    slots, values = torch.tensor([[[1.0], [8.0]]]), torch.tensor([[[4.0], [10.0]]])
    written = write_at_once(slots, address, strength, values)
    expected = [[0.65 + 0.25 * 4 + 0.1 * 10], [0.25 * 4 + 0.25 * 10]]
    torch.testing.assert_close(written, torch.tensor([expected]))


@torch.no_grad()
def test_at_once_takes_strength_over_tokens() -> None:
    made = memory(writing="at_once")
    slots, tokens = draw(1, SLOTS, WIDTH), draw(1, TOKENS, WIDTH, seed=1)
    raw = made.write_query(slots)[0] @ made.write_key(tokens)[0].T / math.sqrt(WIDTH)
    strength = torch.stack([row.exp() / row.exp().sum() for row in raw])
    address = torch.tensor([address_of(made, slots[0], token) for token in tokens[0]]).T
    expected = write_at_once(slots, address[None], strength[None], made.write_value(tokens))
    torch.testing.assert_close(made.write(slots, [tokens]), expected)


def test_of_one_token_both_readings_are_the_printed_equation() -> None:
    slots, values = draw(BATCH, SLOTS, WIDTH), draw(BATCH, 1, WIDTH, seed=1)
    address, strength = (draw(BATCH, SLOTS, 1, seed=s).softmax(1) for s in (2, 3))
    in_turn, at_once = (
        write(slots, address, strength, values) for write in (write_in_turn, write_at_once)
    )
    torch.testing.assert_close(in_turn, at_once)


@pytest.mark.parametrize("write", [write_in_turn, write_at_once])
def test_a_slot_that_nothing_is_addressed_to_is_kept_bit_for_bit(write) -> None:
    slots, values = draw(1, SLOTS, WIDTH), draw(1, TOKENS, WIDTH, seed=1)
    address = draw(1, SLOTS, TOKENS, seed=2).softmax(1)
    address[:, 1] = 0.0
    written = write(slots, address, draw(1, SLOTS, TOKENS, seed=3).softmax(1), values)
    assert torch.equal(written[:, 1], slots[:, 1])
    assert not torch.equal(written[:, 0], slots[:, 0])


def test_a_slot_that_is_wholly_erased_has_a_finite_gradient() -> None:
    """Address 1 and strength 0: the product over tokens is 0."""
    address, strength = torch.zeros(1, 2, TOKENS), torch.zeros(1, 2, TOKENS)
    address[:, 0] = 1.0
    address.requires_grad_()
    values = draw(1, TOKENS, WIDTH)
    written = write_in_turn(draw(1, 2, WIDTH, seed=1), address, strength, values)
    assert torch.equal(written[:, 0], torch.zeros(1, WIDTH))
    written.sum().backward()
    assert address.grad is not None
    assert address.grad.isfinite().all()


@torch.no_grad()
def test_a_token_reads_the_mean_of_slots_by_its_address() -> None:
    made, slots, tokens = memory(), draw(1, SLOTS, WIDTH), draw(1, TOKENS, WIDTH, seed=1)
    (read,) = made.read(slots, tokens)
    for token, after in zip(tokens[0], read[0], strict=True):
        weights = address_of(made, slots[0], token)
        mean = sum(weight * slot for weight, slot in zip(weights, slots[0], strict=True))
        torch.testing.assert_close(after, made.norm(token + mean))


@torch.no_grad()
def test_the_second_operation_reads_with_the_tokens_of_the_first() -> None:
    slots, tokens = draw(1, SLOTS, WIDTH), draw(1, TOKENS, WIDTH, seed=1)
    first, second = memory(operations=2).read(slots, tokens)
    assert torch.equal(first, memory().read(slots, tokens)[0])
    assert torch.equal(second, memory().read(slots, first)[0])


@torch.no_grad()
def test_the_nearest_slot_is_the_one_of_the_largest_weight() -> None:
    made, slots, tokens = memory(nearest=1), draw(1, SLOTS, WIDTH), draw(1, TOKENS, WIDTH, seed=1)
    (read,) = made.read(slots, tokens)
    chosen = []
    for token, after in zip(tokens[0], read[0], strict=True):
        weights = address_of(made, slots[0], token)
        chosen.append(weights.index(max(weights)))
        torch.testing.assert_close(after, made.norm(token + slots[0, chosen[-1]]))
    assert len(set(chosen)) > 1, "all tokens are nearest to the same slot, draw others"


@torch.no_grad()
def test_the_nearest_two_of_three_are_weighed_without_the_third() -> None:
    made, slots, tokens = memory(nearest=2), draw(1, SLOTS, WIDTH), draw(1, 1, WIDTH, seed=1)
    weights = torch.tensor(address_of(made, slots[0], tokens[0, 0]))
    weights[weights.argmin()] = 0.0
    mean = (weights / weights.sum()) @ slots[0]
    torch.testing.assert_close(made.read(slots, tokens)[0][0, 0], made.norm(tokens[0, 0] + mean))


@torch.no_grad()
def test_the_nearest_of_as_many_as_there_are_is_attention() -> None:
    slots, tokens = draw(1, SLOTS, WIDTH), draw(1, TOKENS, WIDTH, seed=1)
    everything = memory(nearest=SLOTS).read(slots, tokens)[0]
    assert torch.equal(everything, memory().read(slots, tokens)[0])


@pytest.mark.parametrize("writing", ["in_turn", "at_once"])
@torch.no_grad()
def test_slots_have_no_order(writing: str) -> None:
    made, slots = memory(writing=writing), draw(1, SLOTS, WIDTH)
    tokens, turned = draw(1, TOKENS, WIDTH, seed=1), torch.tensor([2, 0, 1])
    torch.testing.assert_close(made.read(slots[:, turned], tokens), made.read(slots, tokens))
    written = made.write(slots, [tokens])
    torch.testing.assert_close(made.write(slots[:, turned], [tokens]), written[:, turned])


def segment(seed: int, time: int = 4) -> Segment:
    generator = torch.Generator().manual_seed(seed)
    return Segment(
        torch.randn((BATCH, time, 2), generator=generator),
        torch.randint(0, 3, (BATCH, time), generator=generator),
        torch.rand((BATCH, time), generator=generator),
        torch.ones(BATCH, time, dtype=torch.bool),
    )


def policy(**parts: object) -> SequencePolicy:
    module = discovery.load("memdt.models", "dt_mem")
    sizes = {"layers": 2, "heads": 2, "width": 8, "head_width": 4, "feed_forward_width": 8}
    torch.manual_seed(0)
    return module.build(module.Settings(name="dt_mem", **{**sizes, "slots": 3, **parts}), SPACES)


@pytest.mark.parametrize("parts", [{}, {"placement": "after_last"}, {"writing": "at_once"}])
def test_every_weight_learns_from_two_segments(parts: dict) -> None:
    made = policy(**parts)
    memory, outputs = made.initial_memory(BATCH), []
    for part in (segment(0), segment(1)):
        output, memory = made(part, memory)
        outputs.append(output)
    torch.cat(outputs).square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_one_memory_module_stands_in_each_block_or_after_the_last() -> None:
    names = [
        [name for name, part in policy(placement=where).named_modules()
         if isinstance(part, WorkingMemory)]
        for where in ("each_block", "after_last")
    ]  # fmt: skip
    assert names == [["blocks.0.memory", "blocks.1.memory"], ["blocks.0.memory"]]


@pytest.mark.parametrize("carried", [True, False])
@torch.no_grad()
def test_only_a_carried_memory_knows_the_previous_segment(carried: bool) -> None:
    made = policy(carried=carried).eval()
    after = [made(segment(seed), made.initial_memory(BATCH))[1] for seed in (0, 1)]
    seen, other = (made(segment(2), memory)[0] for memory in after)
    assert torch.equal(seen, other) is not carried


def test_more_nearest_slots_than_there_are_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"model.nearest 4 exceeds model.slots 3"):
        policy(retrieval="nearest", nearest=4)
