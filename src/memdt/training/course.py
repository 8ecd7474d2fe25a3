"""The course of one stage: its updates, which can be stopped at any moment and continued.

The state is saved every minute and when a signal ends training (resume.py). A signal handler only
records the signal, so the current update finishes first.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from memdt import stopping
from memdt.errors import UserError
from memdt.progress import Progress
from memdt.settings import slices
from memdt.training.curve import figure_value
from memdt.training.learner import Learner
from memdt.training.resume import ResumeFile, ResumePoint, note, save_every_seconds

SHOWN = 2  # of a learner's columns in the log
LOSS, NORM = "loss", "gradient_norm"  # how columns end, or are called, that must be finite


@dataclass
class Course:
    """Runs the updates of one stage, and saves their state so that training can be resumed."""

    what: str  # name of the stage in the log
    stage: slices.Stage
    updates: int
    log_every: int  # updates between two rows of the curve
    learner: Learner[Any]
    batch_of: Callable[[int], Any]
    file: ResumeFile
    started: tuple[float, float]
    point: ResumePoint = field(init=False)

    def __post_init__(self) -> None:
        self.every = save_every_seconds()
        self.point = self.file.restore()
        self.saved, self.saved_at = self.point.updates, time.monotonic()
        self.shown: dict[str, float] = {}

    def run(self) -> ResumePoint:
        """Run the remaining updates and return the state after them.

        If a signal arrives, this saves the state and raises Stopped.
        """
        if self.point.resumed:
            done = f"goes on from update {self.point.updates:,}/{self.updates:,}"
            print(f"{self.what} | {done}", file=sys.stderr, flush=True)
        self.progress = Progress(self.what, self.updates, done=self.point.updates)
        with stopping.noted() as signals:
            while self.point.updates < self.updates:
                self._update()
                self.progress.update(self.point.updates, **self.shown)
                if signals:
                    self._stop(signals[0])
                if time.monotonic() - self.saved_at >= self.every:
                    self._save()
        return self.point

    def _update(self) -> None:
        """One update; only where a row is due does the host wait for another device."""
        point = self.point
        batch = self.batch_of(point.updates)
        figures = self.learner.update(point.updates, batch)
        point.curve.add(figures)
        point.updates += 1
        if all(figure.device.type == "cpu" for figure in figures.values()):
            self._refuse_what_is_no_number(figures)
        if point.updates % self.log_every == 0 or point.updates == self.updates:
            self._refuse_what_is_no_number(point.curve.figures)
            fixed = (self.stage.number, point.updates, self.stage.segments)
            row = point.curve.add_row(fixed, self.learner.columns)
            shown = list(row.items())[:SHOWN]
            self.shown = {name: value for name, value in shown if not math.isnan(value)}

    def _refuse_what_is_no_number(self, figures: dict[str, Tensor]) -> None:
        """UserError where a loss or the gradient's norm is NaN or infinite: all after it would be.

        The state that was saved last is from before it, and is kept.
        """
        for name in self.learner.columns:
            if not (name == NORM or name.endswith(LOSS)) or name not in figures:
                continue
            value = figure_value(figures[name])
            if not math.isfinite(value):
                self.progress.finish()
                what = f"{name} is {value} at update {self.point.updates:,} of stage"
                remedy = "lower training.learning_rate, or look at the dataset"
                raise UserError(
                    f"{what} {self.stage.number}; nothing after it is kept", self.what, remedy
                )

    def _save(self) -> None:
        self._refuse_what_is_no_number(self.point.curve.figures)
        now = (time.perf_counter(), time.process_time())
        pairs = zip(self.point.seconds, now, self.started, strict=True)
        wall, cpu = (earlier + end - start for earlier, end, start in pairs)
        try:
            self.file.save(replace(self.point, seconds=(wall, cpu)))
            self.saved = self.point.updates
        # A full disk must not end training: the previous state still allows resuming.
        except OSError as error:
            self.progress.finish()
            what = f"cannot be written ({error.strerror or error}), the previous one is kept"
            note(f"{self.file.path}: {what} -> free some space; training continues and tries again")
        self.saved_at = time.monotonic()

    def _stop(self, number: int) -> None:
        """Save the state and raise Stopped; if saving fails, ``_save`` prints a note."""
        self.progress.finish()
        self._save()
        done = f"{self.point.updates:,}/{self.updates:,} updates are done"
        resumes = "there" if self.saved == self.point.updates else f"update {self.saved:,}"
        raise stopping.Stopped(number, f"{done}; the same command continues from {resumes}")
