"""Select filmed episodes for strips and clips, with their choices and the step of forgetting.

Nothing here draws. A choice is a step at which one of two counts of the environment rose. If the
options name no counts, there are no choices and nothing is forgotten.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from PIL import Image
from pydantic import Field

from memdt.figures.interface import FigureInputs, RecordedRun
from memdt.figures.parts import over_time, style
from memdt.settings.schema import Frozen

COLUMNS = ("film", "variant", "seed", "environment_seed", "group", "kind", "step")
KINDS = ("hint", "frame", "right", "wrong", "forgotten", "success", "end")


class Options(Frozen):
    """Which episodes to show, and what to mark in them."""

    variants: tuple[str, ...] | None = Field(default=None, description="null: all variants")
    labels: dict[str, str] = Field(default={}, description="other words for a variant or a count")
    seed: int | None = Field(
        default=None, description="null, or where a scale does not have it: the first one"
    )
    group: str | None = Field(default=None, description="null: that of the first episode")
    right: str | None = Field(default=None, description="what counts right choices; null: nothing")
    wrong: str | None = Field(default=None, description="what counts wrong ones; null: nothing")
    success: str | None = Field(
        default=None, description="what is counted once an episode has succeeded; null: not told"
    )
    window: int = Field(default=5, gt=0, description="choices over which forgetting is judged")
    fewest: int = Field(default=3, gt=0, description="choices without which it is not judged")
    frames: int = Field(default=6, gt=1, description="frames in a strip")
    clip_frames: int = Field(default=120, gt=1, description="most frames of a clip")

    @property
    def choices(self) -> dict[str, str]:
        """The counts of right and wrong choices, if there are any."""
        named = {"right": self.right, "wrong": self.wrong}
        return {kind: name for kind, name in named.items() if name is not None}

    def label(self, name: str) -> str:
        """The label that readers see instead of a name."""
        return self.labels.get(name, style.words(name))


@dataclass(frozen=True)
class Film:
    """One episode of one run."""

    run: RecordedRun
    number: int  # among the filmed episodes

    @property
    def episode(self) -> int:
        """Its index in the recording."""
        return int(self.run.recording.filmed[self.number])

    @property
    def steps(self) -> int:
        """Its number of steps."""
        return int(self.run.recording.lengths[self.episode])

    @property
    def images(self) -> list[tuple[int, Image.Image]]:
        """The frames, each with its step."""
        return self.run.recording.film(self.number)

    @property
    def frame_steps(self) -> list[int]:
        """The steps of which there are frames."""
        there = self.run.recording.frame_bytes[self.number] > 0
        return [int(step) for step in there.nonzero()[0] * int(self.run.recording.film_every)]

    def gained(self, name: str | None) -> list[int]:
        """The steps at which a count rose, repeated by its increase; empty without a name."""
        if name is None:
            return []
        gains = self.run.recording.gains(name)[:, self.episode]
        return [step for step, gain in enumerate(gains) for _ in range(int(gain))]


def films(inputs: FigureInputs, options: Options) -> list[Film]:
    """A film of each variant in the order of the options; UserError if there is none."""
    films: dict[str, Film] = {}
    runs = over_time.shown(inputs, options.variants)
    for run in sorted(runs, key=lambda run: run.seed != options.seed):
        film = _film(run, options)
        if film is not None:
            films.setdefault(run.variant, film)
    if not films:
        raise inputs.nothing("filmed episodes")
    order = options.variants or tuple(films)
    return [films[variant] for variant in order if variant in films]


def _film(run: RecordedRun, options: Options) -> Film | None:
    """The film of the requested group, otherwise the first one that has frames."""
    candidates = [Film(run, number) for number in range(run.recording.filmed.size)]
    groups = run.recording.groups
    shown = [film for film in candidates if options.group in (None, groups[film.episode])]
    return next((film for film in shown if film.frame_steps), None)


def frame(inputs: FigureInputs, options: Options) -> pd.DataFrame:
    """One row per drawn item of a film: its ``kind`` (one of KINDS) and its step."""
    rows = [
        {
            "film": number,
            "variant": film.run.variant,
            "seed": film.run.seed,
            "environment_seed": int(film.run.recording.seeds[film.episode]),
            "group": str(film.run.recording.groups[film.episode]),
            "kind": kind,
            "step": step,
        }
        for number, film in enumerate(films(inputs, options))
        for kind, step in _marks(film, options)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _marks(film: Film, options: Options) -> Iterator[tuple[str, int]]:
    """``hint`` is the first step without it, ``end`` the first one after the episode.

    An environment that shows no hint has no such mark.
    """
    hint = film.run.recording.hint_steps
    gone = [hint.stop] if len(hint) else []
    right, wrong = film.gained(options.right), film.gained(options.wrong)
    lost = forgotten(right, wrong, hint.stop, options.window, options.fewest)
    losses = [] if lost is None else [lost]
    yield from (("hint", step) for step in gone)
    yield from (
        ("frame", step) for step in moments(film.frame_steps, [*gone, *losses], options.frames)
    )
    yield from (("right", step) for step in right)
    yield from (("wrong", step) for step in wrong)
    yield from (("forgotten", step) for step in losses)
    yield from (("success", step) for step in film.gained(options.success)[:1])
    yield "end", film.steps


def forgotten(
    right: Sequence[int], wrong: Sequence[int], after: int, window: int, fewest: int
) -> int | None:
    """The first wrong choice from which on most of the next ones are wrong, as a step.

    The window has ``window`` choices including itself, or all that remain if they are at least
    ``fewest``. Choices before ``after``, while the hint is visible, do not count.
    None if it never happens.
    """
    choices = sorted([(step, False) for step in right] + [(step, True) for step in wrong])
    later = [(step, is_wrong) for step, is_wrong in choices if step >= after]
    for first in range(len(later) - fewest + 1):
        some = [is_wrong for _, is_wrong in later[first : first + window]]
        if some[0] and 2 * sum(some) > len(some):
            return later[first][0]
    return None


def moments(steps: Sequence[int], required: Sequence[int], count: int) -> list[int]:
    """The first of ``steps``, the first at or after each of ``required``, then steps in between.

    Each further step is the one farthest from those chosen, which spreads them evenly.
    """
    later = [[step for step in steps if step >= moment][:1] for moment in required]
    chosen = list(dict.fromkeys([steps[0], *itertools.chain.from_iterable(later)]))[:count]
    while len(chosen) < min(count, len(steps)):
        rest = [step for step in steps if step not in chosen]
        chosen.append(max(rest, key=lambda step: min(abs(step - one) for one in chosen)))
    return sorted(chosen)


def counts_until(data: pd.DataFrame, step: int, options: Options) -> list[str]:
    """Captions of a film before a step: counts of its choices, and whether it has succeeded."""
    before = data.loc[data["step"] < step, "kind"]
    counts = [
        f"{int((before == kind).sum())} {options.labels.get(name, kind)}"
        for kind, name in options.choices.items()
    ]
    if options.success is not None:
        counts.append("succeeded" if (before == "success").any() else "no success")
    return counts
