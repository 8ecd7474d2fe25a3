"""Atari: steps a second of the games, of an evaluation, and of the agents that collect."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from benchmarks.measuring import Table
from benchmarks.sizes import SEGMENT_LENGTH, SMALL, Size
from memdt.data.segments import Segment
from memdt.data.sources.played import play
from memdt.environments import atari
from memdt.environments.atari_parts.collection import Collector, LookAhead
from memdt.environments.frame_stacks import stacked_spaces, stacked_vector
from memdt.evaluation.rollout import Protocol, Rollout
from memdt.models.interface import SequencePolicy
from memdt.settings.schema import Condition

STACK = 4
LOOK = {game: LookAhead(hold=20, depth=4) for game in ("pong", "breakout")}
NOTE = (
    f"CPU seconds of one thread; an observation is {STACK} frames. One game without a cache: every "
    "step runs its segment anew,\nas the public code of RATE does. Collectors plan each of their "
    "actions; returns are of episodes cut at this length."
)


def measure(
    long: bool = False,
    sides: tuple[int, ...] = (56, 84),
    rows: int = 10,
    steps: int = 300,
    games: tuple[str, ...] = ("pong", "breakout"),
) -> Table:
    """Rows for each size of frames, then for each game's collector."""
    measured = []
    for side in sides:
        settings = atari.Settings(game="breakout", height=side, width=side, fire_at_start=True)
        measured += [
            _row(f"game alone, {rows} rows", side, *_game(settings, rows, steps)),
            _row("encoder alone", side, *_encoder(settings, rows, steps)),
            _row(f"evaluation, {rows} rows", side, *_evaluation(settings, rows, steps)),
            _row("evaluation, one game without a cache", side, *_uncached(settings)),
        ]
    for game in games:
        measured.append(_collecting(game, sides[0], 10 * steps if long else steps))
    return Table("Atari", measured, NOTE)


def _row(what: str, side: int, steps: int, seconds: float, returns: str = "") -> dict[str, Any]:
    return {
        "what": what,
        "frames": f"{side}x{side}",
        "steps a second": steps / seconds,
        "returns": returns,
    }


def _game(settings: atari.Settings, rows: int, steps: int) -> tuple[int, float]:
    """Random actions in games side by side; ended ones begin anew, so that all are stepped."""
    vector = atari.make_vector(settings, rows)
    actions = np.random.default_rng(0).integers(0, 4, (steps, rows))
    vector.reset(seed=list(range(rows)))
    started = time.process_time()
    for action in actions:
        _, _, terminated, truncated, _ = vector.step(action)
        if (terminated | truncated).all():
            vector.reset(seed=list(range(rows)))
    return steps * rows, time.process_time() - started


def _policy(settings: atari.Settings, size: Size = SMALL) -> SequencePolicy:
    return size.build(stacked_spaces(atari.spaces_of(settings), STACK)).eval()


@torch.inference_mode()
def _encoder(settings: atari.Settings, rows: int, steps: int) -> tuple[int, float]:
    """Observations to tokens, those of all rows at once."""
    encoder = _policy(settings).steps.observation  # type: ignore[union-attr]
    shape = (rows, settings.height, settings.width, STACK)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8)
    encoder(frames)
    started = time.process_time()
    for _ in range(steps):
        encoder(frames)
    return steps * rows, time.process_time() - started


def _evaluation(settings: atari.Settings, rows: int, steps: int) -> tuple[int, float]:
    """As an evaluation plays: all rows at once, cached, the memory closed at segment borders."""
    segments = -(-steps // SEGMENT_LENGTH)
    protocol = Protocol(SEGMENT_LENGTH, 90.0, False, Condition(), SEGMENT_LENGTH, seed=0)
    cut = atari.lengthened(settings, segments * SEGMENT_LENGTH)
    vector: VectorEnv = stacked_vector(atari.make_vector(cut, rows), STACK)
    rollout = Rollout(_policy(settings), vector, protocol)
    started = time.process_time()
    outcomes = rollout.play(range(rows))
    return int(outcomes.steps.sum()), time.process_time() - started


@torch.inference_mode()
def _uncached(settings: atari.Settings) -> tuple[int, float]:
    """One segment of one game, whose steps so far are all run at each step."""
    policy = _policy(settings)
    vector = stacked_vector(atari.make_vector(settings, 1), STACK)
    seen = [torch.from_numpy(vector.reset(seed=[0])[0])]
    memory = policy.initial_memory(1)
    started = time.process_time()
    for time_step in range(1, SEGMENT_LENGTH + 1):
        segment = Segment(
            torch.stack(seen, dim=1),
            torch.zeros(1, time_step, dtype=torch.int64),
            torch.full((1, time_step), 90.0),
            torch.ones(1, time_step, dtype=torch.bool),
        )
        policy(segment, memory)
        seen.append(torch.from_numpy(vector.step(np.zeros(1, np.int64))[0]))
    return SEGMENT_LENGTH, time.process_time() - started


def _collecting(game: str, side: int, steps: int) -> dict[str, Any]:
    """Two episodes of the agent that plans every action."""
    settings = atari.Settings(
        game=game, height=side, width=side, max_steps=steps, fire_at_start=True,
        collectors=(Collector(share=1, noise=0.0),), look_ahead=LOOK[game],
    )  # fmt: skip
    started = time.process_time()
    store = play(atari.make_vector(settings, 2), atari.collection_policy(settings), [0, 1])
    seconds = time.process_time() - started
    returns = ", ".join(f"{one:g}" for one in store.returns)
    what = f"collecting {game}, {steps} steps"
    return _row(what, side, len(store.rewards), seconds, returns)
