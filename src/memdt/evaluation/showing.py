"""Play one episode and show it: as text, as a film, or in the environment's own window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from PIL import Image

from memdt.data.episode_file import read_episodes
from memdt.errors import UserError
from memdt.evaluation.player import Player
from memdt.files import atomic_path, write_text

WINDOW = "human"  # Gymnasium's name of the mode
PICTURES = (".gif", ".webp")
FILMS = (*PICTURES, ".mp4")


@dataclass
class Shown:
    """What an episode has come to."""

    returned: float = 0.0
    steps: int = 0
    terminated: bool = False


def play(
    player: Player, environment: gymnasium.Env[Any, Any], seed: int, shown: Shown
) -> Iterator[Any]:
    """Play an episode, and give what the environment renders before every step and at the end.

    ``shown`` is filled meanwhile.
    """
    player.reset()
    observation, _ = environment.reset(seed=seed)
    reward, ended = 0.0, False
    yield _rendered(environment)
    while not ended:
        action = player.act(observation, reward)
        observation, received, terminated, truncated, _ = environment.step(action)
        reward = float(received)
        shown.returned += reward
        shown.steps, shown.terminated = shown.steps + 1, bool(terminated)
        ended = terminated or truncated
        yield _rendered(environment)


def _rendered(environment: gymnasium.Env[Any, Any]) -> Any:
    try:
        return environment.render()
    except NotImplementedError:
        name = type(environment.unwrapped).__name__
        raise UserError("this environment has nothing to show", name) from None


def give_demonstration(player: Player, dataset: Path, seed: int) -> None:
    """Let a player read an episode of a dataset, of the same group as the episode of a seed."""
    store = read_episodes(dataset, None, f"snakemake --cores all {dataset}")
    (group,) = player.settings.task.groups([seed])
    for episode in store:
        if episode.group == group:
            parts = ("observations", "actions", "rewards")
            player.reset(demonstration={name: getattr(episode, name) for name in parts})
            return
    raise UserError(f"no episode of {group!r}", str(dataset), "name another dataset")


def write_film(frames: Sequence[Any], path: Path, frames_per_second: float) -> None:
    """Write what was rendered, by the ending of the path: .gif, .webp or .mp4; .txt for text.

    Raises:
        UserError: frames of this kind are not written to such a file, or a package is missing.
    """
    texts = isinstance(frames[0], str)
    kinds = (".txt",) if texts else FILMS
    if path.suffix not in kinds:
        what = f"shows {'text' if texts else 'pictures'}, which {path.suffix or 'no ending'} is not"
        raise UserError(f"this environment {what}", str(path), f"write to {' or '.join(kinds)}")
    if texts:
        write_text(path, "\n\n".join(frames) + "\n")
    elif path.suffix in PICTURES:
        images = [Image.fromarray(np.asarray(frame)) for frame in frames]
        with atomic_path(path) as temporary:
            images[0].save(
                temporary, save_all=True, append_images=images[1:], loop=0,
                duration=round(1000 / frames_per_second),
            )  # fmt: skip
    else:
        _write_mp4(frames, path, frames_per_second)


def _write_mp4(frames: Sequence[Any], path: Path, frames_per_second: float) -> None:
    try:
        import imageio_ffmpeg
    except ImportError:
        remedy = "pip install imageio-ffmpeg, or write a .gif or .webp"
        raise UserError("imageio-ffmpeg is not installed", str(path), remedy) from None
    height, width = frames[0].shape[:2]
    with atomic_path(path) as temporary:
        writer = imageio_ffmpeg.write_frames(
            str(temporary), (width, height), fps=frames_per_second, macro_block_size=2
        )
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
        writer.close()
