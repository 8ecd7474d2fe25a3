"""What is refused before anything is trained on it: files of other games, frames or rewards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from gymnasium import spaces
from jaxtyping import Shaped

from memdt.environments.task import Task
from memdt.errors import UserError


def snake_case(game: str) -> str:
    """The name of a game in ale-py.

    >>> snake_case("SpaceInvaders")
    'space_invaders'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", game).lower()


def check_game(task: Task, game: str) -> None:
    """UserError where files of ``game`` are to train for another one."""
    settings: Any = task.settings
    played = getattr(settings, "game", None)
    if played is not None and snake_case(game) != played:
        what = f"files of {game}, but the environment plays {played}"
        raise UserError(what, "dataset.game", "name the same game twice")


def check_task(
    task: Task, path: Path, frame: tuple[int, ...], actions: Shaped[np.ndarray, " steps"]
) -> None:
    """UserError where frames or actions are not those of the task.

    Args:
        task: what is trained for.
        path: of the file, to be named.
        frame: height and width.
        actions: of steps in it.
    """
    expected = task.spaces.observation.shape or ()
    if tuple(frame) != tuple(expected[:2]):
        seen, expected_size = (" x ".join(map(str, size)) for size in (frame, expected[:2]))
        what = f"frames of {seen}, those of the environment are {expected_size}"
        remedy = "set height and width under environment.parameters"
        raise UserError(what, str(path), remedy)
    space = task.spaces.action
    if isinstance(space, spaces.Discrete) and len(actions):
        low, high = int(actions.min()), int(actions.max())
        if low < 0 or high >= space.n:
            wrong = high if high >= space.n else low
            what = f"action {wrong} in a game of {space.n} actions: another game's, or all 18"
            raise UserError(what, str(path), "name the right game, or actions: full")


def are_clipped(rewards: Shaped[np.ndarray, " steps"]) -> bool:
    """Whether all rewards are -1, 0 or 1."""
    return bool(np.isin(rewards, (-1, 0, 1)).all())


def refuse_clipped(path: Path) -> NoReturn:
    """UserError of raw rewards that are promised where all are clipped."""
    what = "raw rewards are promised, but all are -1, 0 or 1: these are clipped"
    remedy = "set dataset.rewards to clipped (in a game such as Pong both are the same)"
    raise UserError(what, str(path), remedy)
