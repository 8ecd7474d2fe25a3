"""Progress lines: what, how far, how fast, how long still."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from memdt.progress import Progress, duration


class Clock:
    """A clock that only a test moves on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def log(monkeypatch):
    stream = io.StringIO()
    # Not sys.stderr itself: pytest sets that anew between a fixture and its test.
    monkeypatch.setattr("memdt.progress.sys", SimpleNamespace(stderr=stream))
    return stream


@pytest.fixture
def terminal(monkeypatch):
    stream = Terminal()
    # Not sys.stderr itself: pytest sets that anew between a fixture and its test.
    monkeypatch.setattr("memdt.progress.sys", SimpleNamespace(stderr=stream))
    return stream


@pytest.fixture
def clock():
    return Clock()


def progress(clock, **options) -> Progress:
    return Progress("train 2/3", 100, clock=clock, **options)


def test_a_line_shows_figures_speed_and_time_left(clock, log):
    shown = progress(clock)
    clock.now += 20
    shown.update(40, loss=0.21345, episodes=1234)
    expected = "train 2/3 | 40/100 | loss 0.213 | episodes 1,234 | 2 updates/s | 30 s left\n"
    assert log.getvalue() == expected


def test_a_log_gets_a_line_every_so_often_and_one_at_the_end(clock, log):
    shown = progress(clock, every_seconds=10.0)
    for done in range(1, 101):
        clock.now += 0.25
        shown.update(done)
    lines = log.getvalue().splitlines()
    assert [line.split(" | ")[1] for line in lines] == ["40/100", "80/100", "100/100"]
    assert lines[-1].endswith("took 25 s")


def test_work_done_before_a_resume_is_not_this_steps_speed(clock, log):
    shown = progress(clock, done=80)
    clock.now += 10
    shown.update(90)
    assert "1 updates/s | 10 s left" in log.getvalue()


def test_a_terminal_has_one_line_that_is_rewritten(clock, terminal):
    shown = progress(clock)
    for done, name in ((10, "something long"), (20, "short"), (100, "end")):
        clock.now += 1
        shown.update(done, at=name)
    text = terminal.getvalue()
    assert text.count("\r") == 3
    assert text.count("\n") == 1
    assert text.endswith("\n")
    first, second = text.split("\r")[1:3]
    assert len(second) >= len(first)  # blanks wipe the rest of the longer line


def test_a_step_that_ends_early_leaves_the_terminals_line(clock, terminal):
    shown = progress(clock)
    clock.now += 1
    shown.update(10)
    shown.finish()
    shown.finish()
    assert terminal.getvalue().count("\n") == 1


def test_nothing_done_in_no_time_is_no_error(clock, log):
    Progress("nothing", 0, clock=clock).update(0)
    assert log.getvalue() == "nothing | 0/0 | took 0 s\n"


def test_seconds_are_written_as_people_say_them():
    assert [duration(s) for s in (0.4, 59.4, 60.0, 3600.0, 7500.0)] == [
        "0 s", "59 s", "1 min 0 s", "1 h 0 min", "2 h 5 min",
    ]  # fmt: skip
