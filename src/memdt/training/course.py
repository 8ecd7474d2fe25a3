"""The course of one stage: its updates, which may be stopped at any moment and be gone on with.

Every minute, and where a signal ends it, the state is saved (resume.py). A signal only leaves a
note; the update that is on is finished first.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from memdt import stopping
from memdt.data.segments import Segment
from memdt.progress import Progress
from memdt.settings import slices
from memdt.training.loop import Trainer
from memdt.training.losses import Score
from memdt.training.resume import Past, ResumeState, save_every_seconds, tell
from memdt.training.schedules import learning_rate_factor


@dataclass
class Course:
    """The updates of one stage, and what is kept of them so that they may end at any moment."""

    what: str  # is trained, in the words of the log
    stage: slices.Stage
    updates: int
    trainer: Trainer
    segments_of: Callable[[int], list[Segment]]
    state: ResumeState
    started: tuple[float, float]
    past: Past = field(init=False)

    def __post_init__(self) -> None:
        self.every = save_every_seconds()
        self.past = self.state.restore()
        self.saved, self.saved_at = self.past.updates, time.monotonic()

    def run(self) -> Past:
        """Make the updates that are to come. Stopped, the state being saved, where a signal is."""
        if self.past.resumed:
            told = f"goes on from update {self.past.updates:,}/{self.updates:,}"
            print(f"{self.what} | {told}", file=sys.stderr, flush=True)
        self.progress = Progress(self.what, self.updates, done=self.past.updates)
        with stopping.noted() as signals:
            while self.past.updates < self.updates:
                figures = self._update()
                self.progress.update(self.past.updates, **figures)
                if signals:
                    self._stop(signals[0])
                if time.monotonic() - self.saved_at >= self.every:
                    self._save()
        return self.past

    def _update(self) -> dict[str, float]:
        """One update; returns the figures that people are shown."""
        past, every = self.past, self.trainer.settings.log_every
        rate = self._set_learning_rate(past.updates)
        score, norm = self.trainer.update(self.segments_of(past.updates))
        score = Score(score.loss.detach(), score.correct, score.steps)
        past.since = score if past.since is None else past.since + score
        past.updates += 1
        if past.updates % every == 0 or past.updates == self.updates:
            self._add_row(rate, norm)
        told = {"loss": float(score.mean_loss), "accuracy": score.accuracy}
        return {name: value for name, value in told.items() if not math.isnan(value)}

    def _set_learning_rate(self, update: int) -> float:
        training = self.trainer.settings
        factor = learning_rate_factor(
            update, self.updates, training.warmup_updates, training.schedule,
            training.final_learning_rate_fraction,
        )  # fmt: skip
        optimiser = self.trainer.optimiser
        for group in optimiser.param_groups if optimiser else ():
            group["lr"] = training.learning_rate * factor
        return training.learning_rate * factor

    def _add_row(self, rate: float, norm: float) -> None:
        """The row of the curve for the updates since the last one."""
        since = self.past.since
        assert since is not None
        self.past.rows.append(
            f"{self.stage.number},{self.past.updates},{self.stage.segments},"
            f"{float(since.mean_loss):.6g},{since.accuracy:.6g},{rate:.6g},{norm:.6g}\n"
        )
        self.past.since = None

    def _save(self) -> None:
        now = (time.perf_counter(), time.process_time())
        pairs = zip(self.past.spent, now, self.started, strict=True)
        wall, cpu = (before + end - begin for before, end, begin in pairs)
        try:
            self.state.save(replace(self.past, spent=(wall, cpu)))
            self.saved = self.past.updates
        except OSError as error:
            self.progress.finish()
            told = f"cannot be written ({error.strerror or error}), the one before is kept"
            tell(f"{self.state.path}: {told} -> free some space; training goes on and tries again")
        self.saved_at = time.monotonic()

    def _stop(self, number: int) -> None:
        """Save and end; where nothing can be saved, that has been told by then."""
        self.progress.finish()
        self._save()
        done = f"{self.past.updates:,}/{self.updates:,} updates are done"
        whence = "there" if self.saved == self.past.updates else f"update {self.saved:,}"
        raise stopping.Stopped(number, f"{done}; the same command continues from {whence}")
