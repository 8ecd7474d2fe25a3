"""Snakemake's scheduler looks again where it must: once, however often it is asked to."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from snakemake.scheduling.job_scheduler import JobRateLimiter, JobScheduler
from snakemake.settings.types import MaxJobsPerTimespan

from memdt.workflow import upstream


class Scheduler(JobScheduler):
    """One that only counts how often it is to look; two jobs a second may start."""

    def __init__(self, started: int = 2, awaits_input: bool = False) -> None:
        self._open_jobs = threading.Semaphore(0)
        self.job_rate_limiter = JobRateLimiter(MaxJobsPerTimespan(2))
        self.job_rate_limiter.register_jobs(started)
        self.workflow = SimpleNamespace(dag=SimpleNamespace(queue_input_jobs=awaits_input))

    def looks(self) -> int:
        """How many looks have been asked for since the last call."""
        count = 0
        while self._open_jobs.acquire(blocking=False):
            count += 1
        return count

    def asked(self, times: int) -> int:
        """How many looks come of it, within a second or, where there are some, soon after them."""
        for _ in range(times):
            self._schedule_reevalutation(0.05)
        deadline = time.monotonic() + 1
        while not (found := self.looks()) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        return found + self.looks()


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> None:
    own = JobScheduler._schedule_reevalutation
    monkeypatch.setattr(JobScheduler, "_schedule_reevalutation", own)  # put back afterwards
    upstream.look_again_when_needed()


def test_snakemake_still_looks_as_often_as_it_is_asked_to():
    """If this fails Snakemake has changed, and the mending may be over."""
    assert Scheduler(started=0).asked(5) == 5


@pytest.mark.usefixtures("mended")
def test_one_look_serves_all_that_ask_for_it():
    assert Scheduler().asked(5) == 1


@pytest.mark.usefixtures("mended")
def test_whoever_asks_during_a_look_gets_another_one():
    scheduler = Scheduler()
    scheduler._schedule_reevalutation(0.01)
    assert scheduler._open_jobs.acquire(timeout=10)
    assert scheduler.asked(1) == 1


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize(("awaits_input", "looks"), [(False, 0), (True, 1)])
def test_below_the_limit_only_input_that_comes_later_is_looked_for(awaits_input, looks):
    assert Scheduler(started=1, awaits_input=awaits_input).asked(3) == looks
