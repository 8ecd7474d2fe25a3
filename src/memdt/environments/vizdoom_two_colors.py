"""ViZDoom-Two-Colors: a pillar shows which colour heals, and is gone after a while.

The floor takes health; items of the pillar's colour give some and are worth 1, those of the other
colour take as much; each tic alive is worth 0.01. Nothing but the pillar tells the colour: health
is not shown, the screen does not flash, there is no sound.

Observations are frames, height x width x 3; actions 0 left, 1 right, 2 forward, 3 forward left,
4 forward right, each held for ``frame_skip`` tics. Where paper and public code disagree there is a
setting, and its default is what was measured in the released scenario.

Source: RATE section 4.1; Sorokin et al. 2022; the scenario of doom_scenario.py.
"""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from memdt.environments.doom.engine import Engine, Screen
from memdt.environments.doom.expert import Expert, Seen, relative
from memdt.environments.doom.scenario import COLOURS, two_colors_wad
from memdt.environments.interface import Collected
from memdt.environments.spaces import Spaces
from memdt.environments.vectors import ThreadedVector

REQUIRES: tuple[str, ...] = ("vizdoom",)
ROWS_AT_ONCE = 32
STEPS_PER_SECOND = 1000.0  # 32 engines on one core, published frames: `benchmarks frames`
MEASURES: tuple[str, ...] = ("tics", "right_items", "wrong_items")

BUTTONS = ("TURN_LEFT", "TURN_RIGHT", "MOVE_FORWARD")
ACTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1))
VARIABLES = ("ITEMCOUNT", "DAMAGE_TAKEN", "POSITION_X", "POSITION_Y", "ANGLE")

Frame = UInt8[np.ndarray, "height width 3"]


class Settings(BaseModel):
    """What a room may be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Deviation D29: the paper says 5, the released scenario takes 8.
    acid_health: Literal[5, 8] = Field(default=8, description="health lost every 32 tics")
    # Deviation D30: 45 steps of two tics; a text in the released scenario says 45 tics.
    pillar_tics: int = Field(default=90, ge=2, description="tics until the pillar is gone")
    # Deviation D31: 2,100 in the paper; the released configuration says 10,000.
    time_limit: int = Field(default=2100, ge=2, description="tics after which an episode is cut")
    # More than the acid takes at once: what was touched is told from the damage.
    item_health: int = Field(default=25, ge=9, description="health that an item gives or takes")
    items: int = Field(default=10, ge=0, description="items of each colour at the start")
    item_tics: int = Field(
        default=30, ge=1, description="tics between two new items, the colours in turn"
    )
    living_reward: float = Field(default=0.01, description="reward for each tic alive")
    frame_skip: int = Field(default=2, ge=1, description="tics that an action is held")
    # Deviation D32: the agent that collects is ours.
    lapses: float = Field(
        default=0.10,
        ge=0,
        lt=1,
        description="chance at each step that a lapse of the collector begins",
    )
    lapse_steps: int | None = Field(
        default=90, ge=0, description="lapses begin in the first so many steps; null: in all"
    )
    screen: Literal["320x180", "256x144"] = Field(
        default="320x180", description="what the engine draws, width x height"
    )
    width: int = Field(default=112, ge=8, description="of an observation, pixels")
    height: int = Field(default=64, ge=8, description="of an observation, pixels")


def make(settings: Settings) -> TwoColors:
    """One room."""
    return TwoColors(settings)


def make_vector(settings: Settings, count: int) -> VectorEnv:
    """``count`` rooms, their engines side by side."""
    return ThreadedVector([TwoColors(settings) for _ in range(count)])


def make_collection_vector(settings: Settings, count: int) -> VectorEnv:
    """The same, with what is in view told to the collection policy."""
    return ThreadedVector([TwoColors(settings, sight=True) for _ in range(count)])


def spaces_of(settings: Settings) -> Spaces:
    """A frame is seen; the buttons are pressed in so many ways."""
    frame = spaces.Box(0, 255, (settings.height, settings.width, 3), np.uint8)
    return Spaces(frame, spaces.Discrete(len(ACTIONS)))


def lengthened(settings: Settings, steps: int) -> Settings:
    """The room whose time limit is so many steps."""
    return settings.model_copy(update={"time_limit": steps * settings.frame_skip})


def collection_policy(settings: Settings) -> Expert:
    """Collects the items of the right colour that it sees."""
    return Expert(settings.lapses, settings.lapse_steps)


def success(
    returns: Float[np.ndarray, " episodes"], terminated: Bool[np.ndarray, " episodes"]
) -> Bool[np.ndarray, " episodes"]:
    """Alive when time is up."""
    return ~terminated


def group(settings: Settings, seeds: Int[np.ndarray, " episodes"]) -> list[str]:
    """The colour of each episode's pillar: the parity of its seed."""
    return [COLOURS[int(seed) % 2] for seed in seeds]


def hint_steps(settings: Settings) -> range:
    """The steps in which the pillar is there, whether or not somebody looks."""
    return range(-(-(settings.pillar_tics - 1) // settings.frame_skip))


class TwoColors(gymnasium.Env[np.ndarray, np.signedinteger[Any]]):
    """One room with an engine of its own, started at the first reset."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 17}

    def __init__(
        self, settings: Settings | None = None, sight: bool = False, **parameters: Any
    ) -> None:
        self.settings = Settings(**parameters) if settings is None else settings
        self.sight = sight
        self.render_mode = "rgb_array"
        both = spaces_of(self.settings)
        self.observation_space, self.action_space = both.observation, both.action
        self._engine: Engine | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Frame, dict[str, Any]]:
        """Back to the start, looking at the pillar; the parity of the seed is its colour."""
        super().reset(seed=seed)
        # Deviation D38: the parity of a seed is the colour.
        side = int(self.np_random.integers(2)) if seed is None else seed % 2
        if self._engine is None:
            self._engine = self._started()
        number = int(self.np_random.integers(2**31))
        # One tic is over before the first frame, and the engine counts it.
        self._engine.begin(f"map{side + 1:02}", number, self.settings.time_limit + 1)
        self._tics = self._wrong = 0
        self._counted = (0.0, self._engine.variable("DAMAGE_TAKEN"))
        self._see()
        return self._observation.copy(), self._info()

    def step(
        self, action: np.integer[Any] | int
    ) -> tuple[Frame, float, bool, bool, dict[str, Any]]:
        """Hold an action for ``frame_skip`` tics."""
        assert self._engine is not None
        tics = min(self.settings.frame_skip, self.settings.time_limit - self._tics)
        self._engine.step(ACTIONS[int(action)], tics)
        self._tics += tics
        right, damage = self._engine.variable("ITEMCOUNT"), self._engine.variable("DAMAGE_TAKEN")
        # The acid takes less at once than an item, so whole items are those that were touched.
        self._wrong += int(damage - self._counted[1]) // self.settings.item_health
        # Deviation D36: an item is worth 1 at full health too.
        reward = right - self._counted[0] + self.settings.living_reward * tics
        self._counted = (right, damage)
        terminated = self._engine.dead
        truncated = not terminated and self._tics >= self.settings.time_limit
        self._see()
        return self._observation.copy(), float(reward), terminated, truncated, self._info()

    def render(self) -> Frame:
        """The screen as the engine drew it, larger than an observation."""
        return self._screen

    def close(self) -> None:
        """Give the engine back."""
        if self._engine is not None:
            self._engine.give_back()
            self._engine = None

    def _started(self) -> Engine:
        s = self.settings
        wad = two_colors_wad(s.pillar_tics, s.acid_health, s.item_health, s.items, s.item_tics)
        width, height = (int(side) for side in s.screen.split("x"))
        return Engine.borrow(wad, Screen(width, height, BUTTONS, VARIABLES, self.sight))

    def _see(self) -> None:
        """Keep the newest frame; after the end there is none, and the last one stays."""
        assert self._engine is not None
        self._labels: list[Any] = []
        seen = self._engine.look()
        if seen is not None:
            screen, self._labels = seen
            size = (self.settings.width, self.settings.height)
            self._screen = screen
            self._observation = np.asarray(
                Image.fromarray(screen).resize(size, Image.Resampling.BOX)
            )

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = {
            "tics": self._tics,
            "right_items": int(self._counted[0]),
            "wrong_items": self._wrong,
        }
        if self.sight:
            info["sight"] = self._in_view()
        return info

    def _in_view(self) -> list[Seen]:
        """What is on the screen and at least a pixel wide in an observation, where it is."""
        assert self._engine is not None
        place = tuple(self._engine.variable(name) for name in VARIABLES[2:])
        widest = int(self.settings.screen.split("x")[0]) / self.settings.width
        labels = (label for label in self._labels if label.width >= widest)
        return [
            relative(label.object_name, label.object_position_x, label.object_position_y, place)
            for label in labels
        ]


def dataset_card(settings: Settings, store: Collected) -> dict[str, str]:
    """Lines of the report about a dataset: the agent against the paper's, the colours' balance."""
    colours = np.array(group(settings, store.seeds))
    shares = ", ".join(f"{(colours == colour).mean():.0%} {colour}" for colour in COLOURS)
    whole = store.to_end
    returns, lifetimes = store.returns[whole], store.played[whole]
    return {
        "pillars": shares,
        "played to their end": f"{whole.sum():,} episodes",
        "mean return of these": f"{returns.mean():.2f} (the paper's agent: 51.16)",
        "mean lifetime of these": f"{lifetimes.mean():.0f} steps (the paper's agent: 984)",
    }
