"""Policies of others: read without executing anything, and played as they were."""

from __future__ import annotations

import io
import zipfile

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from memdt.data import actors
from memdt.data.actors import Actor
from memdt.errors import UserError

OBSERVATION, WIDTH, ACTIONS = 5, 8, 2


def networks():
    """The layers of a tanh-Gaussian policy, as torch has them."""
    torch.manual_seed(0)
    hidden = [nn.Linear(OBSERVATION, WIDTH), nn.Linear(WIDTH, WIDTH)]
    return [*hidden, nn.Linear(WIDTH, ACTIONS), nn.Linear(WIDTH, ACTIONS)]


def by_torch(layers, observations, noise):
    """The action, written down with torch."""
    x = torch.from_numpy(observations)
    for layer in layers[:2]:
        x = torch.relu(layer(x))
    deviation = layers[3](x).clamp(-20, 2).exp()
    return torch.tanh(layers[2](x) + deviation * torch.from_numpy(noise)).detach().numpy()


def write_d4rl(path, layers, nonlinearity=b"relu"):
    with h5py.File(path, "w") as file:
        for name, layer in zip(actors.D4RL, layers, strict=True):
            file[f"metadata/policy/{name}/weight"] = layer.weight.detach().numpy()
            file[f"metadata/policy/{name}/bias"] = layer.bias.detach().numpy()
        file["metadata/policy/nonlinearity"] = np.bytes_(nonlinearity)
        file["metadata/policy/output_distribution"] = np.bytes_(b"tanh_gaussian")
    return path


def write_zip(path, content):
    with zipfile.ZipFile(path, "w") as file:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        file.writestr("policy.pth", buffer.getvalue())
    return path


def state_of(layers):
    pairs = list(zip(actors.STABLE_BASELINES3, layers, strict=True))
    return {
        f"{name}.{key}": value for name, layer in pairs for key, value in layer.state_dict().items()
    }


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    shapes = (7, OBSERVATION), (7, ACTIONS)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


def test_both_formats_act_as_torch_does(tmp_path, drawn):
    layers = networks()
    expected = by_torch(layers, *drawn)
    read = [
        actors.from_d4rl(write_d4rl(tmp_path / "set.hdf5", layers)),
        actors.from_stable_baselines3(write_zip(tmp_path / "agent.zip", state_of(layers))),
    ]
    for actor in read:
        assert actor.shape == (OBSERVATION, ACTIONS)
        np.testing.assert_allclose(actor.sample(*drawn), expected, atol=1e-6)


def test_log_std_stays_within_bounds(drawn):
    layers = networks()
    nn.init.constant_(layers[3].bias, 50.0)
    matrices = [(one.weight.detach().numpy().T, one.bias.detach().numpy()) for one in layers]
    actor = Actor(matrices[:2], matrices[2], matrices[3])
    np.testing.assert_allclose(actor.sample(*drawn), by_torch(layers, *drawn), atol=1e-6)


def test_an_action_follows_from_the_seed_of_its_row(drawn):
    actor = Actor(
        [], (np.ones((OBSERVATION, ACTIONS), np.float32), np.zeros(ACTIONS)), deviation=0.5
    )
    observations = np.zeros((3, OBSERVATION), np.float32)
    actor.reset([1, 2, 1])
    first = [actor.act(observations, {}) for _ in range(4)]
    actor.reset([2])
    alone = [actor.act(observations[:1], {}) for _ in range(4)]
    for together, single in zip(first, alone, strict=True):
        np.testing.assert_array_equal(together[0], together[2])
        np.testing.assert_array_equal(together[1], single[0])
        assert (together[0] != together[1]).all()
        assert np.abs(together).max() <= 1


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    path = write_zip(tmp_path / "agent.zip", Harm())
    with pytest.raises(UserError, match="no actor of SAC or TQC in it"):
        actors.from_stable_baselines3(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_what_is_no_policy_is_refused(tmp_path, content):
    path = tmp_path / "agent.zip"
    if content is None:
        write_zip(path, {"other": torch.zeros(1)})
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match="no actor of SAC or TQC in it"):
        actors.from_stable_baselines3(path)


def test_another_kind_of_policy_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a tanh-Gaussian with ReLU"):
        actors.from_d4rl(write_d4rl(tmp_path / "set.hdf5", networks(), b"tanh"))


def test_written_actors_are_read_as_they_were(tmp_path, drawn):
    layers = [(one.weight.detach().numpy().T, one.bias.detach().numpy()) for one in networks()[:3]]
    actor, path = Actor(layers[:2], layers[2], deviation=0.1), tmp_path / "actors.safetensors"
    actors.write_actors(path, {"medium": actor}, {"asked_score": 40.0})
    restored, metadata = actors.read_actors(path, "make it again")
    np.testing.assert_array_equal(restored["medium"].sample(*drawn), actor.sample(*drawn))
    assert metadata["asked_score"] == 40.0
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="make it again"):
        actors.read_actors(path, "make it again")


@pytest.mark.parametrize("name", ["halfcheetah", "hopper", "walker2d"])
def test_d4rls_policies_give_the_log_probabilities_of_their_data(shared_data, name):
    """log p(a) = log N(u; mean, deviation) - sum log(1 - a^2) with a = tanh(u), as SAC has it."""
    path = shared_data / "d4rl_sample" / f"{name}_medium-v2.hdf5"
    actor = actors.from_d4rl(path)
    with h5py.File(path) as file:
        seen, done = file["observations"][:500], file["actions"][:500].astype(np.float64)
        recorded = file["infos/action_log_probs"][:500].reshape(-1)
    assert actor.log_std is not None
    x = seen
    for weight, bias in actor.hidden:
        x = np.maximum(x @ weight + bias, 0)
    mean = x @ actor.mean[0] + actor.mean[1]
    log_std = np.clip(x @ actor.log_std[0] + actor.log_std[1], -20, 2)
    raw = np.arctanh(done)
    normal = -0.5 * ((raw - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
    computed = (normal - np.log(1 - done**2 + 1e-6)).sum(axis=1)
    assert np.median(np.abs(computed - recorded)) < 1e-3
