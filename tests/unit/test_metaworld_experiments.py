"""What the Meta-World experiments promise: like budgets for all, the right parts trained."""

from __future__ import annotations

import pytest
import torch

from memdt import discovery
from memdt.environments import meta_world
from memdt.models.interface import Spaces
from memdt.settings.files import experiment_file, variants_of
from memdt.settings.layers import available
from memdt.settings.resolve import resolve
from memdt.training.freezing import freeze

gymnasium_spaces = pytest.importorskip("gymnasium.spaces")
NAMES = [name for name in available("experiments") if name.startswith("metaworld_")]
TUNED = [
    (name, variant)
    for name in NAMES
    for variant, entry in experiment_file(name).variants.items()
    if entry.start_from
]
SPACES = Spaces(gymnasium_spaces.Box(-100, 100, (39,)), gymnasium_spaces.Box(-1, 1, (4,)))


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_every_method_is_fine_tuned_with_the_same_data_and_updates(scale):
    budgets = set()
    for name in ("metaworld_table_4", "metaworld_table_6", "metaworld_table_8"):
        for variant in variants_of(name, scale):
            settings = resolve(name, variant, scale).settings
            if settings.environment.name != "ml45_test" or settings.start is None:
                continue
            training = settings.training
            budgets.add(
                (training.updates_per_stage, training.batch_size, training.data_fraction,
                 settings.dataset["episodes_per_length"], training.segments)
            )  # fmt: skip
    assert len(budgets) == 1


@pytest.mark.parametrize(("name", "variant"), TUNED)
def test_what_is_trained_exists_and_is_a_part_or_all_of_the_policy(name, variant):
    settings = resolve(name, variant, "quick").settings
    module = discovery.load("memdt.models", settings.model["name"])
    torch.manual_seed(0)
    policy = module.build(module.Settings(**settings.model), SPACES)
    names = set(policy.state_dict())
    counts = freeze(policy, settings.training)
    assert 0 < counts.trainable <= counts.total
    adapter = settings.training.adapter
    if adapter is not None:  # on the five matrices of each memory module, two numbers of rank each
        layers, width = settings.model["layers"], settings.model["width"]
        assert counts.trainable == layers * 5 * 2 * adapter.rank * width
        assert names - set(policy.state_dict()) == {
            f"blocks.{block}.memory.{matrix}.weight"
            for block in range(layers)
            for matrix in ("query", "key", "write_query", "write_key", "write_value")
        }


def test_published_sizes_give_the_published_counts():
    """DT-Mem Table 4: 69 K adapters and 2.3 M hyper-network parameters of HDT, of 13 M."""
    settings = resolve("metaworld_table_4", "hdt", "paper").settings
    module = discovery.load("memdt.models", "hdt")
    with torch.device("meta"):
        policy = module.build(module.Settings(**settings.model), SPACES)

    def count(prefix: str) -> int:
        return sum(p.numel() for n, p in policy.named_parameters() if n.startswith(prefix))

    assert count("adapters.") == pytest.approx(69_000, rel=0.1)
    assert count("hyper_network.") == pytest.approx(2_300_000, rel=0.1)


def test_new_tasks_are_not_among_those_trained_on():
    for scale in ("quick", "paper"):
        train, test = (
            set(resolve("metaworld_table_4", one, scale).settings.environment.parameters["tasks"])
            for one in ("dt_mem", "dt_mem_new")
        )
        assert not train & test
        assert train <= set(meta_world.NAMES)
