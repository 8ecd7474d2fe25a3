"""``python -m memdt <verb>``: run one step, and tell errors to people in one line.

Exit status: 0 done, 2 bad input (one line on stderr, no traceback; MEMDT_DEBUG=1 shows it), 130
stopped by Ctrl-C or by the end of the Snakemake that started the step.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from memdt.errors import UserError

STOPPED = "memdt: stopped; nothing half-written is left"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the verb; returns the exit status."""
    from memdt import cli, guard

    guard.die_with_snakemake()
    try:
        command = cli.parse(arguments)
        set_threads(getattr(command, "threads", 1))
        cli.require_project()
        command.run()
    except UserError as error:
        if os.environ.get("MEMDT_DEBUG"):
            raise
        print(f"memdt: {error.line()}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        return 130
    except BrokenPipeError:  # `memdt settings ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def set_threads(threads: int) -> None:
    """Hold torch and BLAS to ``threads``; only effective before they are imported.

    One by default: at these sizes two threads of one job wait for each other, most of all on a busy
    machine, and two jobs side by side get more done (``python -m benchmarks threads``).
    """
    for name in ("OMP", "MKL", "OPENBLAS", "VECLIB", "NUMEXPR"):
        suffix = "MAXIMUM_THREADS" if name == "VECLIB" else "NUM_THREADS"
        os.environ[f"{name}_{suffix}"] = str(threads)


if __name__ == "__main__":
    sys.exit(main())
