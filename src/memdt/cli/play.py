"""The verb that shows what a trained policy does."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import tyro

from memdt.errors import UserError


@dataclass(frozen=True)
class Play:
    """Show an episode of a trained policy in the terminal, in a window, or as a film."""

    trained: tyro.conf.Positional[Path]
    """The folder of a run, a checkpoint, or a folder of `memdt export policy`."""
    out: Path | None = None
    """A film to write: .gif, .webp or .mp4; .txt where the environment shows text."""
    window: bool = False
    """Open the environment's own window."""
    segments: int = 0
    """Length of the episode; that of the longest training episodes if not given."""
    seed: int = 0
    """Of the environment: which episode."""
    target_return: float | None = None
    """As the run was evaluated if not given."""
    demonstration: Path | None = None
    """A dataset, for models that read a demonstration."""
    frames_per_second: float = 10.0

    needs_project: ClassVar[bool] = False

    def run(self) -> None:
        """Play and show."""
        from memdt.evaluation import showing
        from memdt.evaluation.loading import load

        player = load(self.trained, target_return=self.target_return)
        mode = showing.WINDOW if self.window else "rgb_array"
        segments = self.segments or player.settings.trained_segments
        environment = player.make_environment(segments, mode)
        if self.window and environment.render_mode != showing.WINDOW:
            environment.close()
            raise UserError(
                "has no window of its own", player.settings.module, "leave out --window"
            )
        if self.demonstration is not None:
            showing.give_demonstration(player, self.demonstration, self.seed)
        shown = showing.Shown()
        frames = showing.play(player, environment, self.seed, shown)
        if self.out is not None:
            showing.write_film(list(frames), self.out, self.frames_per_second)
        else:
            self._show(frames)
        environment.close()
        written = "" if self.out is None else f"; written to {self.out}"
        how = "ended" if shown.terminated else "cut off by the time limit"
        print(f"return {shown.returned:g} after {shown.steps} steps, {how}{written}")

    def _show(self, frames: Iterable[Any]) -> None:
        """Print text, each frame over the one before where there is a terminal."""
        over = sys.stdout.isatty()
        for number, frame in enumerate(frames):
            if self.window:
                continue  # Gymnasium shows it by itself, at the speed of the environment
            if not isinstance(frame, str):
                remedy = "--out episode.gif, or --window"
                raise UserError("this environment shows pictures", str(self.trained), remedy)
            if over and number:
                print(f"\x1b[{frame.count(chr(10)) + 1}F\x1b[J", end="")
                time.sleep(1 / self.frames_per_second)
            print(frame, flush=True)
