"""Our AdamW is the library's, bit for bit, and does not bring its compiler along."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from memdt.training.optimiser import AdamW, Optimiser

SETTINGS = {"lr": 1e-2, "betas": (0.9, 0.95), "weight_decay": 0.1}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


def train(network: nn.Sequential, optimiser: Optimiser) -> None:
    """Ten updates; the last layer has no gradient in some, the learning rate changes once."""
    generator = torch.Generator().manual_seed(1)
    for update in range(10):
        if update == 5:
            optimiser.param_groups[0]["lr"] = 3e-3
        optimiser.zero_grad()
        inputs = torch.randn(4, 5, generator=generator)
        outputs = network[0](inputs) if update % 3 == 1 else network(inputs)
        outputs.square().sum().backward()
        optimiser.step()


def test_updates_are_those_of_the_library_bit_for_bit() -> None:
    ours, theirs = network(), network()
    start = [p.clone() for p in ours.parameters()]
    train(ours, AdamW(ours.parameters(), **SETTINGS))
    train(theirs, torch.optim.AdamW(theirs.parameters(), **SETTINGS, fused=True))
    for a, b, before in zip(ours.parameters(), theirs.parameters(), start, strict=True):
        assert torch.equal(a, b)
        assert not torch.allclose(a, before)


def test_both_offer_what_training_asks_for() -> None:
    for made in (AdamW, torch.optim.AdamW):
        assert isinstance(made(network().parameters(), **SETTINGS), Optimiser)


def test_an_update_does_not_import_the_compiler() -> None:
    program = (
        "import sys, torch\n"
        "from memdt.training.optimiser import AdamW\n"
        "weight = torch.nn.Parameter(torch.ones(2))\n"
        "optimiser = AdamW([weight], lr=0.1, betas=(0.9, 0.95), weight_decay=0.0)\n"
        "optimiser.zero_grad(); weight.sum().backward(); optimiser.step()\n"
        "assert weight.max() < 1\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
