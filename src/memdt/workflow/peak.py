"""How fast this machine multiplies: what an estimate made on another machine is scaled with."""

from __future__ import annotations

import time

SIDE = 768  # of the matrices: they fit a core's cache
SECONDS = 2.0


def peak(seconds: float = SECONDS) -> float:
    """Operations a second of one core in products of float32 matrices, the best of many.

    CPU seconds are counted: neither other programs nor threads change what is said of a core.
    """
    import numpy as np

    matrix = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)
    product, best, began = np.empty_like(matrix), float("inf"), time.monotonic()
    while best == float("inf") or time.monotonic() - began < seconds:
        started = time.process_time()
        np.matmul(matrix, matrix, out=product)
        best = min(best, max(time.process_time() - started, 1e-9))
    return 2 * SIDE**3 / best
