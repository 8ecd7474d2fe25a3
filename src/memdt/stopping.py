"""How a signal ends a step: by an exception, or by a note if work can be saved first.

Ctrl-C sends SIGINT, ``kill`` and batch systems send SIGTERM, a closed terminal sends SIGHUP, and a
batch system can be set to send SIGUSR1 before time is up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)

STOPPED = "memdt: stopped"  # how the last line of a step begins that a signal has ended

_noted: list[int] = []  # in the order of their coming, by a step that saves its work first
# Python drops an exception that a signal raises in a destructor or a callback: these are asked for.
_raised: list[int] = []


class Stopped(BaseException):
    """A step is ended by a signal. No Exception: it is no error that somebody may handle."""

    def __init__(self, number: int, how_far: str = "nothing half-written is left") -> None:
        super().__init__(number, how_far)
        self.number, self.how_far = number, how_far

    @property
    def status(self) -> int:
        """The exit status that shells give to whoever is ended by this signal."""
        return 128 + self.number

    def line(self) -> str:
        """The last words of the step; the signal is named where it was not Ctrl-C."""
        name = signal.Signals(self.number).name
        by = "" if self.number == signal.SIGINT else f" by {name}"
        return f"{STOPPED}{by}; {self.how_far}"


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """All but Ctrl-C are raised as Stopped, so that a step tidies up as after Ctrl-C."""
    try:
        with _handled(SIGNALS[1:], _raise):
            try:
                yield
            except Exception:  # an import may turn what a signal raises into its own error
                _raise_what_was_dropped()
                raise
            _raise_what_was_dropped()
    finally:
        _raised.clear()


@contextlib.contextmanager
def noted() -> Iterator[list[int]]:
    """A list in which the signals appear that have come; the second of a kind is raised at once.

    Elsewhere than in the main thread no signal is ever noted.
    """
    _raise_what_was_dropped()
    _noted.clear()
    try:
        with _handled(SIGNALS, _note):
            yield _noted
        if _noted:  # it came when nobody looked any more
            raise Stopped(_noted[0])
    finally:
        _noted.clear()
        _raised.clear()


def ignore_more() -> None:
    """For the last words of a process that has tidied up: a second Ctrl-C must not cut them off."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def interrupt() -> None:
    """Ctrl-C from inside; not where a signal has come before, for two end a step unsaved."""
    if not _noted:
        os.kill(os.getpid(), signal.SIGINT)  # a signal, because it also ends a system call


@contextlib.contextmanager
def _handled(numbers: tuple[signal.Signals, ...], handler: Any) -> Iterator[None]:
    """Signals go to ``handler`` in this block, but those that whoever started us had ignored."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        heard = (n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN)
        before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def _note(number: int, frame: FrameType | None) -> None:
    if number in _noted:
        _raise(number, frame)
    _noted.append(number)


def _raise(number: int, frame: FrameType | None) -> None:
    _raised.append(number)
    raise Stopped(number)


def _raise_what_was_dropped() -> None:
    if _raised:
        raise Stopped(_raised[0])
