"""How often Snakemake looks for jobs to start, mended."""

from __future__ import annotations

import importlib
import threading
from typing import Any


def look_again_once() -> None:
    """Let Snakemake's scheduler have one timer at a time; seen with 9.27.

    There is a limit of jobs per timespan, by default 100 in a second. Every look at what is ready
    starts a timer for another look after that timespan, and every job that ends adds a look of its
    own: after a thousand jobs the inputs of all that is ready are looked at a thousand times a
    second, and a core has nothing else to do.
    """
    scheduler: Any = importlib.import_module("snakemake.scheduling.job_scheduler").JobScheduler
    if not hasattr(scheduler, "_schedule_reevalutation"):
        return
    waiting = "_memdt_looks_again"

    def look_again(self: Any, delay: float) -> None:
        def look() -> None:
            setattr(self, waiting, False)  # before the look, which may ask for another one
            self._open_jobs.release()

        if not getattr(self, waiting, False):
            setattr(self, waiting, True)
            threading.Timer(delay, look).start()

    scheduler._schedule_reevalutation = look_again
