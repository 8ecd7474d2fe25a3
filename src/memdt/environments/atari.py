"""Atari games of the Arcade Learning Environment, any that ale-py has a ROM of.

Observations are single frames, grey, height x width x 1, each the maximum of the last two frames
that the game showed. A model that should see several asks for ``inputs.frame_stack``. Actions are
those of the game, or all 18. Each is held for ``frame_skip`` frames.

On several points public protocols differ; each has a setting. The defaults are those of Decision
Transformer's evaluation: no sticky actions, up to 30 no-ops, raw rewards.

Source: RATE section 4.3; Bellemare et al. 2013; Machado et al. 2018; Chen et al. 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int, UInt8
from pydantic import BaseModel, ConfigDict, Field, field_validator

from memdt.environments.atari_parts import collection, scores
from memdt.environments.atari_parts.emulator import rom_of
from memdt.environments.interface import Collected
from memdt.environments.spaces import Spaces
from memdt.environments.vectors import Seeds, row_seeds
from memdt.errors import closest
from memdt.provenance import usable_cores

if TYPE_CHECKING:
    from memdt.environments.atari_parts.collection import Player

REQUIRES: tuple[str, ...] = ("ale_py",)
ROWS_AT_ONCE = 10  # frames of so many whole episodes are held while a dataset is collected
STEPS_PER_SECOND = 2000.0  # one core, without look-ahead: `python -m benchmarks frames`

Frames = UInt8[np.ndarray, "rows height width 1"]


class Settings(BaseModel):
    """A game, and the protocol that it is played by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    game: str = Field(
        examples=["pong"], description="name of its ROM in ale-py: lower case, words joined by _"
    )
    # Deviation D120: what the papers and their public code disagree on.
    sticky_actions: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="probability in each frame that the action before is repeated; 0.25 in the "
        "published logs, 0 in Decision Transformer's evaluation",
    )
    no_ops: int = Field(
        default=30,
        ge=0,
        le=100,
        description="an episode begins after a number of frames without action, below this one",
    )
    fire_at_start: bool = Field(default=False, description="press fire once at the start")
    fire_after_life_loss: bool = Field(
        default=False,
        description="the action after a lost life is fire, whatever the policy chooses, as in "
        "RATE's public code",
    )
    max_steps: int = Field(
        default=27_000, gt=0, description="steps after which an episode is cut: half an hour"
    )
    rewards: Literal["raw", "clipped"] = Field(
        default="raw", description="points of the game, or their sign"
    )
    frame_skip: int = Field(default=4, ge=2, description="frames that an action is held")
    height: int = Field(default=84, ge=20, le=210, description="height of an observation in pixels")
    width: int = Field(default=84, ge=20, le=160, description="width of an observation in pixels")
    actions: Literal["minimal", "full"] = Field(
        default="minimal", description="the actions that the game has, or all 18 of the joystick"
    )
    # Deviation D121: the agents that collect are ours.
    collectors: tuple[collection.Collector, ...] = Field(
        default=collection.DEFAULT,
        min_length=1,
        description="who plays the episodes of a dataset, and how many each",
    )
    look_ahead: collection.LookAhead = Field(
        default=collection.LookAhead(), description="how collectors look ahead"
    )

    @field_validator("game")
    @classmethod
    def _has_a_rom(cls, value: str) -> str:
        try:
            from ale_py import roms
        # Settings are checked without ale-py as well; whoever plays is told what is missing.
        except ImportError:
            return value
        known = roms.get_all_rom_ids()
        if value not in known:
            raise ValueError(f"ale-py has no game {value!r}; {closest(value, known)}")
        return value


def make(settings: Settings) -> Game:
    """One game."""
    return Game(settings)


def make_vector(settings: Settings, count: int) -> Games:
    """``count`` games, stepped side by side by ale-py's own threads."""
    return Games(settings, count)


def spaces_of(settings: Settings) -> Spaces:
    """One grey frame, and the game's actions."""
    from ale_py import ALEInterface

    if settings.actions == "full":
        count = 18
    else:
        _quiet()
        # An emulator alone, because a vector environment would start its threads.
        emulator = ALEInterface()
        emulator.loadROM(rom_of(settings.game))
        count = len(emulator.getMinimalActionSet())
    frame = spaces.Box(0, 255, (settings.height, settings.width, 1), np.uint8)
    return Spaces(frame, spaces.Discrete(count))


def lengthened(settings: Settings, steps: int) -> Settings:
    """The settings with episodes cut after ``steps`` steps."""
    return settings.model_copy(update={"max_steps": steps})


def score_range(settings: Settings, group: str) -> tuple[float, float]:
    """The returns of random actions and of a human tester; NaN for a game that none has played."""
    return scores.RANDOM_AND_HUMAN.get(settings.game, (float("nan"), float("nan")))


def collection_policy(settings: Settings) -> Player:
    """The mixed agents that play the episodes of a dataset."""
    return collection.Player(settings)


def dataset_card(settings: Settings, store: Collected) -> dict[str, str]:
    """How returns are spread; where the episodes were played here, by whom."""
    drawn = {"distribution of returns": collection.drawn(store.returns)}
    return drawn | collection.card(settings.collectors, store.seeds, store.returns)


class Games(VectorEnv):
    """Several games side by side; one that has ended is frozen until the reset.

    ``info`` has for every row ``lives`` and ``frames``: those of the episode, with those before its
    first step.
    """

    metadata = {
        "autoreset_mode": AutoresetMode.DISABLED,
        "render_modes": ["rgb_array"],
        "render_fps": 15,
    }

    def __init__(self, settings: Settings, count: int) -> None:
        from ale_py.vector_env import AtariVectorEnv

        _quiet()
        s = self.settings = settings
        self.num_envs, self.render_mode = count, "rgb_array"
        # Named one by one: ale-py clips rewards, fires at the start and stacks four frames if it is
        # not told otherwise. Its cap counts frames.
        self._games = AtariVectorEnv(
            s.game, count,
            num_threads=min(count, usable_cores()),
            max_num_frames_per_episode=s.max_steps * s.frame_skip,
            repeat_action_probability=s.sticky_actions,
            full_action_space=s.actions == "full",
            autoreset_mode=AutoresetMode.NEXT_STEP,
            img_height=s.height, img_width=s.width, grayscale=True, stack_num=1,
            frameskip=s.frame_skip, maxpool=True, noop_max=s.no_ops,
            episodic_life=False, life_loss_info=False,
            reward_clipping=s.rewards == "clipped", use_fire_reset=s.fire_at_start,
        )  # fmt: skip
        names = [action.name for action in self._games.ale.get_action_set()]
        self._fire = names.index("FIRE") if "FIRE" in names else None
        frame = (s.height, s.width, 1)
        self.single_observation_space = spaces.Box(0, 255, frame, np.uint8)
        self.single_action_space = spaces.Discrete(len(names))
        self.observation_space = batch_space(self.single_observation_space, count)
        self.action_space = batch_space(self.single_action_space, count)

    def reset(
        self, *, seed: Seeds = None, options: dict[str, Any] | None = None
    ) -> tuple[Frames, dict[str, Any]]:
        """Begin an episode in every row; its seed decides the number of no-ops."""
        seeds = row_seeds(seed, self.num_envs)
        # ale-py has -1 for no seed.
        numbers = np.array([-1 if one is None else one for one in seeds])
        frames, info = self._games.reset(seed=numbers)
        self._frames = _last_axis(frames)
        self._running = np.ones(self.num_envs, dtype=bool)
        self._terminated = np.zeros(self.num_envs, dtype=bool)
        self._truncated = np.zeros(self.num_envs, dtype=bool)
        self._lost = np.zeros(self.num_envs, dtype=bool)  # a life, in the last step
        self._lives, self._count = info["lives"].copy(), info["episode_frame_number"].copy()
        return self._frames.copy(), self._info()

    def step(
        self, actions: Int[np.ndarray, " rows"]
    ) -> tuple[
        Frames,
        Float[np.ndarray, " rows"],
        Bool[np.ndarray, " rows"],
        Bool[np.ndarray, " rows"],
        dict[str, Any],
    ]:
        """Hold an action in every row that has not ended."""
        chosen = np.asarray(actions, np.int64).copy()
        if self.settings.fire_after_life_loss and self._fire is not None:
            chosen[self._lost] = self._fire
        # ale-py begins a new episode in rows that have ended; nothing of it is shown.
        frames, rewards, terminated, truncated, info = self._games.step(chosen)
        running = self._running
        self._frames[running] = _last_axis(frames)[running]
        self._lost = running & (info["lives"] < self._lives)
        self._lives = np.where(running, info["lives"], self._lives)
        self._count = np.where(running, info["episode_frame_number"], self._count)
        self._terminated |= running & terminated
        self._truncated |= running & truncated
        self._running = running & ~(self._terminated | self._truncated)
        flags = self._terminated.copy(), self._truncated.copy()
        earned = np.where(running, rewards, 0).astype(np.float64)
        return self._frames.copy(), earned, *flags, self._info()

    def render(self) -> tuple[Any, ...]:
        """The last frame of every row, height x width x 3."""
        return tuple(np.repeat(self._frames, 3, axis=-1))

    def _info(self) -> dict[str, Any]:
        return {"lives": self._lives.tolist(), "frames": self._count.tolist()}


class Game(gymnasium.Env[np.ndarray, np.signedinteger[Any]]):
    """One game, as a single environment."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 15}

    def __init__(self, settings: Settings | None = None, **parameters: Any) -> None:
        self.settings = Settings(**parameters) if settings is None else settings
        self.render_mode = "rgb_array"
        self._games = Games(self.settings, 1)
        self.observation_space = self._games.single_observation_space
        self.action_space = self._games.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8[np.ndarray, "height width 1"], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        number = int(self.np_random.integers(2**31)) if seed is None else seed
        frames, info = self._games.reset(seed=[number])
        return frames[0], _of_one(info)

    def step(
        self, action: np.integer[Any] | int
    ) -> tuple[UInt8[np.ndarray, "height width 1"], float, bool, bool, dict[str, Any]]:
        """Hold an action for ``frame_skip`` frames."""
        frames, rewards, terminated, truncated, info = self._games.step(np.array([action]))
        flags = bool(terminated[0]), bool(truncated[0])
        return frames[0], float(rewards[0]), *flags, _of_one(info)

    def render(self) -> UInt8[np.ndarray, "height width 3"]:
        """The last frame."""
        frame: np.ndarray = self._games.render()[0]
        return frame


def _last_axis(frames: UInt8[np.ndarray, "rows 1 height width"]) -> Frames:
    """Frames with the channel last."""
    return np.ascontiguousarray(np.moveaxis(frames, 1, -1))


def _of_one(info: dict[str, Any]) -> dict[str, Any]:
    return {name: values[0] for name, values in info.items()}


def _quiet() -> None:
    """Without the banner that the emulator prints."""
    from ale_py import ALEInterface, LoggerMode

    ALEInterface.setLoggerMode(LoggerMode.Error)
