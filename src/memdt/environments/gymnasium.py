"""Any environment that ``gymnasium.make`` knows, with observations and actions that models accept.

Observations become vectors (float32) or frames. Continuous actions are in [-1, 1], the range of the
models' action heads. Gymnasium's own wrappers convert both, so the specification of an environment
is enough to make the same one without this package.

Rows are stepped one after the other. The vector environments that some ids register are not used,
because they start the next episode on their own and draw all rows from one seed. The episode of a
row would then not depend on its seed alone.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces, wrappers
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from memdt.environments.vectors import SerialVector
from memdt.errors import UserError

REQUIRES: tuple[str, ...] = ()


class Settings(BaseModel):
    """Arguments of ``gymnasium.make``, and how observations are converted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(
        examples=["CartPole-v1"],
        description="id with its version; package:id imports a package that registers it",
    )
    arguments: dict[str, Any] = Field(
        default={}, description="keyword arguments of gymnasium.make for this environment"
    )
    max_episode_steps: int | None = Field(
        default=None, gt=0, description="time limit in steps; null: the one registered with the id"
    )
    observation_keys: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="arrays of a dict observation that are joined to one vector, in the order of "
        "their names; null if observations are not a dict",
    )

    @field_validator("id")
    @classmethod
    def _is_registered(cls, value: str) -> str:
        package, _, name = value.rpartition(":")
        try:
            if package:
                importlib.import_module(package)
            gymnasium.spec(name)
        except ImportError as error:
            raise ValueError(f"package {package!r} cannot be imported ({error})") from None
        except gymnasium.error.Error as error:
            namespace = name.rpartition("/")[0]
            known = [key for key in gymnasium.registry if key.rpartition("/")[0] == namespace]
            match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {match[0]!r}?" if match else str(error)
            raise ValueError(f"gymnasium knows no environment {name!r}; {hint}") from None
        return value

    @model_validator(mode="after")
    def _ends(self) -> Settings:
        limit = gymnasium.spec(self.id.rpartition(":")[2]).max_episode_steps
        if self.max_episode_steps is None and limit is None:
            raise ValueError(f"{self.id} has no time limit of its own: set max_episode_steps")
        return self


def make(settings: Settings) -> gymnasium.Env[Any, Any]:
    """Make one environment.

    Raises:
        UserError: a simulator is missing, arguments are unknown, or no model accepts its
            observations or actions.
    """
    arguments = dict(settings.arguments)
    if settings.max_episode_steps is not None:
        arguments["max_episode_steps"] = settings.max_episode_steps
    try:
        environment = gymnasium.make(settings.id, disable_env_checker=True, **arguments)
    # Third-party constructors raise these for bad arguments.
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        what = f"gymnasium cannot make {settings.id!r} ({error})"
        raise UserError(what, "environment.parameters") from None
    try:
        return _with_actions(_with_observations(environment, settings))
    except UserError:
        environment.close()
        raise


def make_shown(settings: Settings, render_mode: str) -> gymnasium.Env[Any, Any]:
    """Return one environment that renders in a mode of Gymnasium. Raises UserError as `make`."""
    arguments = {**settings.arguments, "render_mode": render_mode}
    return make(settings.model_copy(update={"arguments": arguments}))


def make_vector(settings: Settings, count: int) -> SerialVector:
    """``count`` environments, one after the other."""
    return Rows([make(settings) for _ in range(count)])


class Rows(SerialVector):
    """Without ``info``: its names may differ from step to step and from row to row."""

    def _info(self) -> dict[str, Any]:
        return {}


def _with_observations(
    environment: gymnasium.Env[Any, Any], settings: Settings
) -> gymnasium.Env[Any, Any]:
    """The environment with vectors or frames as observations."""
    space, keys = environment.observation_space, settings.observation_keys
    if isinstance(space, spaces.Dict):
        names = ", ".join(space.spaces)
        if keys is None or not set(keys) <= set(space.spaces):
            what = f"observations of {settings.id} are a dict of {names}"
            remedy = "name those to be joined"
            raise UserError(what, "environment.parameters.observation_keys", remedy)
        environment = wrappers.FilterObservation(environment, keys)
    elif keys is not None:
        what = f"observations of {settings.id} are not a dict"
        raise UserError(what, "environment.parameters.observation_keys", "leave it out")
    if not (isinstance(space, spaces.Box) and len(space.shape) in (1, 3)):
        if not space.is_np_flattenable:
            raise UserError(f"no model takes observations of {space}", f"gymnasium {settings.id}")
        environment = wrappers.FlattenObservation(environment)
    if environment.observation_space.dtype in (np.float32, np.uint8):
        return environment
    return wrappers.DtypeObservation(environment, "float32")


def _with_actions(environment: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """The environment with choices that count from 0, or vectors in [-1, 1], as actions."""
    space = environment.action_space
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return environment
    if not (isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded()):
        name = getattr(environment.spec, "id", "")
        remedy = "wrap it: choices that count from 0, or a vector with bounds"
        raise UserError(f"no model takes actions of {space}", f"gymnasium {name}", remedy)
    if (space.low == -1).all() and (space.high == 1).all():
        return environment
    return wrappers.RescaleAction(environment, -1, 1)  # type: ignore[arg-type]
