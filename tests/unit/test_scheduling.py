"""Snakemake's scheduler looks again after a while: once, however often it is asked to."""

from __future__ import annotations

import threading
import time

import pytest
from snakemake.scheduling.job_scheduler import JobScheduler

from memdt import scheduling


class Scheduler(JobScheduler):
    """One that only counts how often it is to look."""

    def __init__(self) -> None:
        self._open_jobs = threading.Semaphore(0)

    def looks(self) -> int:
        """How many looks have been asked for since the last call."""
        count = 0
        while self._open_jobs.acquire(blocking=False):
            count += 1
        return count

    def asked(self, times: int) -> int:
        for _ in range(times):
            self._schedule_reevalutation(0.05)
        deadline = time.monotonic() + 10
        while not (found := self.looks()) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        return found + self.looks()


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    own = JobScheduler._schedule_reevalutation
    monkeypatch.setattr(JobScheduler, "_schedule_reevalutation", own)  # put back afterwards
    scheduling.look_again_once()
    return Scheduler()


def test_snakemake_still_looks_as_often_as_it_is_asked_to():
    """If this fails Snakemake has changed, and the mending may be over."""
    assert Scheduler().asked(5) == 5


def test_one_look_serves_all_that_ask_for_it_and_can_be_asked_for_again(mended):
    assert mended.asked(5) == 1
    assert mended.asked(3) == 1


def test_whoever_asks_during_a_look_gets_another_one(mended):
    mended._schedule_reevalutation(0.01)
    mended._open_jobs.acquire()
    assert mended.asked(1) == 1
