"""A Meta-World task as a simulator: begun by a seed, built once, lent to whoever plays the task.

A benchmark object of the package takes up to two minutes to build, because it draws 50 goals for
each of its tasks. Here a goal is drawn when an episode begins, in the same way: uniform in the
task's space, again where the task refuses it. What follows is what the package does with that goal,
to the bit (``tests/unit/test_meta_world.py``).
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
    """The module ``metaworld``, told where a picture may be drawn and to leave no log file."""
    if "DISPLAY" not in os.environ and "MUJOCO_GL" not in os.environ:
        drawers = [word for word in ("egl", "osmesa") if find_library(_LIBRARIES[word])]
        os.environ["MUJOCO_GL"] = drawers[0] if drawers else "disable"
    import metaworld.policies
    import mujoco

    mujoco.set_mju_user_warning(lambda message: None)  # the default writes MUJOCO_LOG.TXT
    return metaworld


_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}


@cache
def _class_of(task: str) -> Any:
    """The package's class of a task, which reads its files once: a copy of the model is faster."""
    original = package().env_dict.ALL_V3_ENVIRONMENTS[task]
    import mujoco  # after the package was told where to draw

    @cache
    def model_of(path: str) -> Any:
        return mujoco.MjModel.from_xml_path(path)

    def simulation(self: Any) -> tuple[Any, Any]:
        model = copy.copy(model_of(self.fullpath))
        return model, mujoco.MjData(model)

    return type(original.__name__, (original,), {"_initialize_simulation": simulation})


class Simulator:
    """One task; observations are the package's, with the goal in their last three numbers."""

    _idle: dict[str, list[Simulator]] = {}

    def __init__(self, task: str) -> None:
        self.task = task
        self._environment = _class_of(task)()
        self._environment._partially_observable = False
        self._environment._set_task_called = True
        self._environment.__dict__.pop("sawyer_observation_space", None)  # it knew a hidden goal
        self._drawer: Any = None

    @classmethod
    def borrow(cls, task: str) -> Simulator:
        """One that was given back, else a new one, which takes as long as 100 steps."""
        idle = cls._idle.setdefault(task, [])
        return idle.pop() if idle else cls(task)

    def give_back(self) -> None:
        """Leave it to the next one who plays the task."""
        self._idle[self.task].append(self)

    def begin(self, generator: np.random.Generator, time_limit: int) -> Observation:
        """Draw a goal and begin an episode of at most ``time_limit`` steps."""
        inner = self._environment
        inner.max_path_length = time_limit
        self._draw_goal(generator)
        # The package resets twice, the second time from a simulation begun anew: this is that one.
        observation = package().sawyer_xyz_env.SawyerMocapBase.reset(inner)[0]
        inner.curr_path_length = 0
        inner._prev_obs = observation[:18].copy()
        observation[18:36] = inner._prev_obs
        return np.asarray(observation, np.float64)

    def _draw_goal(self, generator: np.random.Generator) -> None:
        """Let the task draw until it is content; where the hand goes meanwhile does not matter."""
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
        """What was drawn: where the goal is and, in some tasks, where the object begins."""
        return np.array(self._environment._last_rand_vec)

    def step(self, action: Float[np.ndarray, "4"]) -> tuple[Observation, float, dict[str, Any]]:
        """Observation, reward (0 to 10), and what the package tells of the step."""
        observation, reward, _, _, told = self._environment.step(action)
        return observation, float(reward), told

    def picture(self) -> UInt8[np.ndarray, "height width 3"]:
        """What a camera over the table sees; NotImplementedError where nothing can be drawn."""
        import mujoco

        if self._drawer is None:
            self._drawer = _drawer(self._environment.model)
        camera = mujoco.MjvCamera()
        camera.lookat[:], camera.distance = LOOKS_AT, DISTANCE
        camera.azimuth, camera.elevation = AZIMUTH, ELEVATION
        self._drawer.update_scene(self._environment.data, camera=camera)
        # On a processor shadows and reflections take ten times as long as the rest.
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._drawer.scene.flags[flag] = False
        return np.asarray(self._drawer.render())


def _drawer(model: Any) -> Any:
    """MuJoCo's renderer; NotImplementedError where this machine has no library to draw with."""
    import mujoco

    model.vis.quality.offsamples = model.vis.quality.shadowsize = 0
    try:
        # A renderer that fails halfway complains once more when it is thrown away.
        mujoco.gl_context.GLContext(WIDTH, HEIGHT).free()
        drawer = mujoco.Renderer(model, HEIGHT, WIDTH)
    except Exception as error:  # each library fails with an exception of its own
        raise NotImplementedError("nothing to draw with: install libegl1 or libosmesa6") from error
    atexit.register(drawer.close)  # it cannot close itself once its library is gone
    return drawer


def scripted_policy(task: str) -> Any:
    """The package's policy of a task: ``get_action(observation)``, with the goal seen."""
    return package().policies.ENV_POLICY_MAP[task]()
