"""A Meta-World task as a simulator that is built once and shared by the episodes of the task.

A benchmark object of the package takes up to two minutes to build, because it draws 50 goals for
each of its tasks. Here each episode draws its own goal, in the same way: uniform in the task's
space, and again if the task rejects it. With the same goal, an episode has the same bits as in the
package (``tests/unit/test_meta_world.py``).
"""

from __future__ import annotations

import atexit
import copy
import os
from ctypes.util import find_library
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

Observation = Float[np.ndarray, "39"]
WIDTH, HEIGHT = 256, 192  # of a picture
LOOKS_AT, DISTANCE, AZIMUTH, ELEVATION = (0.0, 0.62, 0.12), 1.25, 150.0, -28.0  # of its camera


@cache
def package() -> Any:
    """Import ``metaworld``, set up for rendering without a display and without a log file."""
    if "DISPLAY" not in os.environ and "MUJOCO_GL" not in os.environ:
        backends = [name for name in ("egl", "osmesa") if find_library(_LIBRARIES[name])]
        os.environ["MUJOCO_GL"] = backends[0] if backends else "disable"
    import metaworld.policies
    import mujoco

    mujoco.set_mju_user_warning(lambda message: None)  # the default writes MUJOCO_LOG.TXT
    return metaworld


_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}


@cache
def _class_of(task: str) -> Any:
    """The package's class of a task. It reads the model's files once and then copies the model."""
    original = package().env_dict.ALL_V3_ENVIRONMENTS[task]
    import mujoco  # after `package`, which sets MUJOCO_GL

    @cache
    def model_of(path: str) -> Any:
        return mujoco.MjModel.from_xml_path(path)

    def simulation(self: Any) -> tuple[Any, Any]:
        # A copy, because tasks change positions in their model from episode to episode.
        model = copy.copy(model_of(self.fullpath))
        return model, mujoco.MjData(model)

    return type(original.__name__, (original,), {"_initialize_simulation": simulation})


class Simulator:
    """One task. Observations are those of the package; the last three numbers are the goal."""

    _idle: dict[str, list[Simulator]] = {}

    def __init__(self, task: str) -> None:
        self.task = task
        self._environment = _class_of(task)()
        self._environment._partially_observable = False
        self._environment._set_task_called = True
        # The cached space was computed for a hidden goal.
        self._environment.__dict__.pop("sawyer_observation_space", None)
        self._renderer: Any = None

    @classmethod
    def borrow(cls, task: str) -> Simulator:
        """Return an idle simulator of the task, or a new one, which takes as long as 100 steps."""
        idle = cls._idle.setdefault(task, [])
        return idle.pop() if idle else cls(task)

    def give_back(self) -> None:
        """Make the simulator available to ``borrow``."""
        self._idle[self.task].append(self)

    def begin(self, generator: np.random.Generator, time_limit: int) -> Observation:
        """Draw a goal and begin an episode of at most ``time_limit`` steps."""
        inner = self._environment
        inner.max_path_length = time_limit
        self._draw_goal(generator)
        # The package resets twice, the second time from a new simulation; this is the second time.
        observation = package().sawyer_xyz_env.SawyerMocapBase.reset(inner)[0]
        inner.curr_path_length = 0
        inner._prev_obs = observation[:18].copy()
        observation[18:36] = inner._prev_obs
        return np.asarray(observation, np.float64)

    def _draw_goal(self, generator: np.random.Generator) -> None:
        """Let the task draw a goal that it accepts, without moving the hand."""
        inner = self._environment
        inner.np_random, inner.seeded_rand_vec, inner._freeze_rand_vec = generator, True, False

        def stay(steps: int = 50) -> None:
            inner.init_tcp = inner.tcp_center

        inner._reset_hand = stay
        try:
            inner.reset_model()
        finally:
            del inner._reset_hand
        inner._freeze_rand_vec = True

    @property
    def goal(self) -> Float[np.ndarray, " numbers"]:
        """The random numbers of the episode: its goal and, in some tasks, the object's position."""
        return np.array(self._environment._last_rand_vec)

    def step(self, action: Float[np.ndarray, "4"]) -> tuple[Observation, float, dict[str, Any]]:
        """Take a step; returns observation, reward (0 to 10), and the package's info."""
        observation, reward, _, _, info = self._environment.step(action)
        return observation, float(reward), info

    def picture(self) -> UInt8[np.ndarray, "height width 3"]:
        """Render the view of a camera over the table.

        Raises NotImplementedError if this machine has no library to render with.
        """
        import mujoco

        if self._renderer is None:
            self._renderer = _renderer(self._environment.model)
        camera = mujoco.MjvCamera()
        camera.lookat[:], camera.distance = LOOKS_AT, DISTANCE
        camera.azimuth, camera.elevation = AZIMUTH, ELEVATION
        self._renderer.update_scene(self._environment.data, camera=camera)
        # On a CPU, shadows and reflections take ten times as long as everything else.
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = False
        return np.asarray(self._renderer.render())


def _renderer(model: Any) -> Any:
    """MuJoCo's renderer; NotImplementedError if this machine has no library to render with."""
    import mujoco

    model.vis.quality.offsamples = model.vis.quality.shadowsize = 0
    try:
        # Tried first, because a renderer that fails halfway prints an error when it is deleted.
        mujoco.gl_context.GLContext(WIDTH, HEIGHT).free()
        renderer = mujoco.Renderer(model, HEIGHT, WIDTH)
    except Exception as error:  # each library raises exceptions of its own
        raise NotImplementedError("nothing to draw with: install libegl1 or libosmesa6") from error
    atexit.register(renderer.close)  # it cannot close after its library is unloaded
    return renderer


def scripted_policy(task: str) -> Any:
    """Return the package's policy of a task, whose ``get_action(observation)`` needs the goal."""
    return package().policies.ENV_POLICY_MAP[task]()
