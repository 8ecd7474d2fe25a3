"""How often Snakemake looks for jobs to start, mended."""

from __future__ import annotations

import importlib
import threading
from typing import Any


def look_again_when_needed() -> None:
    """Let Snakemake's scheduler start a timer only where one is needed, and one at a time.

    Seen with 9.27. There is a limit of jobs per timespan, by default 100 in a second, and every
    look at what is ready starts a timer for another look after that timespan, whether the limit was
    reached or not; every job that ends adds a look of its own. After a thousand jobs all that is
    ready is looked at a thousand times a second, and a core has nothing else to do. What else lets
    jobs start, that another one ends, makes Snakemake look by itself.
    """
    scheduler: Any = importlib.import_module("snakemake.scheduling.job_scheduler").JobScheduler
    if not hasattr(scheduler, "_schedule_reevalutation"):
        return
    waiting = "_memdt_looks_again"

    def look_again(self: Any, delay: float) -> None:
        def look() -> None:
            setattr(self, waiting, False)  # before the look, which may ask for another one
            self._open_jobs.release()

        limit = self.job_rate_limiter
        needed = limit is None or self.workflow.dag.queue_input_jobs or not limit.get_free_jobs()
        if needed and not getattr(self, waiting, False):
            setattr(self, waiting, True)
            threading.Timer(delay, look).start()

    scheduler._schedule_reevalutation = look_again
