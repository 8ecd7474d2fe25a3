"""Run measurements and print each as a table."""

from __future__ import annotations

import argparse
from importlib import import_module

from memdt.__main__ import set_threads

set_threads(1)  # before torch is imported: figures are for one thread unless stated

from benchmarks.measuring import show  # noqa: E402

NAMES = (
    "training",
    "rollout",
    "memory",
    "access",
    "start_up",
    "threads",
    "planning",
    "frames",
    "atari",
    "simulators",
    "locomotion",
    "calibration",
)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="|".join(NAMES))
    parser.add_argument(
        "--long",
        action="store_true",
        help="episodes of 100,000 steps, and plans of 10,000 jobs, too",
    )
    options = parser.parse_args()
    for name in options.names or NAMES:
        show(import_module(f"benchmarks.{name}").measure(long=options.long))


if __name__ == "__main__":
    main()
