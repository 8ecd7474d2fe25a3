"""A Doom engine in its own process, with a watchdog that turns every failure into one clear line.

Python waits for the engine in a call that cannot be interrupted. A thread therefore checks whether
a call takes far too long, and kills that engine. The call then fails, as it does when an engine
crashes.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from jaxtyping import UInt8

from memdt.errors import UserError

PATIENCE = 60.0  # seconds a call may take; a step takes a millisecond, a start less than a second
LOOK_EVERY = 1.0  # seconds
OWNER = "MEMDT_ENGINE_OWNER"  # environment variable of an engine: the process that started it


@dataclass(frozen=True)
class Screen:
    """The screen of an engine, its buttons and its variables."""

    width: int
    height: int
    buttons: tuple[str, ...]  # names of vizdoom.Button
    variables: tuple[str, ...]  # names of vizdoom.GameVariable
    labels: bool  # True: the engine lists the things in view, with their positions


class Engine:
    """One engine, started with a scenario. Every failure of it raises UserError."""

    _starting = threading.Lock()

    def __init__(self, wad: bytes, screen: Screen) -> None:
        import vizdoom

        self._errors = tuple(
            error for error in vars(vizdoom).values()
            if isinstance(error, type) and issubclass(error, Exception)
        )  # fmt: skip
        self.made_of = (wad, screen)
        self.busy_since: float | None = None
        self.process: psutil.Process | None = None
        folder = tempfile.mkdtemp(prefix="memdt_doom_")
        self._game = _configured(vizdoom, wad, Path(folder), screen)
        self._end = weakref.finalize(self, _end, self._game, folder)
        with Engine._starting:  # so that the new child is this engine
            end_orphans()
            before = set(psutil.Process().children())
            self._call(self._game.init)
            started = set(psutil.Process().children()) - before
        self.process = next((p for p in started if p.name().startswith("vizdoom")), None)
        _WATCH.add(self)

    def begin(self, map_name: str, seed: int, time_limit: int) -> None:
        """Begin an episode that is cut off after ``time_limit`` tics."""
        self._game.set_doom_map(map_name)
        self._game.set_seed(seed)
        self._game.set_episode_timeout(time_limit)
        self._call(self._game.new_episode)

    def step(self, buttons: Sequence[float], tics: int) -> None:
        """Hold these buttons for ``tics`` tics, or until the episode ends."""
        self._call(self._game.make_action, buttons, tics)

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return bool(self._game.is_episode_finished())

    @property
    def dead(self) -> bool:
        """Whether it ended with the player's death."""
        return bool(self._game.is_player_dead())

    def look(self) -> tuple[UInt8[np.ndarray, "height width 3"], list[Any]] | None:
        """Return the screen, and ViZDoom's labels of the things in view; None after the end."""
        state = self._game.get_state()
        return None if state is None else (state.screen_buffer, list(state.labels or ()))

    def variable(self, name: str) -> float:
        """Return a variable of the game, by its name in ``vizdoom.GameVariable``."""
        import vizdoom

        return float(self._game.get_game_variable(getattr(vizdoom.GameVariable, name)))

    @classmethod
    def borrow(cls, wad: bytes, screen: Screen) -> Engine:
        """Return an idle engine, or start a new one, which takes as long as 1,000 steps."""
        idle = _IDLE.setdefault((wad, screen), [])
        return idle.pop() if idle else cls(wad, screen)

    def give_back(self) -> None:
        """Make the engine available to ``borrow``."""
        _IDLE[self.made_of].append(self)

    def close(self) -> None:
        """End the engine."""
        _WATCH.discard(self)
        self._end()

    def _call(self, function: Any, *arguments: Any) -> None:
        """Call the engine, watched by the watchdog."""
        self.busy_since = time.monotonic()
        try:
            function(*arguments)
        except self._errors as error:
            remedy = "run the same command again; if it happens again, run `memdt doctor`"
            what = "no answer" if self.hangs(PATIENCE) else str(error) or type(error).__name__
            raise UserError(f"the Doom engine failed ({what})", "vizdoom", remedy) from error
        finally:
            self.busy_since = None

    def hangs(self, patience: float) -> bool:
        """Whether the current call has taken longer than ``patience`` seconds."""
        since = self.busy_since
        return since is not None and time.monotonic() - since > patience

    def kill(self) -> None:
        """Kill the process; the call that waits for it then fails."""
        if self.process is not None and self.process.is_running():
            self.process.send_signal(signal.SIGKILL)


def _configured(vizdoom: Any, wad: bytes, folder: Path, screen: Screen) -> Any:
    """A game that is ready to start, without window or sound, and with only the room on screen."""
    scenario = folder / "scenario.wad"
    scenario.write_bytes(wad)
    game = vizdoom.DoomGame()
    game.set_doom_game_path(os.path.join(os.path.dirname(vizdoom.__file__), "freedoom2.wad"))
    game.set_doom_scenario_path(str(scenario))
    game.set_doom_config_path(str(folder / "engine.ini"))
    resolution = f"RES_{screen.width}X{screen.height}"
    game.set_screen_resolution(getattr(vizdoom.ScreenResolution, resolution))
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    for part in ("hud", "weapon", "crosshair", "decals", "particles", "effects_sprites",
                 "messages", "corpses", "screen_flashes"):  # fmt: skip
        getattr(game, f"set_render_{part}")(False)
    game.set_available_buttons([getattr(vizdoom.Button, name) for name in screen.buttons])
    game.set_available_game_variables(
        [getattr(vizdoom.GameVariable, name) for name in screen.variables]
    )
    game.set_labels_buffer_enabled(screen.labels)
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_mode(vizdoom.Mode.PLAYER)
    return game


def _end(game: Any, folder: str) -> None:
    """End an engine and remove its folder."""
    game.close()  # writes to the folder once more
    shutil.rmtree(folder, ignore_errors=True)


class _Watch:
    """Watches all engines of this process, in a thread that starts with the first of them."""

    def __init__(self) -> None:
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        self._thread: threading.Thread | None = None

    def add(self, engine: Engine) -> None:
        """Watch an engine."""
        self._engines.add(engine)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._look, name="doom watch", daemon=True)
            self._thread.start()

    def discard(self, engine: Engine) -> None:
        """Stop watching an engine."""
        self._engines.discard(engine)

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_EVERY)
            for engine in list(self._engines):
                if engine.hangs(PATIENCE):
                    engine.kill()


_WATCH = _Watch()
_IDLE: dict[tuple[bytes, Screen], list[Engine]] = {}


@atexit.register
def _end_idle() -> None:
    """End idle engines, which would otherwise outlive this process."""
    for engines in _IDLE.values():
        while engines:
            engines.pop().close()


def end_orphans() -> None:
    """End the engines of processes that were killed, which would otherwise wait forever.

    Called before each start. Engines of processes that still run are not touched.
    """
    if OWNER not in os.environ or not os.environ[OWNER].startswith(f"{os.getpid()} "):
        os.environ[OWNER] = f"{os.getpid()} {psutil.Process().create_time()}"
        for process in psutil.process_iter(["name"]):
            if process.info["name"] == "vizdoom":
                with contextlib.suppress(psutil.Error):
                    _end_if_orphan(process)


def _end_if_orphan(process: psutil.Process) -> None:
    owner, _, started = process.environ().get(OWNER, "").partition(" ")
    if not owner:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        # The number alone may belong to another process by now.
        if psutil.Process(int(owner)).create_time() == float(started):
            return
    process.kill()
