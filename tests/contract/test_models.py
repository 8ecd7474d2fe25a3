"""Every model over segments keeps the promises of ``SequencePolicy``; see also test_policies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from made_up.models import PARTS, SIZES, SPACES, cases, make
from memdt import discovery
from memdt.data.segments import Segment
from memdt.models.interface import Memory, SequencePolicy, Spaces, Step
from memdt.models.parts import attention
from memdt.models.parts.segment_transformer import SegmentTransformer
from memdt.training.checkpoints import load_checkpoint, save_checkpoint

BATCH, TIME, SEGMENTS = 3, 5, 3
REAL = ("observations", "actions", "returns_to_go", "mask")  # of a segment, what is always there
SHOWN = [(name, p) for name, of_it in PARTS.items() for p in of_it if "demonstration_steps" in p]


def segment_of(spaces: Spaces, batch: int = BATCH, seed: int = 0) -> Segment:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, TIME, *spaces.observation.shape)
    if spaces.observation.dtype == np.uint8:
        observations = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    else:
        observations = torch.randn(shape, generator=generator)
    if spaces.discrete:
        size = (batch, TIME)
        actions = torch.randint(0, spaces.action_outputs, size, generator=generator)
    else:
        actions = torch.randn((batch, TIME, spaces.action_outputs), generator=generator)
    returns = torch.rand((batch, TIME), generator=generator)
    return Segment(observations, actions, returns, torch.ones(batch, TIME, dtype=torch.bool))


def begin(
    policy: SequencePolicy, batch: int = BATCH, kind: str = "vector", seed: int = 99
) -> Memory:
    """The memory before the first segment; of a model that wants one, after a demonstration."""
    steps = getattr(getattr(policy, "settings", None), "demonstration_steps", 0)
    if not steps:
        return policy.initial_memory(batch)
    whole = segment_of(SPACES[kind], seed=seed).rows(batch)
    cut = {name: getattr(whole, name)[:, :steps] for name in REAL}
    return policy.memory_after(Segment(**cut), batch)


def unroll(
    policy: SequencePolicy, segments: list[Segment], kind: str = "vector"
) -> tuple[list[torch.Tensor], Memory]:
    memory, outputs = begin(policy, len(segments[0]), kind), []
    for segment in segments:
        output, memory = policy(segment, memory)
        outputs.append(output)
    return outputs, memory


def decode(
    policy: SequencePolicy, segment: Segment, memory: Memory
) -> tuple[torch.Tensor, Memory | None]:
    state, previous, outputs = policy.begin_segment(memory, TIME), None, []
    for time in range(TIME):
        step = Step(segment.observations[:, time], segment.returns_to_go[:, time], previous)
        output, state = policy.step(step, state)
        previous = segment.actions[:, time]
        outputs.append(output)
    closed = policy.end_segment(previous, state) if policy.recurrent else None
    return torch.stack(outputs, dim=1), closed


@pytest.mark.parametrize(("name", "parts"), cases(SequencePolicy))
@pytest.mark.parametrize("kind", SPACES)
def test_shapes_follow_from_the_spaces(name: str, parts: dict, kind: str) -> None:
    spaces = SPACES[kind]
    outputs, _ = unroll(make(name, parts, spaces), [segment_of(spaces)], kind)
    assert outputs[0].shape == (BATCH, TIME, spaces.action_outputs)


@pytest.mark.parametrize(("name", "parts"), cases(SequencePolicy))
@pytest.mark.parametrize("kind", ["vector", "continuous"])
def test_no_label_and_no_later_step_reaches_a_prediction(name: str, parts: dict, kind: str) -> None:
    policy, segment = make(name, parts, SPACES[kind]), segment_of(SPACES[kind])
    other = segment_of(SPACES[kind], seed=1)
    before, _ = unroll(policy, [segment], kind)
    for time in range(TIME):
        actions = segment.actions.clone()
        actions[:, time:] = other.actions[:, time:]  # the step's own label and all later ones
        observations, returns = segment.observations.clone(), segment.returns_to_go.clone()
        observations[:, time + 1 :] = other.observations[:, time + 1 :]
        returns[:, time + 1 :] = other.returns_to_go[:, time + 1 :]
        changed = Segment(observations, actions, returns, segment.mask)
        after, _ = unroll(policy, [changed], kind)
        torch.testing.assert_close(
            after[0][:, : time + 1], before[0][:, : time + 1], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize(("name", "parts"), cases(SequencePolicy))
def test_a_prediction_depends_on_its_own_observation(name: str, parts: dict) -> None:
    policy = make(name, parts)
    if not list(policy.parameters()):
        pytest.skip("a policy without weights sees nothing")
    segment = segment_of(SPACES["vector"])
    moved = replace(segment, observations=segment.observations + 1.0)
    assert not torch.allclose(unroll(policy, [segment])[0][0], unroll(policy, [moved])[0][0])


@pytest.mark.parametrize(("name", "parts"), cases(SequencePolicy))
def test_cached_steps_give_the_logits_of_forward(name: str, parts: dict) -> None:
    policy = make(name, parts)
    segments = [segment_of(SPACES["vector"], seed=seed) for seed in range(SEGMENTS)]
    memory = cached_memory = begin(policy)
    with torch.inference_mode():
        for segment in segments:
            if not policy.recurrent:
                memory = cached_memory = begin(policy)
            outputs, memory = policy(segment, memory)
            steps, closed = decode(policy, segment, cached_memory)
            torch.testing.assert_close(steps, outputs, rtol=0, atol=1e-5)
            cached_memory = closed if closed is not None else cached_memory


@pytest.mark.parametrize(("name", "parts"), cases(SequencePolicy))
def test_rows_can_leave_a_rollout(name: str, parts: dict) -> None:
    policy = make(name, parts)
    segment = segment_of(SPACES["vector"])
    keep = torch.tensor([True, False, True])
    with torch.inference_mode():
        whole, _ = decode(policy, segment, begin(policy))
        state = policy.begin_segment(begin(policy), TIME)
        step = Step(segment.observations[:, 0], segment.returns_to_go[:, 0], None)
        _, state = policy.step(step, state)
        state = state.rows(keep)
        step = Step(
            segment.observations[keep, 1], segment.returns_to_go[keep, 1], segment.actions[keep, 0]
        )
        outputs, _ = policy.step(step, state)
    torch.testing.assert_close(outputs, whole[keep, 1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "parts"), cases(SequencePolicy))
def test_padding_changes_nothing_before_it(name: str, parts: dict) -> None:
    policy, segment = make(name, parts), segment_of(SPACES["vector"])
    mask = segment.mask.clone()
    mask[:, 3:] = False
    observations, actions = segment.observations.clone(), segment.actions.clone()
    observations[:, 3:], actions[:, 3:] = 7.0, 0
    padded = Segment(observations, actions, segment.returns_to_go, mask)
    whole, cut = unroll(policy, [segment])[0][0], unroll(policy, [padded])[0][0]
    torch.testing.assert_close(cut[:, :3], whole[:, :3], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "parts"), cases(SequencePolicy))
def test_rows_do_not_see_each_other(name: str, parts: dict) -> None:
    policy = make(name, parts)
    segments = [segment_of(SPACES["vector"], seed=seed) for seed in range(2)]
    together, _ = unroll(policy, segments)
    alone, _ = unroll(policy, [segment.rows(1) for segment in segments])
    torch.testing.assert_close(together[1][:1], alone[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "parts"), cases(SequencePolicy))
def test_save_and_load_give_the_same_bits(name: str, parts: dict, tmp_path) -> None:
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    policy, fresh = make(name, parts), make(name, parts, seed=1)
    save_checkpoint(policy, path, {"settings_digest": "x"})
    load_checkpoint(fresh, path, "x", "")
    for key, tensor in policy.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[key]), key
    save_checkpoint(fresh, other, {"settings_digest": "x"})
    assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(("name", "parts"), cases(SequencePolicy))
def test_the_same_seed_gives_the_same_weights(name: str, parts: dict) -> None:
    first, second = make(name, parts), make(name, parts)
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)


MEMORIES = [
    pytest.param("rate", parts, id=str(parts)) for parts in PARTS["rate"]
] + [pytest.param("recurrent_memory_transformer", {"memory_tokens": 2}, id="rmt"),
     pytest.param("behaviour_cloning_lstm", {}, id="lstm"),
     *(pytest.param("dt_mem", parts, id=f"dt_mem {parts}") for parts in PARTS["dt_mem"]
       if parts.get("carried", True))]  # fmt: skip


@pytest.mark.parametrize(("name", "parts"), MEMORIES)
def test_the_last_loss_reaches_the_first_segment_through_memory(name: str, parts: dict) -> None:
    policy = make(name, parts)
    segments = [segment_of(SPACES["vector"], seed=seed) for seed in range(SEGMENTS)]
    first = replace(segments[0], observations=segments[0].observations.requires_grad_())
    outputs, _ = unroll(policy, [first, *segments[1:]])
    outputs[-1].square().sum().backward()
    if parts.get("memory_update") == "binary_gate":
        pytest.skip("a shut gate keeps the old memory bit for bit: see test_memory_update")
    assert first.observations.grad is not None
    assert first.observations.grad.abs().max() > 0


@pytest.mark.parametrize("update", ["retention_valve", "gate", "binary_gate"])
def test_the_weights_of_a_memory_update_receive_a_gradient(update: str) -> None:
    policy = make("rate", {"memory_tokens": 2, "memory_update": update})
    segments = [segment_of(SPACES["vector"], seed=seed) for seed in range(SEGMENTS)]
    unroll(policy, segments)[0][-1].square().sum().backward()
    gradients = {n: p.grad for n, p in policy.update.named_parameters()}
    assert gradients
    for name, gradient in gradients.items():
        if name.endswith("in_proj_bias"):
            continue  # its key part shifts all scores alike and rightly has gradient 0
        assert gradient is not None, name
        assert gradient.abs().max() > 0, name


def test_memory_tokens_do_not_start_identical() -> None:
    tokens = make("rate", {"memory_tokens": 5}).initial_memory(1).tokens[0]
    assert torch.cdist(tokens, tokens).add(torch.eye(5)).min() > 1e-3


def test_detached_memory_carries_values_and_no_gradient() -> None:
    policy = make("rate", {"memory_tokens": 2})
    segment = replace(
        segment_of(SPACES["vector"]),
        observations=segment_of(SPACES["vector"]).observations.requires_grad_(),
    )
    _, memory = policy(segment, policy.initial_memory(BATCH))
    outputs, _ = policy(segment_of(SPACES["vector"], seed=1), memory.detach())
    outputs.sum().backward()
    assert segment.observations.grad is None


def test_transformer_xl_with_enough_cache_is_one_long_pass() -> None:
    """Segment recurrence loses nothing while the cache holds everything: one layer, exact."""
    parts = {"layers": 1, "cache_length": 3 * TIME * SEGMENTS}
    policy = make("transformer_xl", parts)
    segments = [segment_of(SPACES["vector"], seed=seed) for seed in range(SEGMENTS)]
    long = Segment(*(torch.cat([getattr(s, name) for s in segments], dim=1) for name in REAL))
    pieces, _ = unroll(policy, segments)
    whole, _ = unroll(policy, [long])
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole[0], rtol=0, atol=1e-5)


def test_rate_without_memory_and_cache_is_a_decision_transformer() -> None:
    rate, other = make("rate", {"memory_tokens": 0}), make("decision_transformer", {})
    other.load_state_dict(rate.state_dict())
    segment = segment_of(SPACES["vector"])
    assert torch.equal(unroll(rate, [segment])[0][0], unroll(other, [segment])[0][0])


def test_a_sliding_window_forgets_what_has_left_it() -> None:
    """Deeper layers must not look back further than the context through cached keys."""
    policy = make("decision_transformer", {"layers": 3})
    assert isinstance(policy, SegmentTransformer)
    first, second = segment_of(SPACES["vector"]), segment_of(SPACES["vector"], seed=1)
    with torch.inference_mode():
        results = []
        for start in (first, replace(first, observations=first.observations + 5.0)):
            state, previous = policy.begin_segment(policy.initial_memory(BATCH), TIME), None
            for segment in (start, second):
                for time in range(TIME):
                    step = Step(
                        segment.observations[:, time], segment.returns_to_go[:, time], previous
                    )
                    output, state = policy.step(step, state)
                    previous = segment.actions[:, time]
            results.append(output)
        # The oldest action still in the window belongs to the first segment in neither case.
        torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
        window = replace(second, actions=second.actions.clone())
        expected, _ = policy(window, policy.initial_memory(BATCH))
    torch.testing.assert_close(results[0], expected[:, -1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "parts"), SHOWN)
def test_what_is_shown_reaches_every_prediction_and_trains_what_reads_it(name, parts) -> None:
    policy, segment = make(name, parts), segment_of(SPACES["vector"])
    one, other = (policy(segment, begin(policy, seed=seed))[0] for seed in (99, 98))
    assert (one - other).abs().amax(dim=(0, 2)).min() > 0
    one.square().sum().backward()
    read_by = policy.prompt if name == "pdt" else policy.hyper_network
    gradients = {key: value.grad for key, value in read_by.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values()), gradients


@pytest.mark.parametrize("name", ["pdt", "hdt"])
def test_a_window_that_slides_keeps_what_was_shown(name) -> None:
    policy = make(name, PARTS[name][0])
    first, second = segment_of(SPACES["vector"]), segment_of(SPACES["vector"], seed=1)
    with torch.inference_mode():
        state, previous = policy.begin_segment(begin(policy), TIME), None
        for segment in (first, second):
            for time in range(TIME):
                step = Step(segment.observations[:, time], segment.returns_to_go[:, time], previous)
                output, state = policy.step(step, state)
                previous = segment.actions[:, time]
        expected, _ = policy(second, begin(policy))
    torch.testing.assert_close(output, expected[:, -1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "parts"), SHOWN)
def test_untrained_a_hyper_network_adds_nothing(name, parts) -> None:
    if name == "pdt":
        pytest.skip("a prompt is read by attention, trained or not")
    module = discovery.load("memdt.models", name)
    torch.manual_seed(0)
    policy = module.build(module.Settings(**{**SIZES, **parts, "name": name}), SPACES["vector"])
    segment = segment_of(SPACES["vector"])
    shown, alone = (
        policy(segment, one)[0] for one in (begin(policy), policy.initial_memory(BATCH))
    )
    torch.testing.assert_close(shown, alone, rtol=0, atol=1e-6)


def padded(shown: Segment, steps: int, filling: float) -> Segment:
    """The same demonstration with so many steps of padding behind it."""
    shape = (len(shown), steps)
    filled = {
        name: torch.cat([part, part.new_full((*shape, *part.shape[2:]), filling)], dim=1)
        for name, part in ((name, getattr(shown, name)) for name in REAL[:3])
    }
    mask = torch.cat([shown.mask, torch.zeros(shape, dtype=torch.bool)], dim=1)
    return Segment(**filled, mask=mask)


@pytest.mark.parametrize(("name", "parts"), SHOWN)
@pytest.mark.parametrize("device_path", [False, True])
def test_padding_of_a_demonstration_changes_nothing(name, parts, device_path, monkeypatch) -> None:
    """Neither how much of it there is, nor what it holds, in rows that differ in how much."""
    policy, segment = make(name, parts), segment_of(SPACES["vector"])
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    if device_path:  # the library's attention, as on a graphics card
        monkeypatch.setattr(attention, "attend", attention.attend_by_library)
    whole = segment_of(SPACES["vector"], seed=7)
    short = Segment(**{part: getattr(whole, part)[:, :2] for part in REAL})
    with torch.no_grad():
        alone, _ = policy(segment, policy.memory_after(short, BATCH))
        for filling in (0.0, 1.0):
            mixed = padded(short, TIME - 2, filling)
            mixed = Segment(*(torch.cat([getattr(mixed, n), getattr(whole, n)]) for n in REAL))
            memory = policy.memory_after(mixed, 2 * BATCH)
            twice = Segment(*(torch.cat([getattr(segment, n)] * 2) for n in REAL))
            together, _ = policy(twice, memory)
            torch.testing.assert_close(together[:BATCH], alone, atol=2e-5, rtol=1e-4)
            stepped, _ = decode(policy, twice, memory)
            torch.testing.assert_close(stepped[:BATCH], alone, atol=2e-5, rtol=1e-4)
