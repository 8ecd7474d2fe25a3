"""Trained policies for continuous actions, read from published files or trained here (TD3).

    SAC, TQC   action = tanh(mean + exp(log_std) * noise), log_std computed from the observation
    TD3        action = tanh(mean) + deviation * noise, clipped to [-1, 1]

Hidden layers have ReLU. The networks run in numpy, which is faster than torch for the few dozen
rows of one environment step.

Source: Haarnoja et al. 2018 (SAC), Kuznetsov et al. 2020 (TQC), Fujimoto et al. 2018 (TD3).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Shaped
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from memdt.data.sources.hdf5 import opened
from memdt.errors import UserError
from memdt.files import atomic_path

LOG_STD = (-20.0, 2.0)  # SAC's bounds; rlkit and Stable-Baselines3 have the same
FORMAT = "memdt actors 1"
# Layers of an actor in the files of others: hidden ones, then those of mean and log_std.
D4RL = ("fc0", "fc1", "last_fc", "last_fc_log_std")
STABLE_BASELINES3 = ("actor.latent_pi.0", "actor.latent_pi.2", "actor.mu", "actor.log_std")

Layer = tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, " _"]]  # inputs x outputs, outputs


@dataclass
class Actor:
    """A policy that plays any number of episodes side by side.

    The noise of a row depends on the row's seed alone. Implements ``CollectionPolicy``.
    """

    hidden: list[Layer]
    mean: Layer
    log_std: Layer | None = None  # None: the noise has the same deviation everywhere
    deviation: float = 0.0  # standard deviation of the noise if there is no log_std
    _generators: list[np.random.Generator] = field(default_factory=list, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers in an observation and in an action."""
        first = self.hidden[0][0] if self.hidden else self.mean[0]
        return first.shape[0], self.mean[0].shape[1]

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin an episode in each row, with a new stream of noise from its seed."""
        self._generators = [np.random.default_rng(seed) for seed in seeds]

    def act(
        self, observations: Shaped[np.ndarray, "rows ..."], info: dict[str, Any]
    ) -> Float[np.ndarray, "rows actions"]:
        """Return a sampled action in [-1, 1] for every row.

        Args:
            observations: one vector of ``shape[0]`` numbers for each seed of the last ``reset``.
            info: not used.
        """
        # A generator for each row: its noise must not depend on the rows beside it.
        # A generator for each row: its noise must not depend on the rows beside it.
        noise = np.stack(
            [generator.standard_normal(self.shape[1]) for generator in self._generators]
        )
        return self.sample(observations, noise.astype(np.float32))

    def sample(
        self,
        observations: Float[np.ndarray, "rows width"],
        noise: Float[np.ndarray, "rows actions"],
    ) -> Float[np.ndarray, "rows actions"]:
        """Return the actions in [-1, 1] that result from this standard normal noise, as float32.

        The result depends on its arguments only, row by row.
        """
        x = observations
        for weight, bias in self.hidden:
            x = np.maximum(x @ weight + bias, 0.0)
        mean = x @ self.mean[0] + self.mean[1]
        action: np.ndarray
        if self.log_std is None:
            action = np.clip(np.tanh(mean) + self.deviation * noise, -1.0, 1.0)
        else:
            deviation = np.exp(np.clip(x @ self.log_std[0] + self.log_std[1], *LOG_STD))
            action = np.tanh(mean + deviation * noise)
        return action.astype(np.float32, copy=False)


def from_d4rl(path: Path) -> Actor:
    """Return the policy that collected a D4RL data set, from ``metadata/policy`` of its HDF5 file.

    Raises:
        UserError: the file is missing, damaged, has no policy, or one of another architecture.

    Source: Fu et al. 2020; the policies are SAC's, trained with rlkit.
    """
    with opened(path) as file:
        group = file.get("metadata/policy")
        if not isinstance(group, h5py.Group):
            raise UserError("there is no metadata/policy in it", str(path), "name another file")
        kinds = [group[key][()] for key in ("nonlinearity", "output_distribution")]
        # The same weights in another network would give other actions, and no error.
        if kinds != [b"relu", b"tanh_gaussian"]:
            raise UserError(f"its policy is {kinds}, not a tanh-Gaussian with ReLU", str(path))
        weights = {
            f"{layer}.{name}": group[f"{layer}/{name}"][()]
            for layer in D4RL
            for name in ("weight", "bias")
        }
    return _tanh_gaussian(weights, D4RL)


def from_stable_baselines3(path: Path) -> Actor:
    """Return the actor of SAC or TQC from a zip file of Stable-Baselines3.

    Only tensors are read; no pickled code is executed.

    Raises:
        UserError: the file is missing or damaged, or holds another kind of policy.
    """
    import torch  # takes two seconds, which a dry run should not wait for

    try:
        with zipfile.ZipFile(path) as file:
            content = io.BytesIO(file.read("policy.pth"))
        state = torch.load(content, weights_only=True, map_location="cpu")
        weights = {name: tensor.numpy() for name, tensor in state.items()}
        return _tanh_gaussian(weights, STABLE_BASELINES3)
    except Exception as error:  # of any kind: torch and zipfile have many for a wrong file
        what = f"no actor of SAC or TQC in it ({type(error).__name__})"
        raise UserError(what, str(path), "name a zip of Stable-Baselines3") from None


READERS = {"d4rl": from_d4rl, "stable_baselines3": from_stable_baselines3}


def _tanh_gaussian(weights: Mapping[str, np.ndarray], names: Sequence[str]) -> Actor:
    """Build an actor from matrices in torch's layout, outputs x inputs."""
    *hidden, mean, log_std = (
        (np.ascontiguousarray(weights[f"{name}.weight"].T), weights[f"{name}.bias"])
        for name in names
    )
    return Actor(hidden, mean, log_std)


def write_actors(path: Path, actors: Mapping[str, Actor], metadata: dict[str, Any]) -> None:
    """Write TD3 actors to a safetensors file, atomically.

    Args:
        path: the file.
        actors: by name; their ``log_std`` is not written.
        metadata: stored as JSON beside the weights. The keys ``format`` and ``deviations`` are
            reserved.
    """
    tensors = {
        f"{name}.{number}.{part}": np.ascontiguousarray(array)
        for name, actor in actors.items()
        for number, layer in enumerate([*actor.hidden, actor.mean])
        for part, array in zip(("weight", "bias"), layer, strict=True)
    }
    deviations = {name: actor.deviation for name, actor in actors.items()}
    content = {"format": FORMAT, "deviations": deviations, **metadata}
    with atomic_path(path) as temporary:
        # One entry of metadata: several are written in random order.
        temporary.write_bytes(save(tensors, {"memdt": json.dumps(content, sort_keys=True)}))


def read_actors(path: Path, remedy: str) -> tuple[dict[str, Actor], dict[str, Any]]:
    """Return the actors by name, and the metadata, that ``write_actors`` has written.

    Args:
        path: the file.
        remedy: what the user should do if it is refused.

    Raises:
        UserError: the file is missing, damaged or of another format.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get("memdt", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise ValueError("another format")
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"no whole file of actors ({error})", str(path), remedy) from None
    actors = {}
    for name, deviation in metadata["deviations"].items():
        count = sum(key.startswith(f"{name}.") for key in tensors) // 2
        layers = [
            (tensors[f"{name}.{number}.weight"], tensors[f"{name}.{number}.bias"])
            for number in range(count)
        ]
        actors[name] = Actor(layers[:-1], layers[-1], deviation=deviation)
    return actors, metadata
