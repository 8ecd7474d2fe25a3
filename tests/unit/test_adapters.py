"""Adapters: what they add, what trains and what does not, merging, keeping; for every model."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces
from torch import Tensor, nn
from torch.nn.utils import parametrize

from memdt import discovery
from memdt.data.segments import Segment
from memdt.errors import UserError
from memdt.models.interface import SequencePolicy, Spaces, Step
from memdt.models.parts.adapters import LowRank, adapt, merge, trainable
from memdt.models.parts.hyper_network import HyperNetwork
from memdt.settings.learners import DEFAULT, learner_of
from memdt.settings.schema import AdapterSettings, TrainingSettings
from memdt.training.checkpoints import load_checkpoint, save_checkpoint
from memdt.training.learners.behaviour_cloning import BehaviourCloning
from memdt.training.optimiser import AdamW

BATCH, TIME, WIDTH = 3, 4, 8
SPACES = Spaces(gym_spaces.Box(-1, 1, (2,), np.float32), gym_spaces.Discrete(3))
SIZES = {"layers": 2, "heads": 2, "width": WIDTH, "head_width": 4, "feed_forward_width": 16}
PARTS = {
    "rate": {"memory_tokens": 2, "memory_update": "retention_valve", "cache_length": 3},
    "recurrent_memory_transformer": {"memory_tokens": 2},
    "transformer_xl": {"cache_length": 9},
    "rate_without_memory": {"cache_length": 2},
    "dt_mem": {"slots": 5},
    "pdt": {"demonstration_steps": 2},
    "hdt": {"demonstration_steps": 2, "rank": 2, "task_width": 8, "hyper_width": 8},
}
CLONED = [name for name in discovery.names("memdt.models") if learner_of(name) == DEFAULT]
MODELS = [name for name in CLONED if name != "random"]
# As wide as the model, heads share their keys: attention multiplies other products of weights.
WAYS = [(name, {}) for name in MODELS] + [("rate", {"head_width": WIDTH}), ("rate", {"heads": 1})]
EVERYTHING = AdapterSettings(layers=("*",), rank=2, alpha=3.0)


def make(name: str, seed: int = 0, **parts: object) -> SequencePolicy:
    module = discovery.load("memdt.models", name)
    sizes = {k: v for k, v in SIZES.items() if k in module.Settings.model_fields}
    torch.manual_seed(seed)
    settings = module.Settings(**{"name": name, **sizes, **PARTS.get(name, {}), **parts})
    policy = module.build(settings, SPACES).eval()
    for part in policy.modules():
        if isinstance(part, HyperNetwork):  # which adds nothing before it is trained
            nn.init.normal_(part.network[-1].weight)
    return policy


def segment(seed: int) -> Segment:
    generator = torch.Generator().manual_seed(seed)
    return Segment(
        torch.randn((BATCH, TIME, 2), generator=generator),
        torch.randint(0, 3, (BATCH, TIME), generator=generator),
        torch.rand((BATCH, TIME), generator=generator),
        torch.ones(BATCH, TIME, dtype=torch.bool),
    )


def shown(policy: SequencePolicy) -> Segment | None:
    """The demonstration of a policy that wants one."""
    steps = getattr(getattr(policy, "settings", None), "demonstration_steps", 0)
    whole = segment(9)
    parts = (whole.observations, whole.actions, whole.returns_to_go, whole.mask)
    return Segment(*(part[:, :steps] for part in parts)) if steps else None


def outputs(policy: SequencePolicy) -> Tensor:
    """Logits of three segments in a row."""
    all_logits = []
    with torch.no_grad():
        memory = policy.memory_after(shown(policy), BATCH)
        for seed in range(3):
            if not policy.recurrent:
                memory = policy.memory_after(shown(policy), BATCH)
            logits, memory = policy(segment(seed), memory)
            all_logits.append(logits)
    return torch.cat(all_logits, dim=1)


def decoded(policy: SequencePolicy) -> Tensor:
    """The same logits, of the first segment, step by step."""
    played, previous, all_logits = segment(0), None, []
    with torch.inference_mode():
        state = policy.begin_segment(policy.memory_after(shown(policy), BATCH), TIME)
        for time in range(TIME):
            step = Step(played.observations[:, time], played.returns_to_go[:, time], previous)
            logits, state = policy.step(step, state)
            previous = played.actions[:, time]
            all_logits.append(logits)
    return torch.stack(all_logits, dim=1)


def train(policy: SequencePolicy, updates: int = 3, **changes: object) -> None:
    """Some updates of the project's own training, with weight decay."""
    settings = TrainingSettings(
        **{"segments": 3, "updates_per_stage": (1,), "batch_size": BATCH, "learning_rate": 0.05,
           "weight_decay": 0.1, **changes}
    )  # fmt: skip
    optimiser = AdamW(policy.parameters(), lr=0.05, betas=(0.9, 0.95), weight_decay=0.1)
    learner = BehaviourCloning(policy.train(), settings, optimiser, torch.Generator(), TIME)
    for number in range(updates):
        learner.update(number, [replace(segment(s), demonstration=shown(policy)) for s in range(3)])
    policy.eval()


def values(policy: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in policy.state_dict().items()}


def with_noise(policy: SequencePolicy, settings: AdapterSettings = EVERYTHING) -> SequencePolicy:
    """The policy adapted, its adapters as if they were trained."""
    adapt(policy, settings)
    generator = torch.Generator().manual_seed(0)
    for module in policy.modules():
        if isinstance(module, LowRank):
            module.up.data = torch.randn(module.up.shape, generator=generator)
    return policy


def test_an_adapted_weight_is_the_weight_and_a_scaled_product() -> None:
    settings = AdapterSettings(layers=("*",), rank=2, alpha=3.0)
    adapter = LowRank(torch.zeros(3, 4), settings)
    adapter.up.data = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    adapter.down.data = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0]])
    added = torch.tensor([[1.5, 3.0, 4.5, 6.0], [0.0, 3.0, 0.0, 3.0], [1.5, 4.5, 4.5, 7.5]])
    torch.testing.assert_close(adapter(torch.full((3, 4), 10.0)), 10.0 + added)


@pytest.mark.parametrize(("name", "parts"), WAYS)
def test_an_untrained_adapter_changes_nothing(name: str, parts: dict) -> None:
    policy = make(name, **parts)
    before, weights = outputs(policy), values(policy)
    for layer in adapt(policy, EVERYTHING):
        assert torch.equal(policy.get_submodule(layer).weight, weights[f"{layer}.weight"]), layer
    torch.testing.assert_close(outputs(policy), before, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "parts"), WAYS)
def test_every_linear_layer_may_be_adapted_by_itself(name: str, parts: dict) -> None:
    """Attention takes weights and does not call its layers: an adapter must not be passed by."""
    plain = make(name, **parts)
    before = outputs(plain)
    layers = [path for path, part in plain.named_modules() if isinstance(part, nn.Linear)]
    assert layers
    for layer in layers:
        policy = with_noise(make(name, **parts), AdapterSettings(layers=(layer,), rank=2))
        assert not torch.allclose(outputs(policy), before), layer


@pytest.mark.parametrize("gradient", ["full", "detached"])
@pytest.mark.parametrize(("name", "parts"), WAYS)
def test_training_changes_the_adapters_and_nothing_else(
    name: str, parts: dict, gradient: str
) -> None:
    policy = make(name, **parts)
    adapt(policy, EVERYTHING)
    before = values(policy)
    train(policy, gradient_through_memory=gradient)
    changed = {
        key for key, tensor in values(policy).items() if not torch.equal(tensor, before[key])
    }
    adapters = {key for key in before if key.endswith((".0.up", ".0.down"))}
    # Detached, a memory that is written after the loss has no gradient: see DT-Mem and the valve.
    written = {key for key in adapters if "memory.write" in key or key.startswith("update.")}
    assert changed == adapters - (written if gradient == "detached" else set())


def test_full_fine_tuning_changes_every_tensor() -> None:
    """What the test above would say of a policy whose adapters froze nothing."""
    policy = make("dt_mem")
    before = values(policy)
    train(policy)
    assert not [key for key, tensor in values(policy).items() if torch.equal(tensor, before[key])]


@pytest.mark.parametrize(("name", "parts"), WAYS)
def test_a_merged_policy_acts_alike_and_has_only_other_weights(name: str, parts: dict) -> None:
    plain = values(make(name, **parts))
    policy = with_noise(make(name, **parts), some_layers(name))
    adapted = {f"{key}.weight" for key in adapted_names(policy)}
    before, steps = outputs(policy), decoded(policy)
    merge(policy)
    torch.testing.assert_close(outputs(policy), before, rtol=0, atol=1e-5)
    torch.testing.assert_close(decoded(policy), steps, rtol=0, atol=1e-5)
    after = values(policy)
    assert set(after) == set(plain)
    assert {key for key in after if not torch.equal(after[key], plain[key])} == adapted
    assert all(type(part) is not LowRank for part in policy.modules())


def some_layers(name: str) -> AdapterSettings:
    """So that there are others, which must stay."""
    others = {
        "dt_mem": "*.memory.*",
        "behaviour_cloning_mlp": "network.3",
        "behaviour_cloning_lstm": "head",
    }
    return EVERYTHING.model_copy(update={"layers": (others.get(name, "*.blocks.1.*"),)})


def adapted_names(policy: nn.Module) -> list[str]:
    return [name for name, part in policy.named_modules() if parametrize.is_parametrized(part)]


def test_cached_steps_see_adapters_too() -> None:
    policy = with_noise(make("rate"))
    torch.testing.assert_close(decoded(policy), outputs(policy)[:, :TIME], rtol=0, atol=1e-5)


def test_merging_in_the_middle_of_training_leaves_dropout_out() -> None:
    settings = with_dropout(0.5)
    policy = with_noise(make("dt_mem"), settings)
    before = outputs(policy)
    merge(policy.train())
    torch.testing.assert_close(outputs(policy.eval()), before, rtol=0, atol=1e-5)


def with_dropout(dropout: float) -> AdapterSettings:
    return EVERYTHING.model_copy(update={"dropout": dropout})


def test_dropout_leaves_whole_inputs_out_and_scales_the_others() -> None:
    adapter = LowRank(torch.zeros(3, 64), with_dropout(0.75))
    adapter.up.data = torch.randn(3, 2)
    added = adapter.eval()(torch.zeros(3, 64))
    torch.manual_seed(0)
    dropped = adapter.train()(torch.zeros(3, 64))
    left_out = (dropped == 0).all(dim=0)
    assert 32 < int(left_out.sum()) < 64
    torch.testing.assert_close(dropped[:, ~left_out], 4 * added[:, ~left_out])
    assert not torch.equal(dropped, adapter(torch.zeros(3, 64))), "every time others"


def test_an_adapted_policy_is_kept_like_any_other(tmp_path: Path) -> None:
    policy, path = make("dt_mem"), tmp_path / "checkpoint.safetensors"
    adapt(policy, EVERYTHING)
    train(policy)
    save_checkpoint(policy, path, {"settings_digest": "x"})
    fresh = make("dt_mem", seed=1)
    adapt(fresh, EVERYTHING)
    load_checkpoint(fresh, path, "x", "")
    assert all(torch.equal(tensor, values(policy)[key]) for key, tensor in values(fresh).items())
    torch.testing.assert_close(outputs(fresh), outputs(policy), rtol=0, atol=1e-5)
    assert trainable(fresh) == trainable(policy)
    merge(fresh)
    save_checkpoint(fresh, path, {"settings_digest": "y"})
    plain = make("dt_mem", seed=2)
    load_checkpoint(plain, path, "y", "")  # the names of a policy that was never adapted
    assert all(torch.equal(tensor, values(fresh)[key]) for key, tensor in values(plain).items())
    torch.testing.assert_close(outputs(plain), outputs(fresh), rtol=0, atol=1e-5)


def test_the_share_of_dt_mems_five_matrices_is_counted() -> None:
    """Two memories, five matrices each, rank 4: (inputs + outputs) * rank numbers a matrix."""
    policy = make("dt_mem")
    everything = trainable(policy)
    assert everything.trainable == everything.total
    assert everything.share == 1.0
    names = adapt(policy, AdapterSettings(layers=("blocks.*.memory.*",)))
    expected = 2 * 5 * 4 * (WIDTH + WIDTH)
    assert len(names) == 10
    assert trainable(policy).trainable == expected
    assert trainable(policy).total == everything.total + expected
    assert trainable(policy).share == pytest.approx(expected / (everything.total + expected))


def test_a_policy_without_parameters_trains_no_share() -> None:
    assert trainable(nn.Module()).share == 0.0


def test_the_same_seed_draws_the_same_adapters() -> None:
    first, second = make("dt_mem"), make("dt_mem")
    for policy in (first, second):
        torch.manual_seed(5)
        adapt(policy, EVERYTHING)
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)
        assert left is not right


def test_names_that_fit_nothing_and_second_adapters_are_refused() -> None:
    policy = make("dt_mem")
    wrong = AdapterSettings(layers=("*.memory.*", "blocks.0.memory.querry"))
    before = copy.deepcopy(policy)
    with pytest.raises(
        UserError, match=r"training.adapter.layers: 'blocks.0.memory.querry' matches no"
    ) as e:
        adapt(policy, wrong)
    assert "did you mean 'blocks.0.memory.query'?" in str(e.value)
    assert all(p.requires_grad for p in policy.parameters()), "a refusal changes nothing"
    assert list(values(policy)) == list(values(before))
    adapt(policy, EVERYTHING)
    with pytest.raises(UserError, match="already has adapters -> merge them first"):
        adapt(policy, EVERYTHING)
