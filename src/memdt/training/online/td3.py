"""TD3, fast on one core: both critics in one product, fused Adam, one tensor of transitions.

Source: Fujimoto et al. 2018, algorithm 1; batch 100 and its settings are those of the paper's code
and of OpenAI's Spinning Up, with hidden layers of 256.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from memdt.data.actors import Actor
from memdt.data.agents import AgentSettings
from memdt.seeding import generator

Parameters = list[Tensor]  # weight [inputs, outputs] and bias of each layer in turn


class Transitions:
    """Rows of observation, action, reward, next observation, terminated and truncated."""

    def __init__(self, capacity: int, observation: int, action: int) -> None:
        self.sizes = (observation, action, 1, observation, 1, 1)
        self.rows = torch.zeros(capacity, sum(self.sizes))
        self.count = 0

    def add(
        self,
        observation: Float[np.ndarray, " width"],
        action: Float[np.ndarray, " actions"],
        reward: float,
        following: Float[np.ndarray, " width"],
        terminated: bool,
        truncated: bool,
    ) -> None:
        """Append a transition.

        ``following`` is the observation after the action, also where the episode ends there.
        """
        ends = [terminated, truncated]
        row = np.concatenate([observation, action, [reward], following, ends])
        self.rows[self.count] = torch.from_numpy(row.astype(np.float32))
        self.count += 1

    def batch(self, size: int, random: torch.Generator) -> tuple[Tensor, ...]:
        """Draw ``size`` transitions with replacement; returns the six columns of a row."""
        chosen = torch.randint(self.count, (size,), generator=random)
        return tuple(torch.split(self.rows[chosen], list(self.sizes), dim=1))


class Td3:
    """Actor, two critics, their targets and optimisers."""

    def __init__(self, settings: AgentSettings, observation: int, action: int) -> None:
        self.settings = settings
        self.random = generator(settings.seed, "agent")
        width = settings.width
        self.actor = self._layers(observation, width, action)
        self.critic = self._layers(observation + action, width, 1, pair=True)
        self.actor_target = [parameter.detach().clone() for parameter in self.actor]
        self.critic_target = [parameter.detach().clone() for parameter in self.critic]
        rate = settings.learning_rate
        self.actor_optimiser = torch.optim.Adam(self.actor, rate, fused=True)
        self.critic_optimiser = torch.optim.Adam(self.critic, rate, fused=True)
        self.updates = 0

    def _layers(self, inputs: int, width: int, outputs: int, pair: bool = False) -> Parameters:
        """Three layers, drawn uniformly like those of ``nn.Linear``."""
        layers: Parameters = []
        lead = (2,) if pair else ()
        for before, after in ((inputs, width), (width, width), (width, outputs)):
            bound = 1 / math.sqrt(before)
            for shape in ((*lead, before, after), (*lead, 1, after)):
                drawn = torch.rand(shape, generator=self.random) * 2 * bound - bound
                layers.append(drawn.requires_grad_())
        return layers

    def update(self, transitions: Transitions) -> None:
        """Update the critics, and on every ``actor_delay``-th call the actor and the targets."""
        settings = self.settings
        observations, actions, rewards, following, ended, _ = transitions.batch(
            settings.batch_size, self.random
        )
        with torch.no_grad():
            # Smoothing of the target policy, section 5.3.
            noise = torch.randn(actions.shape, generator=self.random) * settings.target_noise
            noise = noise.clamp(-settings.target_noise_clip, settings.target_noise_clip)
            next_actions = (torch.tanh(_through(self.actor_target, following)) + noise).clamp(-1, 1)
            # The smaller of both critics: the larger one overestimates (section 4.2).
            value = _through(self.critic_target, _pair(following, next_actions)).amin(dim=0)
            # Only a terminal state ends a target: what a time limit cut off would have gone on.
            targets = rewards + settings.discount * (1 - ended) * value
        values = _through(self.critic, _pair(observations, actions))
        # Twice the mean over both critics is the sum of their mean squared errors.
        loss = 2 * functional.mse_loss(values, targets.expand_as(values))
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward(inputs=self.critic)
        self.critic_optimiser.step()
        self.updates += 1
        if self.updates % settings.actor_delay == 0:
            self._update_actor(observations)

    def _update_actor(self, observations: Float[Tensor, "batch width"]) -> None:
        # The actor follows the first critic alone, as in algorithm 1.
        first = [one[0] for one in self.critic]
        action = torch.tanh(_through(self.actor, observations))
        loss = -_through(first, torch.cat([observations, action], dim=1)).mean()
        self.actor_optimiser.zero_grad(set_to_none=True)
        # The critic must not learn from this loss, and its gradient is not worth computing.
        loss.backward(inputs=self.actor)
        self.actor_optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.critic_target, self.critic, self.settings.target_rate)
            torch._foreach_lerp_(self.actor_target, self.actor, self.settings.target_rate)

    def policy(self, parameters: Parameters | None = None) -> Actor:
        """The actor, or that of these parameters, with its exploration noise.

        It shares its memory with them: later updates change it.
        """
        arrays = [one.detach().numpy() for one in parameters or self.actor]
        layers = [(arrays[i], arrays[i + 1].reshape(-1)) for i in range(0, len(arrays), 2)]
        return Actor(layers[:-1], layers[-1], deviation=self.settings.exploration_noise)

    def state(self) -> dict[str, Tensor]:
        """All tensors that updates change."""
        tensors = {"random": self.random.get_state(), "updates": torch.tensor(self.updates)}
        for name in ("actor", "critic", "actor_target", "critic_target"):
            tensors |= {f"{name}.{i}": one for i, one in enumerate(getattr(self, name))}
        for name in ("actor", "critic"):
            parameters, optimiser = getattr(self, name), getattr(self, f"{name}_optimiser")
            for i, one in enumerate(parameters):
                moments = optimiser.state.get(one) or _no_moments(one)
                tensors |= {f"{name}_optimiser.{i}.{key}": value for key, value in moments.items()}
        return tensors

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what ``state`` gave, bit for bit."""
        self.random.set_state(state["random"])
        self.updates = int(state["updates"])
        with torch.no_grad():
            for name in ("actor", "critic", "actor_target", "critic_target"):
                for i, one in enumerate(getattr(self, name)):
                    one.copy_(state[f"{name}.{i}"])
        for name in ("actor", "critic"):
            optimiser = getattr(self, f"{name}_optimiser")
            for i, one in enumerate(getattr(self, name)):
                keys = _no_moments(one)
                moments = {key: state[f"{name}_optimiser.{i}.{key}"].clone() for key in keys}
                if moments["step"] > 0:
                    optimiser.state[one] = moments


def _no_moments(parameter: Tensor) -> dict[str, Tensor]:
    """Adam's state before its first step."""
    zeros = torch.zeros_like(parameter, requires_grad=False)
    return {"step": torch.tensor(0.0), "exp_avg": zeros, "exp_avg_sq": zeros.clone()}


def _through(layers: Parameters, x: Tensor) -> Tensor:
    """Two hidden layers with ReLU, then a linear one; a pair of networks in one product."""
    product = torch.baddbmm if x.dim() == 3 else torch.addmm
    x = torch.relu(product(layers[1], x, layers[0]))
    x = torch.relu(product(layers[3], x, layers[2]))
    return product(layers[5], x, layers[4])


def _pair(
    observations: Float[Tensor, "batch width"], actions: Float[Tensor, "batch actions"]
) -> Tensor:
    """The inputs of both critics."""
    return torch.cat([observations, actions], dim=1).expand(2, -1, -1)
